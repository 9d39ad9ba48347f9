"""One TCP connection of an ICE base: what its owner knows of it, besides the stream."""

from __future__ import annotations

import socket

from p2ptun.io.stream import Stream
from p2ptun.types import Endpoint

UNPROVEN_TIMEOUT = 5.0  # seconds in which one that connected to us must have been found worth a check
IDLE_TIMEOUT = 60.0  # seconds: a path in use is checked every 25 s at least


class Connection(Stream):
    """A connection to `remote`.

    Attributes:
        is_inbound: Whether the other side opened it.
        is_proven: Whether our own side found the other one worth a question or data; an answer proves nothing.
        has_spoken: Whether a frame has come.
        is_watched: Whether its owner waits for room in the stream, or for the end of the handshake.
    """

    def __init__(self, sock: socket.socket, remote: Endpoint, is_inbound: bool, now: float) -> None:
        super().__init__(sock, is_connected=is_inbound)
        self.remote = remote
        self.is_inbound = is_inbound
        self.is_proven = not is_inbound
        self.has_spoken = False
        self.is_watched = self.wants_room
        self.used_at = now

    @property
    def expires_at(self) -> float:
        """When it is closed, unless something happens: idle, or an intruder."""
        return self.used_at + (IDLE_TIMEOUT if self.is_proven else UNPROVEN_TIMEOUT)

    def record_use(self, now: float) -> None:
        """Note that a frame came or went; that prolongs the life of a proven connection only."""
        if self.is_proven:
            self.used_at = now
