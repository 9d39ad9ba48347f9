"""Randomness that is the same in each run."""

from __future__ import annotations

import random
from collections.abc import Callable


def seeded(name: str) -> Callable[[int], bytes]:
    """Return a source of random bytes that `name` decides."""
    return random.Random(name).randbytes
