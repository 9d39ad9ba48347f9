"""Lines from a file descriptor that may be a terminal, a pipe or a file, read so that waiting can be cancelled."""

from __future__ import annotations

import os

import trio

from p2ptun.errors import RendezvousEnded

CHUNK_SIZE = 4096  # also what a terminal takes as one line (canonical mode, termios(3))
MAX_LINE_SIZE = 1 << 16  # our choice: many times the longest blob


class LineReader:
    """Reads lines of text.

    The descriptor stays as it is: a terminal belongs to other processes too, and O_NONBLOCK on it, as trio's FdStream
    sets it, would reach them and outlive us. So we wait until it is readable and then read once. Regular files, which
    epoll refuses, never keep a reader waiting; a thread reads them.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = b""
        self._is_at_end = False

    async def next_line(self) -> str | None:
        """Return the next line without its end, None at the end of the input.

        Cancelling loses nothing of a terminal or a pipe.

        Raises:
            RendezvousEnded: When the input can't be read, or a line never ends.
        """
        while b"\n" not in self._pending and not self._is_at_end:
            if len(self._pending) > MAX_LINE_SIZE:
                raise RendezvousEnded("The input has a line without end.", "Paste only what the other side printed.")
            chunk = await self._read()
            self._pending += chunk.replace(b"\r", b"\n")
            self._is_at_end = not chunk
        if not self._pending:
            return None
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")

    async def _read(self) -> bytes:
        try:
            if await self._wait_readable():
                return os.read(self._fd, CHUNK_SIZE)
            return await trio.to_thread.run_sync(os.read, self._fd, CHUNK_SIZE, abandon_on_cancel=True)
        except OSError as error:
            raise RendezvousEnded(
                f"The other side's blob can't be read from standard input ({error.strerror}).",
                "Run it in a terminal, or give it a pipe or a file as standard input.",
            ) from error

    async def _wait_readable(self) -> bool:
        """Wait; False at once when epoll knows nothing of such a descriptor."""
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except PermissionError:
            return False
        return True
