"""When to do things again: refreshes, keepalives, retries."""

from __future__ import annotations

from typing import Final

from p2ptun.types import RandomBytes

REFRESH_MARGIN: Final = 60.0  # seconds, RFC 8656 8: "at least 1 minute before expiry"
LONGEST_EXPONENT: Final = 20  # of a back-off: any bound is reached long before
RETRY_SPREAD: Final = 1.25  # our choice: clients that failed together come back over a quarter of the pause

PEER_INTERVAL: Final = 240.0  # seconds; our choice for both, whatever the traffic: a minute before a permission ends
PEER_RETRY: Final = 10.0  # seconds; our choice, for what the server could not do at the moment


def uniform(between: tuple[float, float], random_bytes: RandomBytes) -> float:
    """Draw a number from `between`."""
    low, high = between
    return low + (high - low) * int.from_bytes(random_bytes(2), "big") / 0xFFFF


def refresh_after(lifetime: float) -> float:
    """Tell how long after the grant of `lifetime` seconds to refresh: at its half, and a minute before its end.

    A lifetime that hardly exceeds the minute leaves a quarter of itself.
    """
    return min(lifetime / 2, max(lifetime - REFRESH_MARGIN, lifetime / 4))


def back_off(failures: int, between: tuple[float, float], random_bytes: RandomBytes) -> float:
    """Tell how long to wait after `failures` of them in a row, from 1 on: doubling, and spread a little."""
    shortest, longest = between
    pause = min(longest, shortest * 2.0 ** min(failures - 1, LONGEST_EXPONENT))
    return min(longest, uniform((pause, pause * RETRY_SPREAD), random_bytes))
