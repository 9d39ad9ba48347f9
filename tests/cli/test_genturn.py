"""Credentials for a relay through a pipe: what comes out is a file for `--turn-credentials`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from p2ptun.daemon.turn_credentials import Login, read_credentials
from p2ptun.stun.ephemeral import EphemeralCredentials

from .material import p2ptun


def test_what_is_printed_is_a_file_of_credentials_that_the_relay_accepts(tmp_path: Path) -> None:
    done = p2ptun("genturn", "--ttl", "600", "--label", 'a"l\\ice \u00e9', stdin=b"hush-hush\n")
    assert done.returncode == 0
    path = tmp_path / "turn"
    path.write_bytes(done.stdout)
    path.chmod(0o600)
    given = read_credentials(path).given
    assert isinstance(given, Login)
    expiry, _, label = given.credential.username.partition(":")
    assert label == 'a"l\\ice \u00e9'
    assert abs(int(expiry) - time.time() - 600) < 60
    store = EphemeralCredentials("hush-hush", time.time)
    assert store.find_password(given.credential.username) == given.credential.password
    assert b"hush" not in done.stdout


@pytest.mark.parametrize("stdin", [b"", b"\n", b"\xff\xfe\n"])
def test_without_a_secret_there_is_a_remedy(stdin: bytes) -> None:
    done = p2ptun("genturn", stdin=stdin)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"no secret" in done.stderr
    assert b"p2ptun genturn < SECRET" in done.stderr


@pytest.mark.parametrize("arguments", [["--ttl", "59"], ["--label", "\x07"], ["--label", "x" * 500]])
def test_what_no_user_name_can_have_is_refused(arguments: list[str]) -> None:
    done = p2ptun("genturn", *arguments, stdin=b"hush-hush\n")
    assert done.returncode == 2
    assert arguments[0].encode() in done.stderr
    assert b"hush" not in done.stderr + done.stdout


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
def test_a_file_that_others_can_read_gets_a_warning(tmp_path: Path, mode: int, warned: bool) -> None:
    descriptor = os.open(tmp_path / "turn", os.O_CREAT | os.O_WRONLY)
    os.fchmod(descriptor, mode)
    done = p2ptun("genturn", stdin=b"hush-hush\n", stdout=descriptor)
    os.close(descriptor)
    assert done.returncode == 0
    assert (b"umask 077" in done.stderr) is warned
