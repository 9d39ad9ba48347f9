"""Options of `share` and `join`: each mistake is one sentence with a remedy, before anything is opened."""

from __future__ import annotations

import base64
import json
from ipaddress import ip_interface, ip_network
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from p2ptun.aead import sodium
from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.cli import adhoc
from p2ptun.cli.main import cli
from p2ptun.daemon import adhoc as daemon
from p2ptun.daemon.options import MAX_MTU, AdhocOptions, Side
from p2ptun.daemon.outcome import Outcome
from p2ptun.dataplane.outbound import inner_mtu
from p2ptun.errors import ConfigError, DeviceError, RendezvousEnded
from p2ptun.ice.config import PathPolicy
from p2ptun.signal.code import Code, CodeError, draw_code

URL, OTHER = "https://rv.example.net", "https://rv.example.org"
CODE = draw_code(42, lambda size: bytes(range(size)))
LARGEST_IPV4_DATAGRAM = 65535 - 20 - 8


class Recorder:
    """Stands where the tunnel would be and keeps what it was asked for."""

    def __init__(self) -> None:
        self.options: AdhocOptions | None = None
        self.side: Side | None = None
        self.outcome: Outcome | Exception = Outcome.STOPPED

    def __call__(self, options: AdhocOptions, side: Side, show: object, emit: object) -> Recorder:
        self.options, self.side = options, side
        return self

    async def run(self) -> Outcome:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(daemon, "AdhocTunnel", recorder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("RENDEZVOUS", "CODE", "STUN", "TURN", "TURN_USERNAME", "TURN_PASSWORD"):
        monkeypatch.delenv(f"P2PTUN_{name}", raising=False)
    return recorder


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False, env=env)


def test_nothing_has_to_be_said(tunnel: Recorder) -> None:
    for side in Side:
        assert invoke(side.value).return_value == 0
        assert tunnel.side is side
        assert tunnel.options == AdhocOptions(algorithms=available_algorithms())


def test_everything_can_be_said(tunnel: Recorder, tmp_path: Path) -> None:
    psk = tmp_path / "psk"
    psk.write_text(base64.b64encode(b"k" * 32).decode())
    psk.chmod(0o600)
    done = invoke(
        *("join", "--name", "home0", "--address", "10.5.0.1/24", "--address", "fd05::1/64"),
        *("--route", "192.168.9.0/24"),
        *("--stun", "stun:192.0.2.1", "--psk-file", str(psk), "--mtu", "1280", "--aead", "aegis-256"),
        *("--rekey-interval", "5", "--timeout", "7.5", "--mdns"),
    )
    assert done.return_value == 0, done.exception
    options = tunnel.options
    assert options is not None
    assert (options.name, options.mtu, options.rekey_interval, options.timeout) == ("home0", 1280, 5.0, 7.5)
    assert options.addresses == (ip_interface("10.5.0.1/24"), ip_interface("fd05::1/64"))
    assert options.routes == (ip_network("192.168.9.0/24"),)
    assert [server.host for server in options.stun] == ["192.0.2.1"]
    assert options.algorithms == (Algorithm.AEGIS_256,)
    assert options.hides_addresses
    assert options.psk == b"k" * 32
    assert "kkkk" not in repr(options)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--address", "10.0.0.300/24"], "--address"),
        (["--address", "hello"], "--address"),
        (["--route", "10.0.0.1/24"], "--route"),
        (["--route", "10.0.0.0/33"], "--route"),
        (["--route", "0.0.0.0/0"], "--route"),
        (["--route", "203.0.113.0/24"], "--route"),
        (["--stun", "http://example.net"], "--stun"),
        (["--stun", ""], "--stun"),
        (["--stun", "turn:192.0.2.1"], "--stun"),
        (["--stun", "stuns:192.0.2.1"], "--stun"),
        (["--rendezvous", "paste", "--rendezvous", "https://rv.example.net"], "--rendezvous"),
        (["--qr", "--json"], "--qr"),
        (["--verify"], "--verify"),
        (["--psk-file", "/nonexistent/psk"], "--psk-file"),
    ],
)
@pytest.mark.parametrize("verb", ["share", "join"])
def test_a_mistake_names_the_option_and_the_remedy(tunnel: Recorder, verb: str, arguments: list[str], key: str) -> None:
    error = invoke(verb, *arguments).exception
    assert isinstance(error, ConfigError), error
    assert key in str(error)
    assert error.remedy
    assert tunnel.side is None, "nothing was opened"


@pytest.mark.parametrize("arguments", [["--mtu", "575"], ["--mtu", "65462"], ["--aead", "rot13"], ["--timeout", "0"]])
def test_values_out_of_range_are_wrong_usage(tunnel: Recorder, arguments: list[str]) -> None:
    error = invoke("share", *arguments).exception
    assert type(error).__name__ == "BadParameter"


