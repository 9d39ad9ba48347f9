"""A candidate pair and the five states of its check (RFC 8445 6.1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.priority import pair_priority
from p2ptun.ice.quality import MIN_MTU, Quality
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, SendError, Transport

PairKey: TypeAlias = tuple[Endpoint, Endpoint]
"""Base and destination: two pairs that agree in both are the same (RFC 8445 6.1.2.4)."""


class PairState(Enum):
    """RFC 8445 6.1.2.6."""

    FROZEN = "frozen"  # waits until another pair of its foundation has succeeded
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PairProblem(Enum):
    """What went wrong last on a pair, for `status` and `explain`."""

    NO_ANSWER = "no answer"
    NOT_SYMMETRIC = "not symmetric"  # the answer came from elsewhere, or to another socket (RFC 8445 7.2.5.2.1)
    REJECTED = "rejected"  # an error response
    MALFORMED_ANSWER = "malformed answer"
    SUPERSEDED = "another pair was first"  # RFC 8445 8.1.2
    EXPIRED = "consent expired"
    UNREACHABLE = "unreachable"  # the rest: what the kernel said, see SEND_PROBLEMS
    FORBIDDEN = "forbidden"
    REFUSED_BY_RELAY = "refused by the relay"
    THROUGH_TUNNEL = "through a tunnel"
    TOO_BIG = "too big"
    REFUSED = "refused"
    OTHER = "other"


SEND_PROBLEMS: dict[SendError, PairProblem | None] = {
    SendError.WOULD_BLOCK: None,  # a full socket or memory says nothing of the pair
    SendError.NO_BUFFERS: None,
    SendError.UNREACHABLE: PairProblem.UNREACHABLE,
    SendError.SOURCE_GONE: PairProblem.UNREACHABLE,
    SendError.REFUSED_BY_FIREWALL: PairProblem.FORBIDDEN,
    SendError.REFUSED_BY_RELAY: PairProblem.REFUSED_BY_RELAY,
    SendError.UNTRUSTED: None,  # a server's certificate: no pair's affair
    SendError.THROUGH_TUNNEL: PairProblem.THROUGH_TUNNEL,
    SendError.TOO_LARGE: PairProblem.TOO_BIG,
    SendError.REFUSED: PairProblem.REFUSED,
    SendError.TIMED_OUT: PairProblem.NO_ANSWER,
    SendError.OTHER: PairProblem.OTHER,
}
"""What a refused datagram says of its pair."""

FATAL_PROBLEMS = (
    PairProblem.UNREACHABLE,
    PairProblem.FORBIDDEN,
    PairProblem.REFUSED_BY_RELAY,
    PairProblem.THROUGH_TUNNEL,
)
"""What ends a running check at once; the rest that the kernel says are hints."""


def is_fatal(problem: PairProblem, base: Endpoint) -> bool:
    """Tell whether a datagram from `base` could never have left; over TCP any problem is the end of the connection."""
    return problem in FATAL_PROBLEMS or base.transport is not Transport.UDP


@dataclass(frozen=True, slots=True)
class ValidPair:
    """What a successful check proved (RFC 8445 7.2.5.3.2).

    Its local candidate is the address that the other side saw: often server- or peer-reflexive where the checked pair
    has the host candidate. Nomination sits here.
    """

    local: Candidate
    is_nominated: bool = False


@dataclass(slots=True, eq=False)
class CandidatePair:
    """A local candidate, always a base, with a remote one; identified by base and destination.

    Attributes:
        destination: The remote candidate's endpoint; a link-local one with the zone of our base.
        priority: Depends on the role: `Checklist.prioritize` keeps it right.
        valid: What the last successful check proved; None until one was.
        is_claimed: We are controlled and the other side nominated this pair before our own check succeeded
            (RFC 8445 7.3.1.5).
        nomination: Which nomination it has or claims: the highest counts; 0 without renomination.
        is_heard: The peer has checked it.
        is_silent: Nothing has come back on it, while another pair answered: that goes first until this one answers.
        is_expired: Consent to send on it has expired: these credentials are never used on it again (RFC 7675 5.1).
        is_vouched: The tunnel has opened packets that came over it, so the true peer is at its other end.
        attempts: How often the running check was sent.
        confirmed_at: When the last authenticated answer came.
        quality: What was measured.
        problem: The last one; stays after a later success.
    """

    local: Candidate
    remote: Candidate
    destination: Endpoint
    priority: int = 0
    state: PairState = PairState.FROZEN
    valid: ValidPair | None = None
    is_claimed: bool = False
    nomination: int = 0
    is_heard: bool = False
    is_silent: bool = False
    is_expired: bool = False
    is_vouched: bool = False
    attempts: int = 0
    confirmed_at: float | None = None
    quality: Quality = field(default_factory=Quality)
    problem: PairProblem | None = None

    @property
    def base(self) -> Endpoint:
        """The socket it is checked from."""
        return self.local.base

    @property
    def key(self) -> PairKey:
        """What tells it from others."""
        return self.base, self.destination

    @property
    def foundation(self) -> tuple[str, str]:
        """Foundations of both candidates, compared as whole strings (RFC 8445 6.1.2.6)."""
        return self.local.foundation, self.remote.foundation

    @property
    def rtt(self) -> float | None:
        """The smoothed round trip in seconds; None while nothing was measured."""
        return self.quality.rtt

    @property
    def is_nominated(self) -> bool:
        """Whether its valid pair is nominated."""
        return self.valid is not None and self.valid.is_nominated

    def prioritize(self, role: Role) -> None:
        """Compute the priority for our `role`."""
        self.priority = self._priority_with(self.local, role)

    def valid_priority(self, role: Role) -> int:
        """Compute the priority of the valid pair; 0 when there is none."""
        return self._priority_with(self.valid.local, role) if self.valid else 0

    def blame(self, problem: PairProblem) -> None:
        """Note what went wrong; a datagram that is too big says that full-sized packets don't pass."""
        self.problem = problem
        if problem is PairProblem.TOO_BIG:
            self.quality.mtu = MIN_MTU

    def confirm(self, rtt: float | None, now: float) -> None:
        """Note an authenticated answer, with a round trip when one could be measured."""
        self.confirmed_at = now
        self.is_silent = False
        self.quality.record_answer(rtt)

    def snapshot(self) -> PairSnapshot:
        """Copy what an owner may see."""
        local = self.valid.local if self.valid else self.local
        return PairSnapshot(
            local, self.remote, self.base, self.destination, self.state, self.is_nominated, self.rtt, self.problem
        )

    def _priority_with(self, local: Candidate, role: Role) -> int:
        if role is Role.CONTROLLING:
            return pair_priority(local.priority, self.remote.priority)
        return pair_priority(self.remote.priority, local.priority)


@dataclass(frozen=True, slots=True)
class PairSnapshot:
    """A pair as it was when asked for."""

    local: Candidate
    remote: Candidate
    base: Endpoint
    destination: Endpoint
    state: PairState
    is_nominated: bool
    rtt: float | None
    problem: PairProblem | None
