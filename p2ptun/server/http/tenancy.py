"""Which address has opened which rooms that still live, as far as this process knows.

Rooms end by themselves, and with several processes some end elsewhere. So each is counted until it was silent here for
its whole lifetime, unless it is seen to end before.
"""

from __future__ import annotations

from p2ptun.relay.quota import prefix_of
from p2ptun.types import IPAddress


class Tenancy:
    """Counts rooms per address, `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_place: dict[bytes, dict[str, float]] = {}  # rooms of an address, and until when they live
        self._places: dict[str, bytes] = {}

    def __len__(self) -> int:
        """Count all rooms."""
        return len(self._places)

    def wait(self, address: IPAddress, room: str, now: float) -> float:
        """Return 0 when an address may have this room besides its others, or in how many seconds it may."""
        place = prefix_of(address)
        rooms = self._by_place.get(place, {})
        if room in rooms:
            return 0
        if len(rooms) >= self._most:
            for each in [each for each, until in rooms.items() if until <= now]:
                self.end(each)
        if len(rooms) < self._most:
            return 0
        return max(0.0, min(rooms.values(), default=now) - now) or 1.0

    def begin(self, address: IPAddress, room: str, until: float) -> None:
        """Count a room to an address. It stays with the first whose it was."""
        place = self._places.setdefault(room, prefix_of(address))
        self._by_place.setdefault(place, {})[room] = until

    def prolong(self, room: str, until: float) -> None:
        """Note a sign of life."""
        place = self._places.get(room)
        if place is not None:
            self._by_place[place][room] = until

    def end(self, room: str) -> None:
        """Count a room no longer; twice is harmless."""
        place = self._places.pop(room, None)
        if place is None:
            return
        rooms = self._by_place[place]
        del rooms[room]
        if not rooms:
            del self._by_place[place]

    def sweep(self, now: float) -> None:
        """Forget the rooms that must be over."""
        over = [room for rooms in self._by_place.values() for room, until in rooms.items() if until <= now]
        for room in over:
            self.end(room)
