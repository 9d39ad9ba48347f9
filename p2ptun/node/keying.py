"""When one peer's session shakes hands. How it does so is the session's own business."""

from __future__ import annotations

from enum import Enum, auto

from p2ptun.deadlines import Deadlines
from p2ptun.tunnel.session import Session

HANDSHAKE_TIMEOUT = 30.0
"""A path but never a session after so long: the keys don't fit, and no further try will help.

It is eight tries of each side: even where 30 % get lost each way, no pair of 400 in the simulator is told so wrongly.
"""


class Timer(Enum):
    """What keying waits for."""

    HANDSHAKE = auto()  # the first keys


class Keying:
    """Has the session make keys as soon as that can succeed: whichever side has a path first initiates.

    Initiations are answered before: while a person carries our description over, the other side has no key of ours, and
    ours would meet nobody.

    Attributes:
        is_heard: Whether the other side has checked us, and so has our description.
        had_keys: Whether there ever were any. They prove that the two sides fit together: from then on no handshake
            that fails is final.
        doubts_keys: Whether the other side may have forgotten keys that look young here: while a machine sleeps its
            clock stands still.
    """

    def __init__(self) -> None:
        self.is_heard = False
        self.had_keys = False
        self.doubts_keys = False
        self._deadlines: Deadlines[Timer] = Deadlines()

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` is about."""
        return self._deadlines.next_timer()

    def begin(self, session: Session, is_answering: bool, now: float, round_trip: float | None = None) -> None:
        """Make keys over a new path, unless there are some or an answer of ours (`is_answering`) brings them."""
        if not self.is_heard:
            return
        session.repeat(now)
        if self.doubts_keys or (session.sending is None and not is_answering):
            session.initiate(now, round_trip)
        self.doubts_keys = False
        if not self.had_keys and self._deadlines.at(Timer.HANDSHAKE) is None:
            self._deadlines.set(Timer.HANDSHAKE, now + HANDSHAKE_TIMEOUT)

    def wake(self, session: Session, now: float) -> None:
        """Make keys for a packet that waits for them."""
        if self.is_heard and session.sending is None:
            session.initiate(now)

    def succeed(self) -> None:
        """Know that there are keys."""
        self.had_keys = True
        self.rest()

    def rest(self) -> None:
        """Wait for nothing: there is no path, or it is over."""
        self._deadlines.clear()

    def handle_timeout(self, now: float) -> bool:
        """Do what is due at `now`; tell whether no first keys came for too long."""
        return bool(self._deadlines.pop_expired(now))

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        return self._deadlines.next()
