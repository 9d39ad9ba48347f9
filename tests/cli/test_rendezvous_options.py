"""Where two sides meet and by which code: who says it, who is heard first, and what is no code."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from p2ptun.cli.rendezvous_options import Places, find_code, find_places
from p2ptun.errors import ConfigError
from p2ptun.signal.code import CodeError, draw_code

URL, OTHER = "https://rv.example.net", "https://rv.example.org"
CODE = draw_code(42, lambda size: bytes(range(size)))
TEXT = str(CODE)
MET = Places((URL,), are_usual=False)


@pytest.fixture
def usual(tmp_path: Path) -> dict[str, str]:
    """An environment with a file in which a rendezvous is named."""
    (tmp_path / "p2ptun").mkdir()
    (tmp_path / "p2ptun" / "config.toml").write_text(f'rendezvous = ["{URL}", "{OTHER}"]')
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_paste_is_what_there_is_when_nobody_says_anything(tmp_path: Path) -> None:
    places = find_places([], {"XDG_CONFIG_HOME": str(tmp_path)})
    assert places == Places(("paste",), are_usual=True)
    assert not places.have_rooms


def test_options_beat_the_environment_which_beats_the_file(usual: dict[str, str]) -> None:
    assert find_places([], usual) == Places((URL, OTHER), are_usual=True)
    named = {**usual, "P2PTUN_RENDEZVOUS": f" {OTHER}  {URL} "}
    assert find_places([], named) == Places((OTHER, URL), are_usual=True)
    assert find_places([URL, URL], named) == Places((URL,), are_usual=False)
    assert find_places(["paste"], named) == Places(("paste",), are_usual=False)
    assert find_places([], {**usual, "P2PTUN_RENDEZVOUS": " "}).texts == (URL, OTHER)


def test_a_broken_file_disturbs_nobody_who_does_not_need_it(usual: dict[str, str]) -> None:
    Path(usual["XDG_CONFIG_HOME"], "p2ptun", "config.toml").write_text("rendezvous = 7")
    assert find_places([URL], usual).texts == (URL,)
    with pytest.raises(ConfigError):
        find_places([], usual)


@pytest.mark.parametrize("texts", [["paste", URL], ["pigeon:loft"], ["rv.example.net"], ["\x1b[31m"]])
def test_what_cannot_be_is_blamed_on_who_said_it(usual: dict[str, str], texts: list[str]) -> None:
    path = Path(usual["XDG_CONFIG_HOME"], "p2ptun", "config.toml")
    path.write_text(f"rendezvous = {json.dumps(texts)}")
    for given, environ, where, key in (
        (texts, usual, "", "--rendezvous"),
        ([], {"P2PTUN_RENDEZVOUS": " ".join(texts)}, "", "P2PTUN_RENDEZVOUS"),
        ([], usual, str(path), "rendezvous"),
    ):
        with pytest.raises(ConfigError) as caught:
            find_places(given, environ)
        assert (caught.value.where, caught.value.key) == (where, key)
        assert caught.value.remedy


def test_paste_may_be_written_large() -> None:
    assert not find_places([" PASTE "], {}).have_rooms


def test_the_command_for_the_other_side_can_be_pasted_into_a_shell() -> None:
    assert MET.command(TEXT) == f"p2ptun join --rendezvous {URL} {TEXT}"
    assert Places((URL, OTHER)).command(TEXT) == f"p2ptun join {TEXT}", "what is usual here is taken to be so there"
    odd = "folder:/mnt/our files; rm -r"
    command = Places((odd, URL), are_usual=False).command(TEXT)
    assert shlex.split(command) == ["p2ptun", "join", "--rendezvous", odd, "--rendezvous", URL, TEXT]


def test_a_code_is_a_word_a_file_or_in_the_environment(tmp_path: Path) -> None:
    other = str(draw_code(7, lambda size: bytes(size)))
    path = tmp_path / "code"
    path.write_text(f"  {TEXT.upper()}\n")
    path.chmod(0o600)
    assert find_code(TEXT, None, {"P2PTUN_CODE": other}, MET) == CODE
    assert find_code(None, path, {"P2PTUN_CODE": other}, MET) == CODE
    assert find_code(None, None, {"P2PTUN_CODE": TEXT}, MET) == CODE
    assert find_code(None, None, {"P2PTUN_CODE": ""}, MET) is None
    assert find_code(None, None, {}, MET) is None
    with pytest.raises(ConfigError, match="--code-file"):
        find_code(TEXT, path, {}, MET)


def test_a_file_that_others_can_read_holds_no_code(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_text(TEXT)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read") as caught:
        find_code(None, path, {}, MET)
    assert caught.value.remedy == f"Run: chmod 600 {path}"
    with pytest.raises(ConfigError, match="No such file"):
        find_code(None, tmp_path / "absent", {}, MET)


def test_a_code_is_of_no_use_where_lines_are_carried(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_text(TEXT)
    path.chmod(0o600)
    for key, argument, file, environ in (
        ("CODE", TEXT, None, {}),
        ("--code-file", None, path, {}),
        ("P2PTUN_CODE", None, None, {"P2PTUN_CODE": TEXT}),
    ):
        with pytest.raises(ConfigError) as caught:
            find_code(argument, file, environ, Places())
        assert caught.value.key == key
        assert "--rendezvous https://HOST" in caught.value.remedy
        assert find_code(None, None, {}, Places()) is None


@pytest.mark.parametrize("text", ["", " ", TEXT.partition("-")[2], "42", "\x1b]0;owned\x07", "x" * 5000])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(CodeError) as caught:
        find_code(text, None, {}, MET)
    assert str(caught.value).endswith(".")
    assert caught.value.remedy
