"""`p2ptun pair`: what is asked for, what is wrong with it, and what a person is shown."""

from __future__ import annotations

import os
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2ptun.cli import pair
from p2ptun.cli.main import cli
from p2ptun.cli.rendezvous_options import Places
from p2ptun.cli.talk import View
from p2ptun.daemon.event import CodeEvent, ErrorEvent, MeetingEvent, PairedEvent
from p2ptun.daemon.pair_options import PairOptions, host_name
from p2ptun.errors import ConfigError, P2ptunError, RendezvousError
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.signal.code import Code, draw_code

URL = "https://rv.example.net"
CODE = draw_code(42, os.urandom)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[PairOptions]:
    """What would have been done."""
    kept: list[PairOptions] = []

    def run(options: PairOptions, view: View) -> None:
        kept.append(options)

    monkeypatch.setattr(pair, "_run", run)
    for name in ("P2PTUN_RENDEZVOUS", "P2PTUN_CODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    return kept


def invoke(directory: Path, *arguments: str, stdin: str = "", **environment: str) -> Result:
    argv = ["pair", "home", "--directory", str(directory), *arguments]
    return CliRunner().invoke(cli, argv, input=stdin, standalone_mode=False, env=environment)


def test_a_place_is_all_that_has_to_be_named(asked: list[PairOptions], tmp_path: Path) -> None:
    for arguments, environment in ((["--rendezvous", URL], {}), ([], {"P2PTUN_RENDEZVOUS": URL})):
        assert invoke(tmp_path, *arguments, **environment).return_value == 0
        assert asked.pop() == PairOptions("home", (URL,), tmp_path, host_name=host_name())


def test_everything_can_be_said(asked: list[PairOptions], tmp_path: Path) -> None:
    key_file = tmp_path / "mine"
    key_file.touch(0o600)
    key_file.write_text(encode_key(bytes(range(32))))
    done = invoke(
        tmp_path,
        *("--rendezvous", URL, "--rendezvous", "http://192.0.2.1", "--key-file", str(key_file), "--peer", "tower"),
        *("--address", "10.5.0.1/24", "--route", "192.168.9.0/24", "--verify", "--timeout", "7.5", str(CODE)),
    )
    assert done.return_value == 0, done.exception
    (options,) = asked
    assert (options.rendezvous, options.code) == ((URL, "http://192.0.2.1"), CODE)
    assert options.keys is not None
    assert (options.keys.public, options.key_file) == (KeyPair.of_private(bytes(range(32))).public, key_file)
    assert (options.peer_name, options.verifies, options.timeout) == ("tower", True, 7.5)
    assert options.addresses == (ip_interface("10.5.0.1/24"),)
    assert options.routes == (ip_network("192.168.9.0/24"),)


def test_a_code_comes_as_a_word_by_the_environment_in_a_file_or_when_asked_for(
    asked: list[PairOptions], tmp_path: Path
) -> None:
    file = tmp_path / "code"
    file.touch(0o600)
    file.write_text(f"{CODE}\n")
    place = ("--rendezvous", URL)
    invoke(tmp_path, *place, str(CODE))
    invoke(tmp_path, *place, P2PTUN_CODE=str(CODE))
    invoke(tmp_path, *place, "--code-file", str(file))
    assert [options.code for options in asked] == [CODE] * 3


def test_a_code_is_asked_for(asked: list[PairOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(shown_by: str) -> Code:
        assert shown_by == "p2ptun pair"
        return CODE

    monkeypatch.setattr(pair, "ask_code", ask)
    invoke(tmp_path, "--rendezvous", URL, "-")
    assert [options.code for options in asked] == [CODE]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ([], "--rendezvous"),
        (["--rendezvous", "paste"], "--rendezvous"),
        (["--rendezvous", URL, "--peer", "NAS!"], "--peer"),
        (["--rendezvous", URL, "--route", "8.0.0.0/8"], "--route"),
        (["--rendezvous", URL, "--address", "10.0.0.300"], "--address"),
        (["--rendezvous", URL, "--key-file", "/nowhere/key"], "--key-file"),
        (["--rendezvous", URL, "--ca-file", "/nowhere/ca.pem"], "--ca-file"),
    ],
)
def test_a_mistake_is_named(asked: list[PairOptions], tmp_path: Path, arguments: list[str], key: str) -> None:
    error = invoke(tmp_path, *arguments).exception
    assert isinstance(error, ConfigError)
    assert error.key.startswith(key)
    assert error.remedy
    assert asked == []


def test_a_file_in_the_way_is_told_before_a_code_is_asked_for(asked: list[PairOptions], tmp_path: Path) -> None:
    (tmp_path / "home.toml").touch()
    error = invoke(tmp_path, "--rendezvous", URL, "-").exception
    assert isinstance(error, ConfigError)
    assert "exists already" in error.problem


def test_a_mistyped_code_is_told(asked: list[PairOptions], tmp_path: Path) -> None:
    assert isinstance(invoke(tmp_path, "--rendezvous", URL, "42-x").exception, RendezvousError)
    assert asked == []


def test_with_json_what_fails_is_an_event_as_well(
    asked: list[PairOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: PairOptions, view: View) -> None:
        raise P2ptunError("It failed.", "Try again.")

    monkeypatch.setattr(pair, "_run", fail)
    done = invoke(tmp_path, "--rendezvous", URL, "--json")
    assert done.stdout == '{"event":"error","message":"It failed.","remedy":"Try again."}\n'
    assert isinstance(done.exception, P2ptunError)


def test_a_person_is_told_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    story = pair.PairStory()
    story.meet_at(Places((URL,), are_usual=False))
    files = [str(tmp_path / f"home.{kind}") for kind in ("key", "psk", "toml")]
    story.show(CodeEvent("42-amber-tiger-lamp"))
    story.show(MeetingEvent())
    story.show(ErrorEvent("Something.", "Do something."))
    story.show(PairedEvent("home", "nas", files, ["10.77.0.0/31"], ["10.77.0.1/31"], ["10.0.0.0/8"]))
    story.close()
    shown = capsys.readouterr()
    assert shown.out == "42-amber-tiger-lamp\n"
    for text in (
        f"p2ptun pair NAME --rendezvous {URL} 42-amber-tiger-lamp",
        "somebody has come",
        "Something.",
        "with nas: 10.77.0.0 here, 10.77.0.1 there",
        "10.0.0.0/8; if that is too much, take it out of allowed_ips",
        f"p2ptun daemon home --directory {tmp_path}",
    ):
        assert text in shown.err
    for file in files:
        assert file in shown.err
