"""How much is relayed, and how fast at most."""

from __future__ import annotations


class Bucket:
    """Bytes that may pass: `rate` a second, `rate` at once. A batch passes whole while anything is left.

    What it took too much is a debt, so that the long run holds to the rate whatever the size of the batches.
    """

    __slots__ = ("_filled_at", "_left", "_rate")

    def __init__(self, rate: int) -> None:
        """`rate` 0 means no cap."""
        self._rate = float(rate)
        self._left = float(rate)
        self._filled_at = float("-inf")

    def is_open(self, now: float) -> bool:
        """Tell whether a batch may pass."""
        if not self._rate:
            return True
        if now > self._filled_at:
            self._left = min(self._rate, self._left + (now - self._filled_at) * self._rate)
            self._filled_at = now
        return self._left > 0

    def take(self, size: int) -> None:
        """Count a batch that passes."""
        self._left -= size


class Meter:
    """What one allocation, or a whole server, has relayed, and the cap on it."""

    __slots__ = ("bucket", "bytes", "packets")

    def __init__(self, rate: int) -> None:
        self.bucket = Bucket(rate)
        self.packets = 0
        self.bytes = 0

    def count(self, packets: int, size: int) -> None:
        """Count what passes."""
        self.packets += packets
        self.bytes += size
        self.bucket.take(size)
