"""The Binding usage: ask a server how our address looks from there, and answer such a question (RFC 8489 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptun.errors import MalformedPacket
from p2ptun.stun.attribute import (
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    CHANGE_REQUEST,
    ERROR_CODE,
    MAPPED_ADDRESS,
    PADDING,
    RESPONSE_PORT,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.error import Code, unknown_attribute_response
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.types import Endpoint

_NOT_SERVED: Final = (CHANGE_REQUEST, PADDING, RESPONSE_PORT)
"""Comprehension-required attributes of RFC 5780: we can read them, but a plain Binding server doesn't follow them."""


@dataclass(frozen=True, slots=True)
class Reflexive:
    """Our address as the server saw it."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Redirected:
    """300: ask this server instead (RFC 8489 10). Believe it only when it is sealed; mind loops.

    Over TLS the certificate must name `domain`, or the first server's name when it is None.
    """

    server: Endpoint
    domain: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Any other error. `unknown_attributes` are those that a 420 names."""

    code: int
    reason: str
    unknown_attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """A response that doesn't say what it has to: treat the transaction as failed (RFC 8489 6.3.3, 6.3.4)."""

    problem: str


BindingResult: TypeAlias = Reflexive | Redirected | Rejected | Unusable


def binding_request(transaction_id: TransactionId, *attributes: AttributeValue) -> Message:
    """Make a Binding request."""
    return Message(Method.BINDING, MessageClass.REQUEST, transaction_id, attributes)


def read_binding_response(response: Message) -> BindingResult:
    """Tell what a response to a Binding request says. Match its transaction and verify its seal, if any, before."""
    if response.method is not Method.BINDING or not response.is_response:
        return Unusable("not a Binding response")
    if response.unknown_required:
        listed = ", ".join(f"0x{number:04X}" for number in response.unknown_required)
        return Unusable(f"attributes that we don't know: {listed}")
    if response.message_class is MessageClass.ERROR:
        return _read_error(response)
    endpoint = response.get(XOR_MAPPED_ADDRESS) or response.get(MAPPED_ADDRESS)
    return Reflexive(endpoint) if endpoint else Unusable("a success without an address")


def answer_binding(data: bytes, source: Endpoint, *attributes: AttributeValue) -> bytes | None:
    """Answer the datagram `data` from `source` as a server without authentication; None where nothing is due.

    `attributes` go into a success besides XOR-MAPPED-ADDRESS, SOFTWARE or RESPONSE-ORIGIN for instance. A request with
    a FINGERPRINT gets one back; a seal can't be checked here and is ignored.
    """
    try:
        request = decode_message(data)
    except MalformedPacket:
        return None
    if request.method is not Method.BINDING or request.message_class is not MessageClass.REQUEST:
        return None
    unserved = tuple(attribute.number for attribute, _ in request.attributes if attribute in _NOT_SERVED)
    if request.unknown_required or unserved:
        response = unknown_attribute_response(request, tuple(dict.fromkeys(request.unknown_required + unserved)))
    else:
        response = success_response(request, (XOR_MAPPED_ADDRESS, source), *attributes)
    return encode_message(response, fingerprint=request.has_fingerprint)


def _read_error(response: Message) -> BindingResult:
    error = response.get(ERROR_CODE)
    if error is None:
        return Unusable("an error without ERROR-CODE")
    server = response.get(ALTERNATE_SERVER)
    if error.code == Code.TRY_ALTERNATE and server is not None:
        return Redirected(server, response.get(ALTERNATE_DOMAIN))
    return Rejected(error.code, error.reason, response.get(UNKNOWN_ATTRIBUTES) or ())
