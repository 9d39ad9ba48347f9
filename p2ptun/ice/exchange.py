"""The checks under way, by transaction (RFC 8445 7.2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.deadlines import earliest
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.role import Role
from p2ptun.stun.message import TransactionId
from p2ptun.stun.transaction import Transaction, TransactionState
from p2ptun.types import Transmit

MAX_WAITING = 4
"""Our choice: checks of one pair whose answers still count. A lost peer is asked anew every second while packets wait
for it, and each check lasts 40."""


class Purpose(Enum):
    """What a check is for."""

    CHECK = "check"
    NOMINATE = "nominate"
    CONSENT = "consent"  # sent once; every answer counts until the transaction's end (RFC 7675 5.1)


@dataclass(frozen=True, slots=True)
class Check:
    """A check under way: `role` is ours when it was sent; `nominates` says whether it carried USE-CANDIDATE."""

    pair: CandidatePair
    purpose: Purpose
    role: Role
    nominates: bool
    transaction_id: TransactionId
    transaction: Transaction


class Exchange:
    """Repeats checks, matches answers, reports what stayed unanswered."""

    def __init__(self) -> None:
        self._checks: dict[TransactionId, Check] = {}

    def start(self, check: Check) -> None:
        """Begin a check; its first copy is due. The oldest of too many of that pair is forgotten."""
        if check.purpose is Purpose.CHECK:
            waiting = [key for key, other in self._checks.items() if _is_like(other, check)]
            for key in waiting[: max(0, len(waiting) - MAX_WAITING + 1)]:
                del self._checks[key]
        self._checks[check.transaction_id] = check

    def find(self, transaction_id: TransactionId) -> Check | None:
        """Look up the check that a response may answer."""
        return self._checks.get(transaction_id)

    def complete(self, check: Check, now: float) -> float | None:
        """End a check on its answer; give the round trip when it is known."""
        del self._checks[check.transaction_id]
        return check.transaction.complete(now)

    def is_checking(self, pair: CandidatePair) -> bool:
        """Tell whether a check of `pair`, other than for consent, waits for an answer."""
        return any(check.pair is pair and check.purpose is not Purpose.CONSENT for check in self._checks.values())

    def has_asked(self, times: int) -> bool:
        """Tell whether some check has been repeated so often and still is."""
        return any(
            check.transaction.state is TransactionState.ACTIVE and check.pair.attempts >= times
            for check in self._checks.values()
        )

    def quiet(self, pair: CandidatePair) -> None:
        """Repeat the checks of `pair` no more; late answers still count (RFC 8445 7.3.1.4)."""
        for check in self._checks.values():
            if check.pair is pair:
                check.transaction.cancel()

    def forget(self, pair: CandidatePair) -> None:
        """Drop the checks of a pair that is gone."""
        self._checks = {key: check for key, check in self._checks.items() if check.pair is not pair}

    def handle_timeout(self, now: float) -> list[Check]:
        """Make repetitions due; give the checks that stayed unanswered to their end."""
        waiting = ((check, check.transaction.next_timeout()) for check in self._checks.values())
        due = [check for check, at in waiting if at is not None and at <= now]
        for check in due:
            check.transaction.handle_timeout(now)
            if check.purpose is not Purpose.CONSENT and check.transaction.state is TransactionState.ACTIVE:
                check.pair.attempts = check.transaction.transmitted
        expired = [check for check in due if check.transaction.is_expired]
        for check in expired:
            del self._checks[check.transaction_id]
        return expired

    def next_transmit(self) -> Transmit | None:
        """Give a check to send."""
        for check in self._checks.values():
            payload = check.transaction.next_transmit()
            if payload is None:
                continue
            if check.purpose is Purpose.CONSENT:
                check.transaction.cancel()
            return Transmit(payload, check.pair.base, check.pair.destination)
        return None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        times = (check.transaction.next_timeout() for check in self._checks.values())
        return earliest(times)


def _is_like(other: Check, check: Check) -> bool:
    return other.pair is check.pair and other.purpose is check.purpose
