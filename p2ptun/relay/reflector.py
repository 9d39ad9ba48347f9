"""Binding requests: tell clients how they look from here, and help them to learn what NAT they are behind (RFC 5780).

Nobody proves anything for a Binding, so an answer that may be larger than its request is counted by the limiter. With
PADDING the answer is filled up to the size of the request and not beyond; where RESPONSE-PORT and CHANGE-REQUEST send
an answer elsewhere, it still goes to the address that asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2ptun.stun.attribute import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import Change
from p2ptun.stun.error import Code, error_response, unknown_attribute_response
from p2ptun.stun.message import Message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit, Transport

_NOTHING: Final = Change(0)
_UDP_ONLY: Final = (CHANGE_REQUEST, PADDING, RESPONSE_PORT)
_ATTRIBUTE_HEADER: Final = 4  # bytes


class Reflector:
    """Answers Binding requests on the listeners that it was told of."""

    __slots__ = ("_alternates",)

    def __init__(self) -> None:
        self._alternates: dict[Endpoint, Endpoint | None] = {}

    def __contains__(self, local: Endpoint) -> bool:
        return local in self._alternates

    def add(self, local: Endpoint, alternate: Endpoint | None) -> None:
        """Add a listener; see `Server.add_listener`."""
        self._alternates[local] = alternate

    def answer(self, request: Message, client: Endpoint, local: Endpoint) -> Transmit:
        """Answer a Binding request."""
        unknown = request.unknown_required + self._not_offered(request, client, local)
        if unknown:
            return self._encode(
                unknown_attribute_response(request, tuple(dict.fromkeys(unknown))), request, local, client
            )
        port, padding = request.get(RESPONSE_PORT), request.get(PADDING)
        if port == 0 or (port is not None and padding is not None):  # RFC 5780 7.5: never both
            return self._encode(error_response(request, Code.BAD_REQUEST), request, local, client)
        origin = self._origin(local, request.get(CHANGE_REQUEST) or _NOTHING) or local
        destination = client if port is None else replace(client, port=port)
        attributes: list[AttributeValue] = [(XOR_MAPPED_ADDRESS, client)]
        if (alternate := self._alternates[local]) is not None:
            attributes += [(RESPONSE_ORIGIN, origin), (OTHER_ADDRESS, alternate)]
        transmit = self._encode(success_response(request, *attributes), request, origin, destination)
        if padding is None:
            return transmit
        room = len(request.raw) - len(transmit.payload) - _ATTRIBUTE_HEADER
        attributes.append((PADDING, bytes(max(0, min(room, len(padding)) & ~3))))
        return self._encode(success_response(request, *attributes), request, origin, destination)

    def _not_offered(self, request: Message, client: Endpoint, local: Endpoint) -> tuple[int, ...]:
        """List the attributes of RFC 5780 that can't be followed here; a stream follows none."""
        if client.transport is not Transport.UDP:
            return tuple(attribute.number for attribute, _ in request.attributes if attribute in _UDP_ONLY)
        change = request.get(CHANGE_REQUEST)
        if change is None or self._origin(local, change) is not None:
            return ()
        return (CHANGE_REQUEST.number,)

    def _origin(self, local: Endpoint, change: Change) -> Endpoint | None:
        """Give the listener from which an answer leaves; None when there is no such one (RFC 5780 7.2)."""
        alternate = self._alternates[local]
        if alternate is None:
            return None
        address = alternate.address if Change.ADDRESS in change else local.address
        port = alternate.port if Change.PORT in change else local.port
        origin = Endpoint(address, port, local.transport)
        return origin if origin in self._alternates else None

    @staticmethod
    def _encode(response: Message, request: Message, origin: Endpoint, destination: Endpoint) -> Transmit:
        return Transmit(encode_message(response, fingerprint=request.has_fingerprint), origin, destination)
