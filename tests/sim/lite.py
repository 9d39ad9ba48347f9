"""An ICE-lite agent (RFC 8445 2.5) written from the RFC alone: on a public address it only answers checks.

It shares the STUN codec with the product and nothing of its ICE, so that a rule that is misread there isn't here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from p2ptun.stun.attribute import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import ErrorCode
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, has_integrity, short_term_key, verify_integrity
from p2ptun.stun.message import Message, MessageClass, Method, decode_message, encode_message
from p2ptun.types import Endpoint, Transmit


@dataclass(eq=False)
class LitePeer:
    """A host of the simulated network.

    Attributes:
        remote_ufrag: The other side's; checks that name another one aren't ours to answer.
        checked: What was checked: our socket and where the check came from, with how often.
        nominated: The nominated pairs, in the order of their nomination: data goes over the last.
        refused: How many requests got which error.
        is_dead: Whether it answers nothing any more.
    """

    sockets: list[Endpoint]
    ufrag: str = "lite"
    password: str = "lite/password/0123456789"  # noqa: S105 (a test's)
    remote_ufrag: str = ""
    checked: Counter[tuple[Endpoint, Endpoint]] = field(default_factory=Counter)
    nominated: list[tuple[Endpoint, Endpoint]] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    is_dead: bool = False
    outbox: list[Transmit] = field(default_factory=list)

    @property
    def sdp_candidates(self) -> list[str]:
        """Its host candidates: a lite agent has no others (RFC 8445 5.2)."""
        return [
            f"candidate:{number} 1 UDP {2130706431 - 256 * number} {socket.address} {socket.port} typ host"
            for number, socket in enumerate(self.sockets)
        ]

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Answer a check as RFC 8445 7.3 has it for lite agents: no triggered checks, no check list."""
        request = decode_message(data)
        if self.is_dead or request.method is not Method.BINDING or request.message_class is not MessageClass.REQUEST:
            return
        code = self._judge(request)
        if code:
            self.refused[code] += 1
            error = (ERROR_CODE, ErrorCode(code, "refused"))
            self._answer(request, MessageClass.ERROR, error, local, source, is_sealed=code == 487)
            return
        self._answer(request, MessageClass.SUCCESS, (XOR_MAPPED_ADDRESS, source), local, source, is_sealed=True)
        self.checked[local, source] += 1
        if request.get(USE_CANDIDATE) and (local, source) not in self.nominated[-1:]:
            self.nominated.append((local, source))  # RFC 8445 7.3.2

    def handle_timeout(self, now: float) -> None:
        """Do nothing: a lite agent has no timers."""

    def next_transmit(self) -> Transmit | None:
        return self.outbox.pop(0) if self.outbox else None

    def next_timeout(self) -> float | None:
        return None

    def _judge(self, request: Message) -> int:
        """Give the code of the error that a request deserves; 0 when it deserves none."""
        username = request.get(USERNAME)
        if username is None or not has_integrity(request) or request.get(PRIORITY) is None:
            return 400
        if username != f"{self.ufrag}:{self.remote_ufrag}" or not verify_integrity(request, self._key):
            return 401
        is_conflict = request.get(ICE_CONTROLLED) is not None or request.get(ICE_CONTROLLING) is None
        return 487 if is_conflict else 0  # a lite agent is the controlled one for ever (RFC 8445 6.1.1)

    @property
    def _key(self) -> bytes:
        return short_term_key(self.password)

    def _answer(
        self,
        request: Message,
        message_class: MessageClass,
        attribute: AttributeValue,
        local: Endpoint,
        source: Endpoint,
        *,
        is_sealed: bool,
    ) -> None:
        answer = Message(Method.BINDING, message_class, request.transaction_id, (attribute,))
        integrity = Integrity(HMAC_SHA1, self._key) if is_sealed else None
        self.outbox.append(Transmit(encode_message(answer, integrity), local, source))
