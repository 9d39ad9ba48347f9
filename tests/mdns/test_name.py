from __future__ import annotations

from random import Random

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.mdns.name import draw_name, is_acceptable, labels_of, name_of_uuid, uuid_of_name

NAME = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"


def test_a_drawn_name_is_a_random_uuid_and_local() -> None:
    assert draw_name(lambda size: bytes([0xFF] * size)) == "ffffffff-ffff-4fff-bfff-ffffffffffff.local"
    draw = Random(1).randbytes
    names = {draw_name(draw) for _ in range(100)}
    assert len(names) == 100
    assert all(is_acceptable(name) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "local",
        "printer.local",
        NAME.upper(),
        NAME + ".",
        NAME.replace(".local", ""),
        NAME.replace(".local", ".example"),
        f"x.{NAME}",
        NAME.replace("-", ""),
        NAME.replace("1f", "1g"),
        NAME.replace("1f", "\u0661f"),
        NAME + "\n",
    ],
)
def test_other_names_are_not_acceptable(name: str) -> None:
    assert not is_acceptable(name)
    with pytest.raises(LocalProtocolError, match="no UUID"):
        uuid_of_name(name)


def test_a_name_is_16_bytes() -> None:
    packed = bytes.fromhex("1f4712dbea174bcfa596105139dfd8bf")
    assert uuid_of_name(NAME) == packed
    assert name_of_uuid(packed) == NAME


def test_a_name_has_two_labels() -> None:
    assert labels_of(NAME) == (NAME[:36].encode(), b"local")
