"""Connectivity checks: build a request, judge a request, judge an answer (RFC 8445 7, RFC 8489 9.1).

A check from L to R::

    USERNAME           R's ufrag ":" L's ufrag
    PRIORITY           that of a peer-reflexive candidate of L's base
    ICE-CONTROLLING or ICE-CONTROLLED   L's tie-breaker
    USE-CANDIDATE      when L, controlling, nominates
    NOMINATION         with it, where R follows later nominations: counts up (draft-thatcher-ice-renomination 4.1)
    MESSAGE-INTEGRITY  keyed with R's password, as is every answer
    FINGERPRINT
"""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.errors import MalformedPacket
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import DropReason
from p2ptun.ice.role import Role, Stance
from p2ptun.stun.attribute import (
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    NOMINATION,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.error import Code, error_response, unknown_attribute_response
from p2ptun.stun.integrity import HMAC_SHA1, HMAC_SHA256, Integrity, has_integrity, short_term_key, verify_integrity
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    is_stun,
    success_response,
)
from p2ptun.types import Endpoint

_ROLE_ATTRIBUTES = {Role.CONTROLLING: ICE_CONTROLLING, Role.CONTROLLED: ICE_CONTROLLED}


@dataclass(frozen=True, slots=True)
class InboundCheck:
    """What an authenticated request says.

    Attributes:
        role: None when the peer told none.
        ufrag: The peer's user name fragment: it tells its generation.
        nomination: Which nomination this is; 0 when the peer doesn't count them.
    """

    priority: int
    role: Role | None
    tie_breaker: int
    use_candidate: bool
    ufrag: str
    nomination: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, and the answer; None when there is none to give."""

    reason: DropReason
    answer: bytes | None


def read_binding(data: bytes) -> Message | DropReason:
    """Decode an untrusted datagram that may be a Binding request or response; else give why it is dropped."""
    if not is_stun(data):
        return DropReason.NOT_STUN
    try:
        message = decode_message(data)
    except MalformedPacket:
        return DropReason.MALFORMED
    if message.method is not Method.BINDING:
        return DropReason.NOT_BINDING
    return DropReason.INDICATION if message.message_class is MessageClass.INDICATION else message


def encode_check(
    transaction_id: TransactionId,
    local: Credentials,
    remote: Credentials,
    stance: Stance,
    priority: int,
    nomination: int | None,
) -> bytes:
    """Build a check (RFC 8445 7.2.2). SHA-1, since ICE negotiates nothing else (RFC 8489 9.1.2).

    `nomination` is None for an ordinary check, 0 for a nomination, more for a later one.
    """
    attributes: list[AttributeValue] = [
        (USERNAME, f"{remote.ufrag}:{local.ufrag}"),
        (PRIORITY, priority),
        (_ROLE_ATTRIBUTES[stance.role], stance.tie_breaker),
    ]
    if nomination is not None:
        attributes.append((USE_CANDIDATE, True))
    if nomination:
        attributes.append((NOMINATION, nomination))
    message = Message(Method.BINDING, MessageClass.REQUEST, transaction_id, tuple(attributes))
    return encode_message(message, Integrity(HMAC_SHA1, short_term_key(remote.password)))


def read_check(request: Message, local: Credentials) -> InboundCheck | Refusal:
    """Judge a request in the order of RFC 8489 9.1.3; only an authenticated one becomes an InboundCheck.

    Refusals of unauthenticated requests are unsigned, and unsaid when they are longer than the request.
    """
    username = request.get(USERNAME)
    if not request.has_fingerprint:
        return Refusal(DropReason.NO_FINGERPRINT, None)  # RFC 8445 7.2.4; it can't be told from data
    if username is None or not has_integrity(request):
        return _refuse_unsigned(request, Code.BAD_REQUEST, DropReason.BAD_REQUEST)
    ufrag, _, peer_ufrag = username.partition(":")
    if ufrag != local.ufrag or not verify_integrity(request, short_term_key(local.password)):
        return _refuse_unsigned(request, Code.UNAUTHENTICATED, DropReason.UNAUTHENTICATED)
    if request.unknown_required:
        answer = unknown_attribute_response(request, request.unknown_required)
        return Refusal(DropReason.UNKNOWN_ATTRIBUTE, _encode_answer(request, answer, local))
    priority = request.get(PRIORITY)
    if priority is None:
        answer = error_response(request, Code.BAD_REQUEST)
        return Refusal(DropReason.BAD_REQUEST, _encode_answer(request, answer, local))
    role, tie_breaker = _read_role(request)
    nominates = request.get(USE_CANDIDATE) is not None
    return InboundCheck(priority, role, tie_breaker, nominates, peer_ufrag, request.get(NOMINATION) or 0)


def encode_success(request: Message, local: Credentials, source: Endpoint) -> bytes:
    """Answer a check: tell the peer where it came from (RFC 8445 7.3)."""
    return _encode_answer(request, success_response(request, (XOR_MAPPED_ADDRESS, source)), local)


def encode_role_conflict(request: Message, local: Credentials) -> bytes:
    """Answer 487 (RFC 8445 7.3.1.1), sealed as every answer is."""
    return _encode_answer(request, error_response(request, Code.ROLE_CONFLICT), local)


def is_authentic_answer(response: Message, remote: Credentials) -> bool:
    """Tell whether a response comes from the peer: answers carry the seal of the request's receiver."""
    return verify_integrity(response, short_term_key(remote.password))


def _encode_answer(request: Message, answer: Message, local: Credentials) -> bytes:
    """Seal an answer as its request was sealed (RFC 8489 9.1.3)."""
    algorithm = HMAC_SHA256 if HMAC_SHA256 in request.integrity else HMAC_SHA1
    return encode_message(answer, Integrity(algorithm, short_term_key(local.password)))


def _refuse_unsigned(request: Message, code: Code, reason: DropReason) -> Refusal:
    answer = encode_message(error_response(request, code))
    return Refusal(reason, answer if len(answer) <= len(request.raw) else None)


def _read_role(request: Message) -> tuple[Role | None, int]:
    for role, attribute in _ROLE_ATTRIBUTES.items():
        tie_breaker = request.get(attribute)
        if tie_breaker is not None:
            return role, tie_breaker
    return None, 0
