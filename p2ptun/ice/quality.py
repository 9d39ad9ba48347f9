"""How good a pair is: kind, round trip, loss and MTU, and when a better one is worth a move.

Priorities (RFC 8445 5.1.2) are guesses made before anything was measured; they decide until a pair is nominated. From
then on measurements do, with a margin, so that traffic doesn't wander between two equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2ptun.types import Transport

if TYPE_CHECKING:
    from p2ptun.ice.pair import CandidatePair

RTT_WEIGHT = 0.125  # RFC 6298 2: weight of a new sample
LOSS_WEIGHT = 0.125  # ours: of one check in the part that is lost, so that eight in a row tell
LOSS_COST = 1.0  # ours, seconds: losing a tenth of the packets is as bad as 100 ms more
FULL_MTU = 1500  # bytes: an Ethernet
MIN_MTU = 1280  # RFC 8200 5: what every IPv6 path takes
MTU_COST = 0.1  # ours, seconds: a path of half the size is as bad as 50 ms more

MARGIN = 0.010  # seconds, ours: less isn't felt
MARGIN_PART = 0.15  # ours: nor is a seventh
SAMPLES = 3  # round trips measured before they count
UNANSWERED_AFTER = 1.0  # seconds: an answer is late, not lost, before that


@dataclass(slots=True)
class Quality:
    """What is measured of one pair.

    Attributes:
        rtt: Smoothed round trip in seconds; None while nothing was measured.
        samples: How many round trips that is made of.
        loss: Smoothed part of the consent checks that stayed unanswered, 0 to 1.
        mtu: Largest IP packet that is known to get through, in bytes; None while none was too large.
    """

    rtt: float | None = None
    samples: int = 0
    loss: float = 0.0
    mtu: int | None = None
    _asked_at: float | None = None

    @property
    def cost(self) -> float:
        """Sum it up, in seconds: less is better."""
        lacking = max(0, FULL_MTU - (self.mtu or FULL_MTU)) / FULL_MTU
        return (self.rtt or 0.0) + LOSS_COST * self.loss + MTU_COST * lacking

    def record_check(self, now: float) -> None:
        """Note that a check went out; the one before counts as lost when its answer is overdue."""
        patience = max(UNANSWERED_AFTER, 2 * (self.rtt or 0.0))
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at >= patience:
            self.loss += LOSS_WEIGHT * (1 - self.loss)
            self._asked_at = now

    def record_answer(self, rtt: float | None) -> None:
        """Note an answer, with its round trip when that could be measured."""
        if self._asked_at is not None:
            self._asked_at = None
            self.loss -= LOSS_WEIGHT * self.loss
        if rtt is not None:
            self.samples += 1
            self.rtt = rtt if self.rtt is None else self.rtt + RTT_WEIGHT * (rtt - self.rtt)


def rank(pair: CandidatePair) -> int:
    """Tell the kind of a pair: 0 direct over UDP, 1 over TCP, 2 relayed, 3 relayed to us over TCP."""
    local = pair.valid.local if pair.valid else pair.local
    is_relayed = local.is_relayed or pair.remote.is_relayed
    return 2 * is_relayed + (local.transport is not Transport.UDP)


def is_worth_a_move(new: CandidatePair, old: CandidatePair) -> bool:
    """Tell whether traffic should leave `old` for `new`; both are valid and answer."""
    if rank(new) != rank(old):
        return rank(new) < rank(old)
    if min(new.quality.samples, old.quality.samples) < SAMPLES:
        return False
    gain = old.quality.cost - new.quality.cost
    return gain > max(MARGIN, MARGIN_PART * old.quality.cost)


def best_standby(
    valid: list[CandidatePair], selected: CandidatePair, current: CandidatePair | None = None
) -> CandidatePair | None:
    """Choose who takes over when `selected` goes silent: best one that has as little in common with it as possible.

    `current`, who stands ready, stays unless another one has less.
    """
    others = [pair for pair in valid if pair is not selected and not pair.is_silent and pair.key != selected.key]
    return max(
        others,
        key=lambda pair: (_independence(pair, selected), pair is current, -rank(pair), -pair.quality.cost),
        default=None,
    )


def _independence(pair: CandidatePair, other: CandidatePair) -> tuple[bool, int]:
    """Tell whether two pairs go through different relays, and count the ends that differ: what breaks may be shared.

    Which interface a relay is reached by isn't known here, so it counts as the same.
    """
    is_relayed = _is_relayed_here(pair) or _is_relayed_here(other)
    has_other_base = not is_relayed and pair.base.address != other.base.address
    return not _shares_relay(pair, other), has_other_base + (pair.destination.address != other.destination.address)


def _shares_relay(pair: CandidatePair, other: CandidatePair) -> bool:
    """Tell whether a relay serves both pairs: one side may use it in the one, the other side in the other."""
    here, there = pair.base.address, pair.destination.address
    is_across = here == other.destination.address or there == other.base.address
    is_ours = here == other.base.address and _is_relayed_here(pair)
    return is_across or is_ours or (there == other.destination.address and pair.remote.is_relayed)


def _is_relayed_here(pair: CandidatePair) -> bool:
    return (pair.valid.local if pair.valid else pair.local).is_relayed
