"""What the two sides of a pairing are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.daemon.config import check_peer_name
from p2ptun.daemon.new_files import NewFiles
from p2ptun.daemon.pair_options import PairOptions, check_files, clean_name, host_name
from p2ptun.errors import ConfigError
from p2ptun.signal.acquaintance import MAX_NAME_SIZE
from p2ptun.signal.code import Code
from p2ptun.signal.description import Kind


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nas", "nas"),
        ("NAS", "nas"),
        ("my nas!", "my-nas"),
        ("../../etc/passwd", "etc-passwd"),
        ("\x1b[1mbold\u202e", "1mbold"),
        ("---", "peer"),
        ("", "peer"),
        ("\u212aelvin \u0660", "kelvin"),
        ("n" * 100, "n" * 63),
        ("n" * 62 + " n", "n" * 62),
    ],
)
def test_a_name_from_afar_is_made_one(text: str, name: str) -> None:
    assert clean_name(text) == name
    assert check_peer_name(name, "name") == name


def test_a_machine_has_a_name() -> None:
    assert 0 < len(host_name().encode()) <= MAX_NAME_SIZE
    assert "." not in host_name()


def test_who_has_a_code_answers() -> None:
    options = PairOptions("home", ("http://192.0.2.1",))
    assert options.kind is Kind.OFFER
    assert PairOptions("home", (), code=Code(42, 7)).kind is Kind.ANSWER


def test_a_key_that_is_there_is_not_in_the_way(tmp_path: Path) -> None:
    NewFiles(tmp_path).check("home.key")
    (tmp_path / "home.key").touch()
    check_files(PairOptions("home", (), tmp_path, key_file=tmp_path / "home.key"))
    with pytest.raises(ConfigError, match="exists already"):
        check_files(PairOptions("home", (), tmp_path))
