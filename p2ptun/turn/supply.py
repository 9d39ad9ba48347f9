"""A server's credential, and when to ask for the next one."""

from __future__ import annotations

from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.config import PoolConfig


class Supply:
    """The credential in use. One that expires comes from somebody who can make another.

    Attributes:
        wanted_at: When to ask for the next one; None when this one is for ever.
    """

    __slots__ = ("_asked_at", "_config", "credential", "wanted_at")

    def __init__(self, config: PoolConfig) -> None:
        self.credential: LongTermCredential | None = None
        self.wanted_at: float | None = None
        self._config = config
        self._asked_at: float | None = None

    def set(self, credential: LongTermCredential | None, expires_at: float | None, now: float) -> None:
        """Use this one from now on. The next is wanted some time before it expires, half way if it is short-lived."""
        self.credential = credential
        self.wanted_at = expires_at
        if expires_at is not None:
            left = expires_at - now
            self.wanted_at = self._not_before(now + max(left - self._config.credential_margin, left / 2))

    def want(self, now: float) -> None:
        """Ask for another one soon: the server doesn't like this one."""
        if self.wanted_at is not None:
            self.wanted_at = min(self.wanted_at, self._not_before(now))

    def take_wanted(self, now: float) -> bool:
        """Tell whether to ask now; if nobody answers, it is asked again and again."""
        if self.wanted_at is None or self.wanted_at > now:
            return False
        self._asked_at = now
        self.wanted_at = now + self._config.credential_interval
        return True

    def _not_before(self, at: float) -> float:
        """Put off what would be asked too soon after the last time: who makes them may make wrong ones, at once."""
        return at if self._asked_at is None else max(at, self._asked_at + self._config.credential_interval)
