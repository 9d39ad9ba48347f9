"""How long to wait before something is tried again."""

from __future__ import annotations

from random import Random
from typing import Final

FIRST_CEILING: Final = 1.0  # seconds; the first wait is half of it at least
LAST_CEILING: Final = 30.0  # seconds
MAX_TOLD: Final = 60.0  # seconds; a server that tells us to wait longer is asked sooner than it likes
SPREAD: Final = 1.0  # seconds over which those come back who were told the same time


class Backoff:
    """Waits that double, from 0.5 s up to 30 s, each shortened by up to half so that not all come back at once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ceiling = FIRST_CEILING

    def next_delay(self, told: float | None = None) -> float:
        """Return the next wait in seconds. What the server told (Retry-After, RFC 9110 10.2.3) goes before ours."""
        ceiling = self._ceiling
        self._ceiling = min(2 * ceiling, LAST_CEILING)
        if told is None:
            return self._random.uniform(ceiling / 2, ceiling)
        return min(max(told, 0.0) + self._random.uniform(SPREAD / 2, SPREAD), MAX_TOLD)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._ceiling = FIRST_CEILING
