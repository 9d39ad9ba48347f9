"""Signalling inside the tunnel: each side keeps the other informed of its ICE parameters (RFC 8838, RFC 8445 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto

from p2ptun.deadlines import Deadlines
from p2ptun.errors import LocalProtocolError
from p2ptun.ice.named import ToldCandidate, place_of
from p2ptun.node.drop import DropReason
from p2ptun.node.parameters import IceParameters, fitted, read_description, write_description
from p2ptun.tunnel.admission import TokenBucket
from p2ptun.tunnel.control import Acknowledgement, IceDescription

REPEAT_RTTS = 2.0  # our choice: an answer that took twice as long as the last one is lost
MIN_REPEAT_INTERVAL = 0.25  # seconds
MAX_REPEAT_INTERVAL = 10.0

NEWS_PER_SECOND = 0.2
"""Descriptions that are taken in, in the long run: each can make us pair anew and fill logs, and what is refused is
repeated by an honest peer."""

NEWS_BURST = 16


class Timer(Enum):
    """What signalling waits for."""

    REPEAT = auto()  # an acknowledgement


@dataclass(frozen=True, slots=True)
class News:
    """What a newer description of the other side says.

    Attributes:
        parameters: All of it.
        added: Those of its candidates that weren't known.
        removed: Candidates that were known and that it no longer has.
    """

    parameters: IceParameters
    added: tuple[ToldCandidate, ...]
    removed: tuple[ToldCandidate, ...]


class Signalling:
    """Synchronises a state in both directions over a channel that may lose, repeat and reorder messages.

    No message says what happened; each says what is, whole, under a `revision` that counts up. The newest one counts,
    whatever became of those before it. It is repeated until it is acknowledged, ever more slowly.

    The owner pulls `take_message` only while there are keys and a path with consent: what waits longer goes out in its
    newest state. It calls `hasten` when keys or path are new: what was sent over the old ones may be lost.
    """

    def __init__(self) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._own: IceParameters | None = None
        self.revision = 0
        self._acknowledged = 0
        self._theirs: dict[Hashable, ToldCandidate] = {}
        self._their_revision = 0
        self._is_due = False
        self._owes_acknowledgement = False
        self._interval = 0.0
        self._admitted = TokenBucket(NEWS_PER_SECOND, NEWS_BURST)
        self._deadlines: Deadlines[Timer] = Deadlines()

    # Getters

    @property
    def is_acknowledged(self) -> bool:
        """Whether the other side has our newest state."""
        return self._acknowledged == self.revision

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` is about."""
        return self._deadlines.next_timer()

    def knows(self, candidate: ToldCandidate) -> bool:
        """Tell whether the other side has this candidate, as far as we know."""
        return place_of(candidate) in self._theirs

    # Commands

    def begin(self, candidates: tuple[ToldCandidate, ...]) -> None:
        """Know candidates that the other side told before there was a tunnel."""
        self._theirs = {place_of(candidate): candidate for candidate in candidates}

    def update(self, own: IceParameters) -> None:
        """Tell the other side `own` from now on, as far as a message holds it. Harmless when nothing has changed."""
        told = fitted(own)
        if told != self._own:
            self._own = told
            self.revision += 1
            self.drops[DropReason.UNTOLD_CANDIDATE] += len(own.candidates) - len(told.candidates)
            self.hasten()

    def hasten(self) -> None:
        """Send at once what isn't acknowledged yet, and repeat it swiftly again."""
        self._is_due = not self.is_acknowledged
        self._interval = 0.0
        self._deadlines.clear()

    def rest(self) -> None:
        """Tell nothing more until something changes: it is over."""
        self._is_due = self._owes_acknowledgement = False
        self._deadlines.clear()

    def take_message(self, rtt: float | None, now: float) -> IceDescription | Acknowledgement | None:
        """Return what is to be sent now over a path with that round-trip time; None when there is nothing to say."""
        if self._is_due and self._own is not None:
            self._is_due = self._owes_acknowledgement = False
            first = max(REPEAT_RTTS * (rtt or 0.0), MIN_REPEAT_INTERVAL)
            self._interval = min(2 * self._interval or first, MAX_REPEAT_INTERVAL)
            self._deadlines.set(Timer.REPEAT, now + self._interval)
            return self.write()
        if self._owes_acknowledgement:
            self._owes_acknowledgement = False
            return Acknowledgement(self._their_revision)
        return None

    def write(self) -> IceDescription:
        """Write our state, for whoever carries it another way. Raises LocalProtocolError before the first `update`."""
        if self._own is None:
            raise LocalProtocolError("there is no state to write yet")
        return write_description(self._own, self.revision, self._their_revision)

    # Inputs

    def receive(self, message: IceDescription | Acknowledgement, now: float) -> News | None:
        """Take a message of the other side; return what is new in it."""
        self._record_acknowledgement(message.acknowledged)
        if isinstance(message, Acknowledgement):
            return None
        self._owes_acknowledgement = True
        if message.revision <= self._their_revision:
            return None
        if not self._admitted.take(now):
            self.drops[DropReason.HASTY_DESCRIPTION] += 1
            return None
        self._their_revision = message.revision
        parameters = read_description(message)
        before, self._theirs = self._theirs, {place_of(each): each for each in parameters.candidates}
        added = tuple(each for place, each in self._theirs.items() if place not in before)
        removed = tuple(each for place, each in before.items() if place not in self._theirs)
        return News(parameters, added, removed)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        if self._deadlines.pop_expired(now):
            self._is_due = True

    # Outputs

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        return self._deadlines.next()

    def _record_acknowledgement(self, revision: int) -> None:
        """Believe that the other side has what we have sent, and nothing that we haven't."""
        if self._acknowledged < revision <= self.revision:
            self._acknowledged = revision
        if self.is_acknowledged:
            self._is_due = False
            self._deadlines.clear()
