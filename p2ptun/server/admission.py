"""How many streams may be open, in all and from one address."""

from __future__ import annotations

from collections import Counter
from typing import Final

from p2ptun.relay.quota import prefix_of
from p2ptun.server.connection import Connection

MAX_CONNECTIONS: Final = 1024
MAX_CONNECTIONS_PER_ADDRESS: Final = 64
"""A household, or an office behind one NAT. Of IPv6, what one customer has: a /56."""


class Admission:
    """Counts streams from their first byte on. When there are too many, the oldest without an allocation makes room."""

    def __init__(self, most: int = MAX_CONNECTIONS, most_per_address: int = MAX_CONNECTIONS_PER_ADDRESS) -> None:
        self.refused: Counter[str] = Counter()
        self._most = most
        self._most_per_address = most_per_address
        self._present: dict[Connection, None] = {}  # in the order of their coming
        self._by_address: Counter[bytes] = Counter()

    def enter(self, connection: Connection) -> bool:
        """Tell whether a stream may stay; whoever may must `leave`."""
        place = prefix_of(connection.remote.address)
        if self._by_address[place] >= self._most_per_address:
            self.refused["too many streams from one address"] += 1
            return False
        if len(self._present) >= self._most and not self._make_room():
            self.refused["too many streams"] += 1
            return False
        self._present[connection] = None
        self._by_address[place] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Count a stream no longer; twice is harmless."""
        if connection not in self._present:
            return
        del self._present[connection]
        place = prefix_of(connection.remote.address)
        self._by_address[place] -= 1
        if not self._by_address[place]:
            del self._by_address[place]

    def _make_room(self) -> bool:
        oldest = next((each for each in self._present if not each.has_allocation), None)
        if oldest is None:
            return False
        oldest.end("made room for another")
        self.leave(oldest)
        return True
