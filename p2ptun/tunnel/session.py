"""The session with one peer: when to shake hands, which keys to use, what to say inside."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto

from p2ptun.aead.algorithm import Algorithm
from p2ptun.deadlines import Deadlines
from p2ptun.errors import MalformedPacket, RemoteProtocolError
from p2ptun.tunnel.admission import Gate
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.control import (
    Acknowledgement,
    Close,
    CloseReason,
    IceDescription,
    Keepalive,
    KnownMessage,
    Unknown,
    decode_control,
    encode_control,
)
from p2ptun.tunnel.cookie import Stamp
from p2ptun.tunnel.event import (
    ControlReceived,
    PeerClosed,
    Refusal,
    SessionEstablished,
    SessionEvent,
    SessionExpired,
    SessionFailed,
    SessionFailure,
    SessionRekeyed,
)
from p2ptun.tunnel.handshake import Birth, ResponderHandshake
from p2ptun.tunnel.hello import choose
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.initiator import Initiator
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.keyring import Keyring
from p2ptun.tunnel.timing import (
    CONFIRM_INTERVAL,
    CONFIRM_TRIES,
    PASSIVE_KEEPALIVE_DELAY,
    REKEY_AFTER_MESSAGES,
    SILENCE_TIMEOUT,
    Timing,
)
from p2ptun.tunnel.wire import (
    CookieReply,
    FrameKind,
    Initiation,
    Response,
    decode_cookie_reply,
    decode_initiation,
    decode_response,
    encode_cookie_reply,
)
from p2ptun.types import RandomBytes

logger = logging.getLogger(__name__)


class Timer(Enum):
    """What a session waits for."""

    RETRY = auto()  # the answer to our initiation
    CONFIRM = auto()  # the first datagram under keys that we initiated
    KEEPALIVE = auto()  # something of ours to send, after the peer's data
    SILENCE = auto()  # anything authentic, after our data
    EXPIRY = auto()  # a keypair growing too old


class Session:
    """The tunnel with one peer, apart from the way to it: a machine that knows no addresses.

    Handshake datagrams (0xD1 to 0xD3) go through `receive_datagram` and `next_transmit`. Data (0xD4) is the data
    plane's: it takes `sending` to seal and `receiving(index)` to open, and reports with `record_sent` and
    `record_received`; opened control messages come back by `receive_control`. What `next_transmit` returns may be any
    of the four types and is ready to be sent over whatever path there is.

    Keys change hands as in WireGuard: the responder seals nothing under new keys until something came under them; the
    initiator therefore sends a keepalive at once, and repeats it until it is answered. Old keys open as long as they
    live, so no rekey loses a datagram.

    Both sides may initiate at the same time. Then that of the greater static public key counts, unless it is only just
    out: that side doesn't answer the other's but sends its own again at once, in case it was lost; the other side
    answers, and lets its own lapse only when new keys prove themselves: what came may be a replay (`admission`).
    """

    def __init__(
        self,
        config: SessionConfig,
        random_bytes: RandomBytes,
        claim_index: Callable[[], SessionIndex],
        release_index: Callable[[SessionIndex], None] = lambda index: None,
    ) -> None:
        self._config = config
        self._timing = Timing(config.rekey_interval)
        self._random_bytes = random_bytes
        self._claim_index = claim_index
        self._keyring = Keyring(self._timing, release_index)
        self._gate = Gate(config.static.public, random_bytes)
        self._stamp = Stamp(config.remote_static)
        self._initiator = Initiator(config, self._stamp, random_bytes, claim_index, release_index)
        self._confirm_tries = 0
        self._is_closed = False
        self._deadlines: Deadlines[Timer] = Deadlines()
        self._transmits: deque[bytes] = deque()
        self._events: deque[SessionEvent] = deque()
        self.refusals: Counter[Refusal] = Counter()

    # Getters

    @property
    def sending(self) -> Keypair | None:
        """The keypair that may seal now; None while there is none: then `initiate`."""
        current = self._keyring.current
        return current if current is not None and current.may_seal else None

    @property
    def algorithm(self) -> Algorithm | None:
        """The AEAD in use."""
        current = self._keyring.current
        return None if current is None else current.send_key.algorithm

    @property
    def established_at(self) -> float | None:
        """When the keys in use were made, monotonic seconds."""
        current = self._keyring.current
        return None if current is None else current.created_at

    @property
    def is_handshaking(self) -> bool:
        """Whether an attempt of ours is under way: an initiation waits for its answer, or for the time to retry."""
        return self._deadlines.at(Timer.RETRY) is not None

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` is about."""
        return self._deadlines.next_timer()

    def receiving(self, index: int) -> Keypair | None:
        """Return the keypair that opens datagrams with this session index."""
        return self._keyring.find(index)

    # Commands

    def initiate(self, now: float, round_trip: float | None = None) -> None:
        """Begin a handshake, unless one is under way."""
        if self._is_closed or self.is_handshaking:
            return
        self._initiator.begin(self._keyring.newest_binder, now, round_trip)
        self._send_initiation(now)

    def repeat(self, now: float) -> None:
        """Send the initiation that waits for its answer again, over another path. Harmless when there is none."""
        if self._initiator.is_waiting:
            self._transmits.append(self._initiator.repeat(self._keyring.newest_binder, now))

    def send_control(self, message: KnownMessage, now: float) -> bool:
        """Seal a control message; False when there are no keys to do so."""
        keypair = self.sending
        if keypair is None:
            return False
        self._deadlines.cancel(Timer.KEEPALIVE)
        self._transmits.append(keypair.seal(encode_control(message), FrameKind.CONTROL))
        return True

    def close(self, reason: CloseReason, now: float) -> None:
        """Take leave of the peer and wipe every key. Nothing but draining makes sense afterwards."""
        self.send_control(Close(reason), now)
        self._is_closed = True
        self._forget()

    def record_sent(self, count: int, now: float) -> None:
        """Take note that the data plane sealed `count` datagrams with IP packets."""
        if self._is_closed or not count:
            return
        self._deadlines.cancel(Timer.KEEPALIVE)
        if self._deadlines.at(Timer.SILENCE) is None:
            self._deadlines.set(Timer.SILENCE, now + SILENCE_TIMEOUT)
        self._rekey_if_due(now)

    def record_received(self, keypair: Keypair, now: float) -> None:
        """Take note that the data plane opened datagrams with `keypair`: they were authentic and no replays."""
        if keypair.is_wiped:
            return
        keypair.is_proven = True
        self._deadlines.cancel(Timer.SILENCE)
        if self._keyring.has_pending(keypair):
            self._confirm(keypair, now)
        if keypair.has_unanswered_data:
            keypair.has_unanswered_data = False
            self._deadlines.set_earlier(Timer.KEEPALIVE, now + PASSIVE_KEEPALIVE_DELAY)
            self._rekey_if_due(now)

    # Inputs

    def receive_datagram(self, data: bytes, now: float, source: bytes = b"") -> bool:
        """Take a datagram of type 0xD1, 0xD2 or 0xD3.

        `source` is an opaque token of where it came from; without it no cookies are sent under load. Returns True when
        the datagram proves that the peer is there now: an answer to our initiation, or an initiation that is bound to
        our session. Anything else is dropped and counted, or answered without being a proof.
        """
        if self._is_closed:
            return self._refuse(Refusal.CLOSED)
        try:
            match data[:1]:
                case b"\xd1":
                    return self._receive_initiation(decode_initiation(data), source, now)
                case b"\xd2":
                    return self._receive_response(decode_response(data), now)
                case b"\xd3":
                    return self._receive_cookie_reply(decode_cookie_reply(data), now)
                case _:
                    return self._refuse(Refusal.MALFORMED)
        except MalformedPacket:
            return self._refuse(Refusal.MALFORMED)
        except RemoteProtocolError:
            return self._refuse(Refusal.UNAUTHENTIC)

    def receive_control(self, payload: bytes, now: float) -> None:
        """Take the payload of a CONTROL frame that the data plane opened."""
        if self._is_closed:
            self._refuse(Refusal.CLOSED)
            return
        try:
            message = decode_control(payload)
        except MalformedPacket:
            self._refuse(Refusal.MALFORMED)
            return
        match message:
            case Close(reason):
                self._forget()
                self._events.append(PeerClosed(reason))
            case IceDescription() | Acknowledgement():
                self._events.append(ControlReceived(message))
            case Unknown():
                self._refuse(Refusal.UNKNOWN_CONTROL)
            case _:
                pass  # a Keepalive has said everything by being authentic

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        for timer in self._deadlines.pop_expired(now):
            match timer:
                case Timer.RETRY:
                    self._retry(now)
                case Timer.CONFIRM:
                    self._repeat_confirmation(now)
                case Timer.KEEPALIVE:
                    self.send_control(Keepalive(), now)
                case Timer.SILENCE:
                    self.initiate(now)
                case _:  # Timer.EXPIRY
                    self._expire(now)

    # Outputs

    def next_transmit(self) -> bytes | None:
        """Return the next datagram to send to the peer."""
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> SessionEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        return self._deadlines.next()

    # The initiator's side

    def _rekey_if_due(self, now: float) -> None:
        current = self._keyring.current
        if current is not None and (now >= current.rekey_at or current.next_counter >= REKEY_AFTER_MESSAGES):
            self.initiate(now)

    def _send_initiation(self, now: float) -> None:
        self._transmits.append(self._initiator.datagram)
        self._deadlines.set(Timer.RETRY, self._initiator.retry_at(now, self._chance()))

    def _retry(self, now: float) -> None:
        if self._initiator.retry(self._keyring.newest_binder, now):
            self._send_initiation(now)
        else:
            self._events.append(SessionFailed(self._initiator.failure))

    def _receive_response(self, response: Response, now: float) -> bool:
        if not self._initiator.is_answered_by(response):
            return self._refuse(Refusal.UNEXPECTED)
        if refusal := self._gate.inspect_response(response, now):
            return self._refuse(refusal)
        birth = Birth(now, now + self._timing.rekey_after(True, self._chance()))
        keypair = self._initiator.read_response(response, birth)
        self._deadlines.cancel(Timer.RETRY)
        self._adopt(self._keyring.rotate, keypair, now)
        self._confirm_tries = 0
        self._deadlines.set(Timer.CONFIRM, now + CONFIRM_INTERVAL)
        return True

    def _repeat_confirmation(self, now: float) -> None:
        """Say again that the new keys work: without it the responder has nothing to seal with."""
        current = self._keyring.current
        if current is None or current.is_proven or self._confirm_tries >= CONFIRM_TRIES:
            return
        self._confirm_tries += 1
        self.send_control(Keepalive(), now)
        self._deadlines.set(Timer.CONFIRM, now + CONFIRM_INTERVAL)

    def _receive_cookie_reply(self, reply: CookieReply, now: float) -> bool:
        """Keep the cookie for the next try. It proves nothing: whoever saw our initiation could have sent it."""
        if not self._initiator.is_answered_by(reply):
            return self._refuse(Refusal.UNEXPECTED)
        self._stamp.accept(reply, now)
        return False

    def _end_attempt(self) -> None:
        self._initiator.lapse()
        self._deadlines.cancel(Timer.RETRY)

    # The responder's side

    def _receive_initiation(self, initiation: Initiation, source: bytes, now: float) -> bool:
        verdict = self._gate.inspect_initiation(initiation, source, now)
        if isinstance(verdict, CookieReply):
            self._transmits.append(encode_cookie_reply(verdict))
            return self._refuse(Refusal.OVERLOADED)
        if verdict is not None:
            return self._refuse(verdict)
        handshake = ResponderHandshake(self._config, initiation, self._random_bytes)
        is_bound = self._keyring.knows_binder(handshake.offer.binder)
        if not self._gate.admit(initiation, is_bound, now):
            self._refuse(Refusal.OVERLOADED)
        elif self._initiator.insists(now):
            self._refuse(Refusal.COLLISION)
            self._transmits.append(self._initiator.datagram)
        else:
            self._respond(handshake, is_bound, now)
        handshake.wipe()
        return is_bound

    def _respond(self, handshake: ResponderHandshake, is_bound: bool, now: float) -> None:
        algorithm = choose(handshake.offer, self._config.algorithms)
        if algorithm is None:
            self._refuse(Refusal.NO_COMMON_ALGORITHM)
            self._events.append(SessionFailed(SessionFailure.NO_COMMON_ALGORITHM))
            return
        index = self._claim_index()
        self._transmits.append(self._stamp.response(handshake.respond(index, algorithm)))
        birth = Birth(now, now + self._timing.rekey_after(False, self._chance()), is_bound)
        self._keyring.add_pending(handshake.keypair(index, algorithm, birth))
        self._await_expiry()

    def _confirm(self, keypair: Keypair, now: float) -> None:
        """Use a pending keypair from now on; say so, that the initiator stops repeating itself."""
        self._end_attempt()
        self._adopt(self._keyring.confirm, keypair, now)

    # Both sides

    def _adopt(self, install: Callable[[Keypair], None], keypair: Keypair, now: float) -> None:
        """Make `keypair` current and speak under it at once."""
        had_keys = self._keyring.current is not None
        install(keypair)
        self._await_expiry()
        algorithm = keypair.send_key.algorithm
        self._events.append(SessionRekeyed(algorithm) if had_keys else SessionEstablished(algorithm))
        self.send_control(Keepalive(), now)

    def _expire(self, now: float) -> None:
        if self._keyring.expire(now):
            self._events.append(SessionExpired())
        self._await_expiry()

    def _await_expiry(self) -> None:
        at = self._keyring.next_change_at
        if at is None:
            self._deadlines.cancel(Timer.EXPIRY)
        else:
            self._deadlines.set(Timer.EXPIRY, at)

    def _forget(self) -> None:
        self._end_attempt()
        self._keyring.clear()
        self._deadlines.clear()

    def _refuse(self, reason: Refusal) -> bool:
        self.refusals[reason] += 1
        logger.debug("session dropped a message: %s", reason.value)
        return False

    def _chance(self) -> float:
        """Draw a number in [0, 1)."""
        return int.from_bytes(self._random_bytes(2), "big") / 65536
