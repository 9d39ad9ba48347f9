"""What a wire does to datagrams: latency, jitter, loss by chance and in bursts, repetition, a largest size."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bursts:
    """Times in which everything is lost: they last `burst` seconds on average and come after `quiet` seconds.

    Lengths are exponential, so the next one can't be foretold (the model of Gilbert, in time instead of packets).
    """

    quiet: float
    burst: float
    seed: int = 1
    is_bad: bool = False
    _ends_at: float | None = None
    _random: random.Random = field(default_factory=random.Random)

    def loses(self, now: float) -> bool:
        """Tell whether what passes now is lost."""
        if self._ends_at is None:
            self._random.seed(self.seed)
            self._ends_at = now + self._length()
        while now >= self._ends_at:
            self.is_bad = not self.is_bad
            self._ends_at += self._length()
        return self.is_bad

    def _length(self) -> float:
        return self._random.expovariate(1 / (self.burst if self.is_bad else self.quiet))


@dataclass(slots=True)
class Link:
    """A stretch of the way.

    Attributes:
        latency: One way, in seconds; `jitter` is added to it, by chance up to so much: more than nothing reorders.
        loss: The part of the datagrams that is lost, 0 to 1; `repetition` the part that arrives twice.
        mtu: The longest payload that gets through.
        bursts: Times in which nothing gets through; None for none.
        is_up: Whether anything gets through at all.
    """

    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    repetition: float = 0.0
    mtu: int = 1472
    bursts: Bursts | None = None
    is_up: bool = True

    def problem(self, size: int, chance: random.Random, now: float) -> str | None:
        """Tell why a datagram of `size` bytes gets lost on it; None when it gets through."""
        if not self.is_up:
            return "link down"
        if size > self.mtu:
            return "too big"
        if chance.random() < self.loss or (self.bursts is not None and self.bursts.loses(now)):
            return "loss"
        return None

    def copies(self, chance: random.Random) -> int:
        """Tell how often a datagram leaves it."""
        return 2 if chance.random() < self.repetition else 1

    def delay(self, chance: random.Random) -> float:
        """Tell how long a datagram takes."""
        return self.latency + chance.random() * self.jitter
