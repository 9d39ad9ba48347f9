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
    """What an allocation has relayed, and the caps on it; or, without `whole`, what the server has."""

    __slots__ = ("_bucket", "_whole", "bytes", "packets")

    def __init__(self, rate: int, whole: Meter | None = None) -> None:
        self._bucket = Bucket(rate)
        self._whole = whole
        self.packets = 0
        self.bytes = 0

    def count(self, packets: int, size: int, now: float) -> bool:
        """Count a batch that is about to be sent, in the whole too; False when a cap forbids it."""
        whole = self._whole
        if not self._bucket.is_open(now) or (whole is not None and not whole.count(packets, size, now)):
            return False
        self.packets += packets
        self.bytes += size
        self._bucket.take(size)
        return True
