"""The two roles, and what happens when both sides claim the same (RFC 8445 6.1.1, 7.2.5.1 and 7.3.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.types import RandomBytes

TIE_BREAKER_BYTES = 8


class Role(Enum):
    """Who nominates."""

    CONTROLLING = "controlling"
    CONTROLLED = "controlled"

    @property
    def opposite(self) -> Role:
        """The role that the other side should have."""
        return Role.CONTROLLED if self is Role.CONTROLLING else Role.CONTROLLING


class Resolution(Enum):
    """What to do about the role in a request."""

    AGREE = "agree"  # no conflict
    REJECT = "reject"  # we keep our role: answer 487
    SWITCH = "switch"  # the other side keeps its role; the request is answered as if nothing had happened


@dataclass(slots=True)
class Stance:
    """Our role at the moment, and the number that decides when the other side claims it too."""

    role: Role
    tie_breaker: int

    def resolve(self, their_role: Role | None, their_tie_breaker: int) -> Resolution:
        """Compare a request with our role (RFC 8445 7.3.1.1).

        The larger tie-breaker ends up controlling; we win a draw when we are controlling and lose it otherwise, by
        switching: both sides apply this, whichever of them asks first. A request without a role (a peer older than
        ICE's roles) conflicts with nothing.
        """
        if their_role is not self.role:
            return Resolution.AGREE
        we_win = self.tie_breaker >= their_tie_breaker
        keeps_role = we_win if self.role is Role.CONTROLLING else not we_win
        return Resolution.REJECT if keeps_role else Resolution.SWITCH

    def switch(self) -> None:
        """Take the other role."""
        self.role = self.role.opposite

    def lose(self, random_bytes: RandomBytes) -> None:
        """Take the other role because of a 487, with a new tie-breaker (RFC 8445 7.2.5.1)."""
        self.switch()
        self.tie_breaker = int.from_bytes(random_bytes(TIE_BREAKER_BYTES), "big")
