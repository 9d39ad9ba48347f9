"""Relays as `share` and `join` are told of them: each mistake is a sentence with a remedy."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from p2ptun.cli.relay_options import authorities
from p2ptun.daemon.turn_credentials import Login, SharedSecret
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.stun.credential import LongTermCredential

from .test_adhoc import Recorder, invoke, tunnel

__all__ = ["tunnel"]

UDP, TLS = "turn:192.0.2.1", "turns:turn.example.net:443"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_everything_can_be_said(tunnel: Recorder, tmp_path: Path) -> None:
    credentials = write(tmp_path / "turn", 'secret = "hush-hush"')
    bundle = Path(ssl.get_default_verify_paths().openssl_cafile)
    ca = ["--ca-file", str(bundle)] if bundle.is_file() else []
    done = invoke(
        *("share", "--turn", UDP, "--turn", TLS, "--turn", UDP, "--turn-credentials", str(credentials)),
        *("--path", "relay", *ca),
    )
    assert done.return_value == 0, done.exception
    options = tunnel.options
    assert options is not None
    assert [str(uri) for uri in options.turn] == [UDP, TLS]
    assert options.turn_credentials is not None
    assert options.turn_credentials.given == SharedSecret("hush-hush")
    assert options.path_policy is PathPolicy.RELAY
    assert options.ca_file == (bundle if ca else None)
    assert "hush" not in repr(options)


def test_nothing_of_it_has_to_be_said(tunnel: Recorder) -> None:
    assert invoke("join", "--turn", UDP).return_value == 0
    options = tunnel.options
    assert options is not None
    assert (options.turn_credentials, options.ca_file, options.path_policy) == (None, None, PathPolicy.ANY)


def test_the_environment_stands_in_and_the_file_beats_it(tunnel: Recorder, tmp_path: Path) -> None:
    environment = {"P2PTUN_TURN": f"{UDP} {TLS}", "P2PTUN_TURN_USERNAME": "alice", "P2PTUN_TURN_PASSWORD": "x"}
    assert invoke("share", env=environment).return_value == 0
    assert tunnel.options is not None
    assert len(tunnel.options.turn) == 2
    assert tunnel.options.turn_credentials is not None
    assert tunnel.options.turn_credentials.given == Login(LongTermCredential("alice", "x"))
    path = write(tmp_path / "turn", 'username = "bob"\npassword = "y"')
    assert invoke("share", "--turn-credentials", str(path), env=environment).return_value == 0
    assert tunnel.options.turn_credentials is not None
    assert tunnel.options.turn_credentials.given == Login(LongTermCredential("bob", "y"))


def test_credentials_in_the_environment_are_no_mistake_without_a_relay(tunnel: Recorder) -> None:
    assert invoke("share", env={"P2PTUN_TURN_USERNAME": "alice"}).return_value == 0


@pytest.mark.parametrize(
    ("arguments", "key", "remedy"),
    [
        (["--turn", "stun:192.0.2.1"], "--turn", "turn:HOST"),
        (["--turn", "192.0.2.1"], "--turn", "turn:HOST"),
        (["--turn", "https://turn.example.net"], "--turn", "turn:HOST"),
        (["--turn", "turn:192.0.2.1?transport=sctp"], "--turn", "transport=tcp"),
        (["--turn", "turn:alice:hush@192.0.2.1"], "--turn", "--turn-credentials FILE"),
        (["--path", "relay"], "--path", "--turn"),
        (["--turn-credentials", "/nonexistent"], "--turn-credentials", "--turn"),
        (["--turn", UDP, "--turn-credentials", "/nonexistent"], "--turn-credentials", "genturn"),
        (["--turn", UDP, "--ca-file", "/nonexistent"], "--ca-file", "PEM"),
        (["--turn", UDP, "--ca-file", __file__], "--ca-file", "PEM"),
    ],
)
@pytest.mark.parametrize("verb", ["share", "join"])
def test_a_mistake_names_the_option_and_the_remedy(
    tunnel: Recorder, verb: str, arguments: list[str], key: str, remedy: str
) -> None:
    error = invoke(verb, *arguments).exception
    assert isinstance(error, ConfigError), error
    assert str(error).startswith(f"{key}: ")
    assert remedy in error.remedy
    assert "hush" not in str(error) + error.remedy
    assert tunnel.side is None, "nothing was opened"


def test_half_a_login_in_the_environment_is_a_mistake(tunnel: Recorder) -> None:
    error = invoke("share", "--turn", UDP, env={"P2PTUN_TURN_USERNAME": "alice"}).exception
    assert isinstance(error, ConfigError)
    assert "P2PTUN_TURN_PASSWORD" in str(error)


def test_an_empty_file_vouches_for_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no certificate"):
        authorities(write(tmp_path / "ca", ""))
    with pytest.raises(ConfigError, match="--ca-file"):
        authorities(tmp_path)
