"""How many connections may be open, in all and from one address, and which end first when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from p2ptun.relay.quota import prefix_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2ptun.server.http.connection import Connection
    from p2ptun.types import IPAddress

LOOKS: Final = 64
"""Connections looked at, from the oldest on, for one that is idle and may make room."""


class Reception:
    """Counts connections from their first byte on.

    A proxy that we trust speaks for many, and has no share of its own. When there are too many in all, one of the
    oldest that have nothing to do makes room: HTTP clients connect again.

    Attributes:
        refused: Who couldn't stay, by reason.
        most: How many there may be.
    """

    def __init__(self, most: int, most_per_address: int, is_trusted: Callable[[IPAddress], bool]) -> None:
        self.refused: Counter[str] = Counter()
        self.most = most
        self._most_per_address = most_per_address
        self._is_trusted = is_trusted
        self._present: dict[Connection, None] = {}  # in the order of their coming
        self._by_address: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._present)

    def __iter__(self) -> Iterator[Connection]:
        """Go through the connections, the oldest first."""
        return iter(list(self._present))

    def enter(self, connection: Connection) -> bool:
        """Tell whether a connection may stay; whoever may must `leave`."""
        place = prefix_of(connection.remote.address)
        is_trusted = self._is_trusted(connection.remote.address)
        if not is_trusted and self._by_address[place] >= self._most_per_address:
            self.refused["too many connections from one address"] += 1
            return False
        if len(self._present) >= self.most and not self._make_room():
            self.refused["too many connections"] += 1
            return False
        self._present[connection] = None
        self._by_address[place] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection no longer; twice is harmless."""
        if connection not in self._present:
            return
        del self._present[connection]
        place = prefix_of(connection.remote.address)
        self._by_address[place] -= 1
        if not self._by_address[place]:
            del self._by_address[place]

    def _make_room(self) -> bool:
        for _ in range(min(LOOKS, len(self._present))):
            oldest = next(iter(self._present))
            if not oldest.is_busy:
                oldest.end()
                self.leave(oldest)
                return True
            del self._present[oldest]  # it has its turn again when all others had theirs
            self._present[oldest] = None
        return False
