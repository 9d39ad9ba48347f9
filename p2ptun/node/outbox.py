"""What a peer wants sent, and what of that waits for a path."""

from __future__ import annotations

from collections import deque

from p2ptun.aead.buffer import Batch
from p2ptun.node.path import Path
from p2ptun.tunnel.wire import MessageType
from p2ptun.types import Transmit

MAX_HELD = 4
"""Handshake and control datagrams kept while there is no path: an initiation, an answer, a keepalive, a goodbye."""


class Outbox:
    """Datagrams in the order in which they leave. Of those that can't leave yet the newest few are kept.

    The answer to a handshake is kept until the other side has used the keys that it brings: it may have gone the old
    way while the other side is on the new one already.
    """

    def __init__(self) -> None:
        self._unconfirmed: bytes | None = None
        self._held: deque[bytes] = deque(maxlen=MAX_HELD)
        self._ready: deque[Transmit] = deque()

    @property
    def holds_response(self) -> bool:
        """Whether the answer to a handshake of the other side waits for a path."""
        return any(datagram[0] == MessageType.RESPONSE for datagram in self._held)

    def add(self, transmit: Transmit) -> None:
        """Take a datagram that knows its way."""
        self._ready.append(transmit)

    def add_batch(self, datagrams: Batch, path: Path) -> None:
        """Take copies of datagrams that go over `path`."""
        self._ready.extend(Transmit(bytes(each), path.base, path.destination) for each in datagrams)

    def hold(self, datagram: bytes) -> None:
        """Keep a datagram of the session until `release`."""
        self._held.append(datagram)
        if datagram[0] == MessageType.RESPONSE:
            self._unconfirmed = datagram

    def confirm(self) -> None:
        """Know that there are new keys: no answer waits for proof that it arrived."""
        self._unconfirmed = None

    def repeat(self) -> None:
        """Hold the last answer again, unless its keys are in use: there is another way."""
        if self._unconfirmed is not None and self._unconfirmed not in self._held:
            self._held.append(self._unconfirmed)

    def release(self, path: Path) -> None:
        """Let what was held go over `path`."""
        self._ready.extend(Transmit(each, path.base, path.destination) for each in self._held)
        self._held.clear()

    def take(self) -> Transmit | None:
        """Give the next datagram to send."""
        return self._ready.popleft() if self._ready else None
