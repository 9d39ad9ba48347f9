"""Which valid pair carries data, and which one the controlling side nominates (RFC 8445 8.1.1).

The first valid pair carries data at once, and nomination follows when no better pair can still succeed. There is no
waiting time; what may still be better is asked of the check list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.pair import CandidatePair, PairState
from p2ptun.ice.role import Role

MAX_NOMINATION = (1 << 32) - 1
"""What the attribute carries. Whoever checks us may begin there, and leave it to us to count on in the other role."""


@dataclass(slots=True)
class Nominations:
    """Which pair was chosen last in one generation, on either side.

    `last` counts where the peer follows later nominations; `pending` waits for its answer, and before that, as long as
    it `is_due`, for the check that tells the peer.
    """

    last: int = 0
    pending: CandidatePair | None = None
    is_due: bool = False

    def choose(self, pair: CandidatePair, is_counted: bool) -> None:
        """Choose `pair`: the peer is to be told."""
        self.pending, self.is_due = pair, True
        self.last = min(self.last + is_counted, MAX_NOMINATION)

    def take(self) -> CandidatePair | None:
        """Give the pair that the peer is to be told now; None when there is none."""
        if not self.is_due:
            return None
        self.is_due = False
        return self.pending

    def forget(self) -> None:
        """Choose nothing: the choice has come to nothing, or to its end."""
        self.pending, self.is_due = None, False

    def has_chosen(self, pair: CandidatePair) -> bool:
        """Tell whether `pair` is the last choice, confirmed or not."""
        return pair is self.pending or (pair.is_nominated and pair.nomination == self.last)


def best_pair(pairs: Iterable[CandidatePair], role: Role) -> CandidatePair | None:
    """Choose what carries data: the last nominated pair, of these the one of the highest priority, else any valid one.

    An aggressive peer nominates several pairs; both sides then take the same one (RFC 8445 8.1.1). A pair that has gone
    silent while another one answers comes last.
    """
    valid = (pair for pair in pairs if pair.valid)
    return max(
        valid,
        key=lambda pair: (not pair.is_silent, pair.is_nominated, pair.nomination, pair.valid_priority(role)),
        default=None,
    )


def pair_to_nominate(
    pairs: Iterable[CandidatePair], role: Role, max_copies: int, may_grow: bool
) -> CandidatePair | None:
    """Choose the pair to nominate now; None while a better one can still succeed, or when one is nominated.

    Args:
        pairs: The check list.
        role: Only a controlling side nominates.
        max_copies: A better pair in progress whose check was sent so often without an answer delays nothing.
        may_grow: Whether candidates may still come. Then only a pair of two host candidates is good enough.
    """
    pairs = list(pairs)
    best = best_pair(pairs, role)
    if role is Role.CONTROLLED or best is None or any(pair.is_nominated and not pair.is_silent for pair in pairs):
        return None
    if may_grow and not _is_host_only(best):
        return None
    if any(other.priority > best.priority and _can_succeed(other, max_copies) for other in pairs):
        return None
    return best


def _is_host_only(pair: CandidatePair) -> bool:
    local = pair.valid.local if pair.valid else pair.local
    return local.type is CandidateType.HOST and pair.remote.type is CandidateType.HOST


def _can_succeed(pair: CandidatePair, max_copies: int) -> bool:
    match pair.state:
        case PairState.FROZEN | PairState.WAITING:
            return True
        case PairState.IN_PROGRESS:
            return pair.attempts < max_copies
        case _:
            return False
