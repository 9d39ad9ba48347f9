"""Secrets: read from files only when nobody else can, and kept out of core dumps."""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from p2ptun.errors import ConfigError
from p2ptun.noise.keypair import decode_key

MAX_SIZE = 4096

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def hide_memory() -> None:
    """Let no crash write our memory, which holds keys, to a disk, and no other process of our user read it (prctl(2)).

    Where the kernel refuses, all goes on as it would without.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_secret(path: Path, option: str) -> bytes:
    """Read a key of 32 bytes in base64 from a file that only its owner can read.

    Raises:
        ConfigError: If it can't be read, others can read it, or it is no key.
    """
    text = read_private(path, option, MAX_SIZE, "Make one: umask 077; p2ptun genpsk > FILE")
    return decode_key(text.decode("ascii", "replace"), where="", key=f"{option} {path}")


def read_private(path: Path, option: str, most: int, remedy: str) -> bytes:
    """Read `most` bytes of a file that only its owner can read; `remedy` is for one that can't be read at all.

    Raises:
        ConfigError: If it can't be read, or others can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(most)
    except OSError as error:
        raise ConfigError("", option, f"{path}: {error.strerror}", remedy) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise ConfigError("", option, f"others can read {path}", f"Run: chmod 600 {path}")
    return content
