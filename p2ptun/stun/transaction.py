"""Client transactions: repeat a request until it is answered or given up (RFC 8489 6.2.1, 6.2.2).

Over UDP with the defaults a request goes out at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 seconds, and fails at 39.5. Over a
stream it goes out once and fails at the same time. Retransmissions are byte-identical, so a server may tell them by
the transaction ID.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

INITIAL_RTO: Final = 0.5  # seconds, RFC 8489 6.2.1
REQUEST_COUNT: Final = 7  # Rc, RFC 8489 6.2.1
LAST_WAIT: Final = 16  # Rm, in units of the RTO, RFC 8489 6.2.1
STREAM_TIMEOUT: Final = 39.5  # Ti in seconds, RFC 8489 6.2.2
MINIMUM_RTO: Final = 0.1  # seconds; our choice: under it, scheduling noise looks like loss
RTT_LIFETIME: Final = 600.0  # seconds: RFC 8489 6.2.1 calls an older estimate stale


class TransactionState(Enum):
    """Where a transaction stands."""

    ACTIVE = "active"
    CANCELLED = "cancelled"  # sends no more, still listens
    COMPLETED = "completed"
    EXPIRED = "expired"


class Transaction:
    """One request on its way. The owner sends what `next_transmit` gives and calls `complete` on a valid response."""

    __slots__ = ("_expires_at", "_interval", "_is_due", "_next_at", "_payload", "_started_at", "_state", "_transmitted")

    def __init__(self, payload: bytes, now: float, rto: float = INITIAL_RTO, is_reliable: bool = False) -> None:
        self._payload = payload
        self._started_at = now
        self._interval = rto
        self._state = TransactionState.ACTIVE
        self._is_due = True
        self._transmitted = 1
        lifetime = STREAM_TIMEOUT if is_reliable else rto * (2 ** (REQUEST_COUNT - 1) - 1 + LAST_WAIT)
        self._expires_at = now + lifetime
        self._next_at: float | None = self._expires_at if is_reliable else now + rto

    @property
    def state(self) -> TransactionState:
        """Where it stands."""
        return self._state

    @property
    def is_expired(self) -> bool:
        """Tell whether it was given up without an answer."""
        return self._state is TransactionState.EXPIRED

    @property
    def started_at(self) -> float:
        """When the request went out first."""
        return self._started_at

    @property
    def transmitted(self) -> int:
        """How many times the request became due, the first one included."""
        return self._transmitted

    def cancel(self) -> None:
        """Send no more, but keep waiting until the end: a late answer still counts (RFC 8445 7.3.1.4)."""
        if self._state is TransactionState.ACTIVE:
            self._state = TransactionState.CANCELLED
            self._is_due = False
            self._next_at = self._expires_at

    def complete(self, now: float) -> float | None:
        """End it on a valid response.

        Returns the round-trip time in seconds; None when the request was repeated, since nobody knows which copy was
        answered (Karn's algorithm, RFC 6298 3).
        """
        self._stop(TransactionState.COMPLETED)
        return now - self._started_at if self._transmitted == 1 else None

    def handle_timeout(self, now: float) -> None:
        """Make the next copy due, or give up."""
        if self._next_at is None or now < self._next_at:
            return
        if now >= self._expires_at:
            self._stop(TransactionState.EXPIRED)
            return
        self._is_due = True
        self._transmitted += 1
        self._interval *= 2
        self._next_at = now + self._interval if self._transmitted < REQUEST_COUNT else self._expires_at

    def next_transmit(self) -> bytes | None:
        """Give the request each time that it is due, else None."""
        if not self._is_due:
            return None
        self._is_due = False
        return self._payload

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do; None once it is over."""
        return self._next_at

    def _stop(self, state: TransactionState) -> None:
        self._state = state
        self._is_due = False
        self._next_at = None


class RttEstimator:
    """The retransmission timeout for one server, from measured round trips (RFC 6298, as RFC 8489 6.2.1 bends it)."""

    __slots__ = ("_measured_at", "_smoothed", "_variation")

    def __init__(self) -> None:
        self._smoothed: float | None = None
        self._variation = 0.0
        self._measured_at = 0.0

    def record(self, rtt: float, now: float) -> None:
        """Take in one sample, in seconds, such as `Transaction.complete` returns."""
        if self._smoothed is None or now - self._measured_at > RTT_LIFETIME:
            self._smoothed, self._variation = rtt, rtt / 2
        else:
            self._variation = 0.75 * self._variation + 0.25 * abs(self._smoothed - rtt)
            self._smoothed = 0.875 * self._smoothed + 0.125 * rtt
        self._measured_at = now

    def rto(self, now: float) -> float:
        """Give the RTO in seconds; INITIAL_RTO while nothing fresh is known. Not rounded up to a second as in TCP."""
        if self._smoothed is None or now - self._measured_at > RTT_LIFETIME:
            return INITIAL_RTO
        return max(MINIMUM_RTO, self._smoothed + 4 * self._variation)
