"""The initiator's side of handshakes: one attempt at a time, over all its retries."""

from __future__ import annotations

from collections.abc import Callable

from p2ptun.errors import AuthenticationFailed, RemoteProtocolError
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.cookie import Stamp
from p2ptun.tunnel.event import SessionFailure
from p2ptun.tunnel.handshake import Birth, InitiatorHandshake
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import (
    ATTEMPT_TIMEOUT,
    FIRST_RETRY_INTERVAL,
    HEAD_START,
    REPEAT_INTERVAL,
    RETRY_INTERVAL,
    RETRY_JITTER,
)
from p2ptun.tunnel.wire import CookieReply, Response
from p2ptun.types import RandomBytes


class Initiator:
    """Makes initiations and reads what answers them.

    Every try is a new handshake under a new index, by which a late response to an earlier one is told.
    """

    def __init__(
        self,
        config: SessionConfig,
        stamp: Stamp,
        random_bytes: RandomBytes,
        claim_index: Callable[[], SessionIndex],
        release_index: Callable[[SessionIndex], None],
    ) -> None:
        self._config = config
        self._stamp = stamp
        self._random_bytes = random_bytes
        self._claim_index = claim_index
        self._release_index = release_index
        self._handshake: InitiatorHandshake | None = None
        self._began_at = self._made_at = self._round_trip = 0.0
        self._retry_interval = FIRST_RETRY_INTERVAL
        self._was_refused = False
        self.datagram = b""

    @property
    def is_waiting(self) -> bool:
        """Whether an initiation waits for its answer; `datagram` is that initiation."""
        return self._handshake is not None

    @property
    def failure(self) -> SessionFailure:
        """What to tell people when the attempt is over. A forged answer can make this wrong, and nothing else."""
        return SessionFailure.UNAUTHENTIC_ANSWER if self._was_refused else SessionFailure.NO_ANSWER

    def insists(self, now: float) -> bool:
        """Tell whether our initiation goes before one of the peer's that has just come: that of the greater key does.

        One that we sent a moment ago gives way, for the peer's is half a round trip nearer to its end. That is the rule
        where the check that makes our path valid and the peer's initiation come one right behind the other.
        """
        if not self.is_waiting or self._config.static.public < self._config.remote_static:
            return False
        if now < self._made_at + HEAD_START:
            self.lapse()
        return self.is_waiting

    def begin(self, binder: bytes, now: float, round_trip: float | None = None) -> None:
        """Make the first initiation of an attempt; no retry comes before two round trips, if one is known."""
        self._began_at = now
        self._round_trip = round_trip or self._round_trip
        self._retry_interval = max(FIRST_RETRY_INTERVAL, 2 * self._round_trip)
        self._was_refused = False
        self._make(binder, now)

    def retry(self, binder: bytes, now: float) -> bool:
        """Make another initiation; False when 90 s are over and the attempt with them."""
        self.lapse()
        if now >= self._began_at + ATTEMPT_TIMEOUT:
            return False
        longest = max(RETRY_INTERVAL, 2 * self._round_trip)
        self._retry_interval = min(2 * self._retry_interval, longest)
        self._make(binder, now)
        return True

    def repeat(self, binder: bytes, now: float) -> bytes:
        """Return the initiation that waits, to be sent over another path; a new one when it has waited long.

        If a young one has arrived already, its answer is on its way, and the second copy is dropped as a replay. An
        answer to an old one may be lost.
        """
        if now >= self._made_at + REPEAT_INTERVAL:
            self.lapse()
            self._make(binder, now)
        return self.datagram

    def retry_at(self, now: float, chance: float) -> float:
        """Return when to call `retry` for an initiation sent `now`; `chance` in [0, 1) spreads it."""
        return min(now + self._retry_interval + chance * RETRY_JITTER, self._began_at + ATTEMPT_TIMEOUT)

    def lapse(self) -> None:
        """Forget our initiation. Harmless when there is none."""
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.wipe()
            self._release_index(handshake.index)

    def is_answered_by(self, message: Response | CookieReply) -> bool:
        """Tell whether `message` claims to answer our newest initiation."""
        return self._handshake is not None and message.receiver == self._handshake.index

    def read_response(self, response: Response, birth: Birth) -> Keypair:
        """Turn a response to our initiation into keys; the index lives on in them.

        Raises:
            AuthenticationFailed, MalformedPacket: as `InitiatorHandshake.read_response`; the attempt goes on.
        """
        handshake = self._handshake
        if handshake is None:
            raise AuthenticationFailed("a response that nobody asked for")
        try:
            choice = handshake.read_response(response)
        except RemoteProtocolError:
            self._was_refused = True
            raise
        self._handshake = None
        return handshake.keypair(choice, birth)

    def _make(self, binder: bytes, now: float) -> None:
        self._made_at = now
        self._handshake = InitiatorHandshake(self._config, self._claim_index(), binder, self._random_bytes)
        self.datagram = self._stamp.initiation(self._handshake.body, now)
