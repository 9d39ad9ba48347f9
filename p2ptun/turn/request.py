"""Requests to one server: signed, repeated, matched with their answers, signed anew when challenged (RFC 8489 9.2)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.stun.attribute import ERROR_CODE, XOR_PEER_ADDRESS, AttributeValue
from p2ptun.stun.credential import LongTermClient, LongTermCredential, SignedRequest, Verdict
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, new_transaction_id
from p2ptun.stun.transaction import INITIAL_RTO, RttEstimator, Transaction
from p2ptun.turn.event import DropReason
from p2ptun.types import Endpoint, RandomBytes

UNUSABLE: Final = 0
"""Stands for the code of an answer that has none, or that says what we can't understand."""


class Purpose(Enum):
    """What a request is for."""

    ALLOCATE = "allocate"
    REFRESH = "refresh"
    PROBE = "probe"  # a Refresh, too: it also tells whether the allocation is still there
    PERMIT = "permit"
    BIND = "bind"


_METHODS: Final = {
    Purpose.ALLOCATE: Method.ALLOCATE,
    Purpose.REFRESH: Method.REFRESH,
    Purpose.PROBE: Method.REFRESH,
    Purpose.PERMIT: Method.CREATE_PERMISSION,
    Purpose.BIND: Method.CHANNEL_BIND,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request in flight. `gives_up_at` ends it before its transaction would; None leaves that to it."""

    purpose: Purpose
    attributes: tuple[AttributeValue, ...]
    signed: SignedRequest
    transaction: Transaction
    gives_up_at: float | None

    @property
    def transaction_id(self) -> TransactionId:
        """What ties the answer to it."""
        return self.signed.message.transaction_id

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """The peers that it is about."""
        return self.signed.message.get_all(XOR_PEER_ADDRESS)

    def is_over(self, now: float) -> bool:
        """Tell whether nobody waits for its answer any longer."""
        return self.transaction.is_expired or (self.gives_up_at is not None and self.gives_up_at <= now)

    def next_timeout(self) -> float | None:
        """Tell when there is something to do for it."""
        return earliest((self.transaction.next_timeout(), self.gives_up_at))


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a request that was answered, and authentically so unless `is_rejected`.

    Attributes:
        code: None for a success, the error's code otherwise; UNUSABLE when the answer can't be understood.
        is_rejected: The server doesn't take our credential.
    """

    request: Request
    message: Message
    code: int | None
    is_rejected: bool = False


class Requests:
    """All requests that wait for one server's answers."""

    __slots__ = ("_authentication", "_in_flight", "_is_reliable", "_random_bytes", "_ready", "_rtt", "rtt")

    def __init__(self, credential: LongTermCredential | None, random_bytes: RandomBytes, is_reliable: bool) -> None:
        self.rtt: float | None = None
        self._authentication = LongTermClient(credential) if credential else None
        self._random_bytes = random_bytes
        self._is_reliable = is_reliable
        self._rtt = RttEstimator()
        self._in_flight: dict[TransactionId, Request] = {}
        self._ready: deque[bytes] = deque()

    @property
    def is_anonymous(self) -> bool:
        """Whether there is no credential to sign with."""
        return self._authentication is None

    @property
    def may_have_passed(self) -> bool:
        """Whether a request of ours may have been accepted: it was signed, or nobody asked for that."""
        return self._authentication is None or self._authentication.realm is not None

    def awaits(self, purpose: Purpose) -> bool:
        """Tell whether such a request is in flight."""
        return any(request.purpose is purpose for request in self._in_flight.values())

    def ask(
        self, purpose: Purpose, attributes: tuple[AttributeValue, ...], now: float, gives_up_at: float | None = None
    ) -> None:
        """Send a request."""
        transaction_id = new_transaction_id(self._random_bytes)
        message = Message(_METHODS[purpose], MessageClass.REQUEST, transaction_id, attributes)
        signed = self._authentication.sign(message) if self._authentication else SignedRequest(message, None)
        rto = self._rtt.rto(now)
        if purpose is Purpose.REFRESH:
            rto = max(rto, INITIAL_RTO)  # nobody is in a hurry, and copies far apart outlive a longer gap
        transaction = Transaction(signed.encode(), now, rto, self._is_reliable)
        request = Request(purpose, attributes, signed, transaction, gives_up_at)
        self._in_flight[transaction_id] = request
        self._pick_up(request)

    def drop(self, *purposes: Purpose) -> None:
        """Wait for such answers no longer, and repeat nothing. What is due already is still sent."""
        for request in list(self._in_flight.values()):
            if request.purpose in purposes:
                del self._in_flight[request.transaction_id]

    def receive(self, response: Message, now: float) -> Answer | DropReason | None:
        """Match a response; None when the request goes out once more, signed anew."""
        request = self._in_flight.get(response.transaction_id)
        if request is None or request.signed.message.method is not response.method:
            return DropReason.UNKNOWN_TRANSACTION
        verdict = self._judge(request, response)
        if verdict is Verdict.DISCARDED or (verdict is Verdict.VIOLATED and not self._is_reliable):
            return DropReason.UNAUTHENTICATED
        del self._in_flight[request.transaction_id]
        self._measure(request.transaction, now)
        if verdict is Verdict.RETRY:
            self.ask(request.purpose, request.attributes, now, request.gives_up_at)
            return None
        code = UNUSABLE if verdict is Verdict.VIOLATED else _code_of(response)
        return Answer(request, response, code, verdict is Verdict.REJECTED)

    def handle_timeout(self, now: float) -> list[Request]:
        """Repeat what is due; give the requests that were given up without an answer."""
        over = []
        for request in list(self._in_flight.values()):
            request.transaction.handle_timeout(now)
            if request.is_over(now):
                del self._in_flight[request.transaction_id]
                over.append(request)
            else:
                self._pick_up(request)
        return over

    def next_transmit(self) -> bytes | None:
        """Give a request to send."""
        return self._ready.popleft() if self._ready else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return earliest(request.next_timeout() for request in self._in_flight.values())

    def _judge(self, request: Request, response: Message) -> Verdict:
        if self._authentication is not None:
            return self._authentication.judge(request.signed, response)
        return Verdict.REJECTED if _code_of(response) == Code.UNAUTHENTICATED else Verdict.ACCEPTED

    def _measure(self, transaction: Transaction, now: float) -> None:
        rtt = transaction.complete(now)
        if rtt is not None:
            self.rtt = rtt
            self._rtt.record(rtt, now)

    def _pick_up(self, request: Request) -> None:
        payload = request.transaction.next_transmit()
        if payload is not None:
            self._ready.append(payload)


def _code_of(response: Message) -> int | None:
    """Give the code of an error, None for a success; an answer with attributes that we don't know is of no use."""
    if response.unknown_required:
        return UNUSABLE
    if response.message_class is MessageClass.SUCCESS:
        return None
    error = response.get(ERROR_CODE)
    return error.code if error else UNUSABLE
