"""Secrets come from files that nobody else can read, and never show up in errors."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2ptun.daemon.secret import read_secret
from p2ptun.errors import ConfigError

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [TEXT, TEXT + "\n", f"  {TEXT}\r\n"])
def test_a_key_is_read(tmp_path: Path, content: str) -> None:
    assert read_secret(write(tmp_path / "psk", content.encode()), "--psk-file") == KEY


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o620, 0o610, 0o666])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "psk", TEXT.encode(), mode)
    with pytest.raises(ConfigError, match="--psk-file") as caught:
        read_secret(path, "--psk-file")
    assert caught.value.remedy == f"Run: chmod 600 {path}"


BAD = [b"", b"hello", TEXT[:-1].encode(), TEXT.encode() * 2, b"\xff\xfe\x00", b"A" * 100_000, TEXT[4:].encode()]


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="psk") as caught:
        read_secret(write(tmp_path / "psk", content), "--psk-file")
    shown = str(caught.value) + caught.value.remedy
    assert TEXT[4:20] not in shown
    assert "AAAA" not in shown
    assert caught.value.remedy


@pytest.mark.parametrize("missing", [True, False])
def test_what_can_not_be_read_is_told(tmp_path: Path, missing: bool) -> None:
    path = tmp_path / "psk"
    if not missing:
        path.mkdir()
    with pytest.raises(ConfigError) as caught:
        read_secret(path, "--psk-file")
    assert str(path) in str(caught.value)
    assert "genpsk" in caught.value.remedy


def test_a_pipe_is_fine(tmp_path: Path) -> None:
    """`--psk-file <(pass show tunnel)`: nobody else can read a pipe of ours."""
    reader, writer = os.pipe()
    os.write(writer, TEXT.encode())
    os.close(writer)
    assert read_secret(Path(f"/dev/fd/{reader}"), "--psk-file") == KEY
    os.close(reader)


def test_no_crash_writes_keys_to_a_disk() -> None:
    """PR_GET_DUMPABLE, 3, asks whether there may be a core dump."""
    code = "import ctypes; from p2ptun.daemon.secret import hide_memory; libc = ctypes.CDLL(None)\n"
    code += "before = libc.prctl(3, 0, 0, 0, 0); hide_memory(); print(before, libc.prctl(3, 0, 0, 0, 0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 0\n"
