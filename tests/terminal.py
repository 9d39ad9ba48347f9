"""A person at a terminal: a real pseudo-terminal of 80 columns, keys pressed, words read."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tests.e2e.command import wait_until

CTRL_C, CTRL_D, TAB = b"\x03", b"\x04", b"\t"
OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""A program of its own session takes the terminal, so that Ctrl-C reaches it as a signal."""

Starter: TypeAlias = Callable[[Sequence[str], int], "subprocess.Popen[str]"]
"""Starts a program in a session of its own, with a descriptor as its stdin, stdout and stderr."""


class Terminal:
    """One program in a terminal: keys go in by `type`, what it shows comes out by `read_until`."""

    def __init__(self, start: Starter, *argv: str) -> None:
        self._master, self._slave = os.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(self._master, False)
        self.settings = termios.tcgetattr(self._slave)
        self.shown = ""
        self._position = 0
        self.process = start([sys.executable, "-c", OWN_TERMINAL, *argv], self._slave)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def read(self) -> str:
        """Return all that it has shown so far."""
        try:
            while chunk := os.read(self._master, 65536):
                self.shown += chunk.decode(errors="replace")
        except (BlockingIOError, OSError):
            pass  # nothing more just now, or nobody holds the other end any more
        return self.shown

    def read_until(self, words: str, timeout: float = 15) -> str:
        """Wait until it shows words after those waited for last; return what came up to them."""

        def arrived() -> bool:
            return words in self.read()[self._position :]

        try:
            wait_until(arrived, timeout, repr(words))
        except Exception as error:
            raise AssertionError(f"{words!r} wasn't shown:\n{self.shown}") from error
        began = self._position
        self._position = self.shown.index(words, began) + len(words)
        return self.shown[began : self._position]

    def unread(self) -> int:
        """Count the bytes typed that the next program would read."""
        answer = fcntl.ioctl(self._slave, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def exit_code(self, timeout: float = 10) -> int:
        """Wait for its end; the terminal must be as it was."""
        code = self.process.wait(timeout)
        self.read()
        assert termios.tcgetattr(self._slave) == self.settings
        assert os.get_blocking(self._slave)
        return code

    def close(self) -> None:
        """Hang up."""
        os.close(self._slave)
        os.close(self._master)