def test_a_cipher_that_the_processor_lacks_is_told(tunnel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sodium, "has_aes", lambda: False)
    error = invoke("share", "--aead", "aes-256-gcm").exception
    assert isinstance(error, ConfigError)
    assert "aes-256-gcm" in str(error)
    assert "chacha20-poly1305" in error.remedy
    assert "aes-256-gcm" not in error.remedy
    assert invoke("share", "--aead", "aegis-256").return_value == 0, "slow, but it was asked for by name"


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.STOPPED, 0), (Outcome.PEER_CLOSED, 0), (Outcome.FAILED, 1), (Outcome.TIMED_OUT, 1)]
)
def test_how_it_ended_is_the_exit_code(tunnel: Recorder, outcome: Outcome, code: int) -> None:
    tunnel.outcome = outcome
    assert invoke("share").return_value == code
    assert set(adhoc.EXIT_CODES) == set(Outcome)


def test_programs_get_the_error_as_an_event_too(tunnel: Recorder) -> None:
    tunnel.outcome = DeviceError("Gone.", "Come back.")
    done = invoke("share", "--json")
    assert isinstance(done.exception, DeviceError)
    assert json.loads(done.stdout) == {"event": "error", "message": "Gone.", "remedy": "Come back."}
    assert invoke("share").stdout == ""


def test_the_environment_stands_in_for_options(tunnel: Recorder) -> None:
    assert invoke("share", env={"P2PTUN_STUN": "stun:192.0.2.1 stun:192.0.2.2"}).return_value == 0
    assert tunnel.options is not None
    assert len(tunnel.options.stun) == 2
    assert invoke("share", env={"P2PTUN_RENDEZVOUS": f"{URL} {OTHER}"}).return_value == 0
    assert tunnel.options.rendezvous == (URL, OTHER)


# Codes


class Person:
    """Stands where somebody would be asked for a code."""

    def __init__(self, answer: Code | BaseException) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self) -> Code:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    person = Person(CODE)
    monkeypatch.setattr(adhoc, "ask_code", person)
    return person


def test_share_and_join_meet_at_a_rendezvous(tunnel: Recorder, person: Person) -> None:
    given = ("--rendezvous", URL, "--rendezvous", OTHER, "--verify")
    assert invoke("share", *given).return_value == 0
    assert tunnel.options == AdhocOptions(
        algorithms=available_algorithms(), rendezvous=(URL, OTHER), code=None, verifies=True
    )
    assert invoke("join", *given, str(CODE)).return_value == 0
    assert tunnel.options.code == CODE
    assert person.asked == 0
    assert str(CODE).split("-")[1] not in repr(tunnel.options)


def test_join_asks_for_the_code_that_nobody_gave(tunnel: Recorder, person: Person) -> None:
    assert invoke("join", "--rendezvous", URL).return_value == 0
    assert person.asked == 1
    assert tunnel.options is not None
    assert tunnel.options.code == CODE
    assert invoke("join", "--rendezvous", URL, env={"P2PTUN_CODE": str(CODE)}).return_value == 0
    assert invoke("join").return_value == 0, "for a blob it asks when the tunnel runs"
    assert invoke("share", "--rendezvous", URL, env={"P2PTUN_CODE": "rubbish"}).return_value == 0
    assert person.asked == 1


def test_nobody_is_asked_before_the_options_are_right(tunnel: Recorder, person: Person) -> None:
    assert isinstance(invoke("join", "--rendezvous", URL, "--address", "hello").exception, ConfigError)
    assert person.asked == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [(KeyboardInterrupt(), 0), (RendezvousEnded("It ended."), None), (CodeError("It is none."), None)],
)
def test_who_gives_no_code_gets_no_tunnel(
    tunnel: Recorder, person: Person, answer: BaseException, code: int | None
) -> None:
    person.answer = answer
    done = invoke("join", "--rendezvous", URL)
    assert (done.return_value, done.exception) == (code, None if code == 0 else answer)
    assert tunnel.side is None


@pytest.mark.parametrize("code", ["amber-tiger-lamp", "42-amber", "42-amber-tiger-lampp", ""])
def test_what_is_no_code_is_refused_before_anything_is_opened(tunnel: Recorder, code: str) -> None:
    error = invoke("join", "--rendezvous", URL, code).exception
    assert isinstance(error, CodeError)
    assert error.remedy
    assert tunnel.side is None


def test_a_code_without_a_rendezvous_has_a_remedy(tunnel: Recorder) -> None:
    for arguments in (["join", str(CODE)], ["join", str(CODE), "--rendezvous", "paste"]):
        error = invoke(*arguments).exception
        assert isinstance(error, ConfigError)
        assert "--rendezvous https://" in error.remedy
        assert tunnel.side is None


@pytest.mark.parametrize("arguments", [["share", "42-x"], ["share", "--code-file", "x"], ["join", "1-a", "2-b"]])
def test_share_takes_no_code_and_join_takes_one(tunnel: Recorder, arguments: list[str]) -> None:
    assert isinstance(invoke(*arguments).exception, click.UsageError)


def test_relays_may_come_from_the_rendezvous(tunnel: Recorder) -> None:
    assert invoke("share", "--rendezvous", URL, "--path", "relay").return_value == 0
    assert tunnel.options is not None
    assert tunnel.options.path_policy is PathPolicy.RELAY
    assert isinstance(invoke("share", "--path", "relay").exception, ConfigError)


def test_the_largest_mtu_fits_into_a_datagram_whatever_the_cipher() -> None:
    assert min(inner_mtu(LARGEST_IPV4_DATAGRAM, algorithm) for algorithm in Algorithm) == MAX_MTU
