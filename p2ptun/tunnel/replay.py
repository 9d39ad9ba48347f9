"""The replay window: no authenticated datagram is acted upon twice (RFC 6479)."""

from __future__ import annotations

WINDOW = 8192  # how far a datagram may lag behind the newest one: 8192 x 1400 bytes is 90 ms at 1 Gb/s
_RING = 2 * WINDOW // 8  # bytes; twice the window, so that clearing whole bytes ahead never touches what still counts
_MASK = _RING - 1


class ReplayWindow:
    """Remember which of the last 8192 counters were seen.

    Ask only after the datagram is authenticated: a forged counter must not move the window. One bit per counter lies
    in a ring of bytes; moving ahead clears the bytes that are entered, a byte (eight counters) at a time.
    """

    __slots__ = ("_highest", "_ring")

    def __init__(self) -> None:
        self._ring = bytearray(_RING)
        self._highest = -1

    def accept(self, counter: int) -> bool:
        """Take note of `counter`. False: it was seen before, or is too old to tell, so the datagram must be dropped.

        Called once per datagram; works on small integers only, so it allocates nothing.
        """
        ring = self._ring
        highest = self._highest
        if counter > highest:
            entered = (counter >> 3) - (highest >> 3)
            if entered:
                self._clear(highest >> 3, min(entered, _RING))
            self._highest = counter
        elif counter + WINDOW <= highest:
            return False
        at = (counter >> 3) & _MASK
        bit = 1 << (counter & 7)
        if ring[at] & bit:
            return False
        ring[at] |= bit
        return True

    def _clear(self, after: int, count: int) -> None:
        """Zero `count` bytes of the ring behind position `after`."""
        start = (after + 1) & _MASK
        first = min(count, _RING - start)
        self._ring[start : start + first] = bytes(first)
        self._ring[: count - first] = bytes(count - first)
