"""Credentials for relays: from a file, from the environment, made of a secret, and made anew."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path

import pytest

from p2ptun.daemon.turn_credentials import (
    DEFAULT_TTL,
    Login,
    SharedSecret,
    TurnCredentials,
    environment_credentials,
    read_credentials,
)
from p2ptun.errors import ConfigError
from p2ptun.stun.credential import LongTermCredential

NOW = 1_800_000_000.0
HUSH = "hush-hush"


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_a_login_is_read_and_never_ends(tmp_path: Path) -> None:
    credentials = read_credentials(write(tmp_path / "turn", f'username = "alice"\npassword = "{HUSH}"\n'))
    issued = credentials.issue(NOW)
    assert issued.credential == LongTermCredential("alice", HUSH)
    assert (issued.ends_at, issued.lifetime, issued.is_minted, issued.is_overdue) == (None, None, False, False)
    assert HUSH not in repr(credentials)


def test_a_secret_makes_a_login_that_ends(tmp_path: Path) -> None:
    credentials = read_credentials(write(tmp_path / "turn", f'secret = "{HUSH}"\nlabel = "alice"\nttl = 600\n'))
    issued = credentials.issue(NOW + 0.25)
    username = f"{NOW + 600:.0f}:alice"
    password = base64.b64encode(hmac.digest(HUSH.encode(), username.encode(), "sha1")).decode()
    assert issued.credential == LongTermCredential(username, password)
    assert (issued.ends_at, issued.lifetime) == (NOW + 600, 599.75)
    assert (issued.is_minted, issued.is_overdue) == (True, False)
    assert HUSH not in repr(credentials)


def test_a_secret_alone_is_enough(tmp_path: Path) -> None:
    credentials = read_credentials(write(tmp_path / "turn", f'secret = "{HUSH}"'))
    assert credentials.given == SharedSecret(HUSH, "", DEFAULT_TTL)
    assert credentials.issue(NOW).credential.username == f"{NOW + DEFAULT_TTL:.0f}"


@pytest.mark.parametrize(
    ("username", "lifetime", "is_overdue"),
    [
        (f"{NOW + 60:.0f}:alice", 60.0, False),
        (f"{NOW + 60:.0f}", 60.0, False),
        (f"{NOW:.0f}:alice", None, True),
        (f"{NOW - 60:.0f}", None, True),
        ("123456:alice", None, False),
        ("alice:1800000060", None, False),
    ],
)
def test_a_user_name_with_a_time_ends_then(username: str, lifetime: float | None, is_overdue: bool) -> None:
    issued = TurnCredentials(Login(LongTermCredential(username, "x"))).issue(NOW)
    assert (issued.lifetime, issued.is_overdue) == (lifetime, is_overdue)


def test_a_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "turn", 'username = "a"\npassword = "b"')
    credentials = read_credentials(path)
    assert credentials.reread() == credentials
    write(path, 'username = "c"\npassword = "d"')
    renewed = credentials.reread()
    assert renewed.issue(NOW).credential.username == "c"
    write(path, "nonsense")
    assert renewed.reread() == renewed, "what was good is kept"
    path.unlink()
    assert renewed.reread() == renewed


def test_the_environment_has_no_file_to_read_again() -> None:
    credentials = environment_credentials({"P2PTUN_TURN_USERNAME": "alice", "P2PTUN_TURN_PASSWORD": HUSH})
    assert credentials is not None
    assert credentials.given == Login(LongTermCredential("alice", HUSH))
    assert credentials.reread() is credentials
    assert environment_credentials({}) is None


@pytest.mark.parametrize("name", ["P2PTUN_TURN_USERNAME", "P2PTUN_TURN_PASSWORD"])
def test_half_a_login_in_the_environment_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        environment_credentials({name: HUSH})
    assert HUSH not in str(caught.value) + caught.value.remedy
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no username"),
        ('username = "alice"', "has no password"),
        (f'password = "{HUSH}"', "has no username"),
        (f'username = "alice"\npassword = "{HUSH}"\nsecret = "x"', "user name or password besides"),
        (f'password = "{HUSH}"\nsecret = "x"', "user name or password besides"),
        (f'secret = "{HUSH}"\nttl = 59', "ttl is 59"),
        (f'secret = "{HUSH}"\nttl = 315360001', "ttl is 315360001"),
        (f'secret = "{HUSH}"\nlabel = "\\u0007"', "label"),
        (f'pasword = "{HUSH}"', "'pasword'"),
        (f'username = 5\npassword = "{HUSH}"', "username"),
        (f'username = "a\\u0007"\npassword = "{HUSH}"', "user name"),
        (f'username = "alice"\npassword = "{HUSH}\\u0007"', "password"),
        (f'username = "{"a" * 509}"\npassword = "{HUSH}"', "508 bytes"),
        (f"username = alice\npassword = {HUSH}", "no TOML"),
        (f"{HUSH}", "no TOML"),
        (b"\xff\xfe" + HUSH.encode(), "no TOML"),
        (HUSH * 10_000, "no TOML"),
    ],
)
def test_a_bad_file_is_told_without_its_secrets(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match="--turn-credentials") as caught:
        read_credentials(write(tmp_path / "turn", text))
    assert problem in str(caught.value)
    assert caught.value.remedy
    assert HUSH not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "turn", 'username = "a"\npassword = "b"', mode)
    with pytest.raises(ConfigError, match="others can read") as caught:
        read_credentials(path)
    assert caught.value.remedy == f"Run: chmod 600 {path}"


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "turn", tmp_path):
        with pytest.raises(ConfigError, match="--turn-credentials") as caught:
            read_credentials(path)
        assert "genturn" in caught.value.remedy


def test_a_pipe_is_fine_and_read_once() -> None:
    reader, writer = os.pipe()
    os.write(writer, b'username = "a"\npassword = "b"')
    os.close(writer)
    credentials = read_credentials(Path(f"/dev/fd/{reader}"))
    assert credentials.reread() == credentials
    os.close(reader)
