"""Short-term credentials (RFC 8489 9.1): a user name and a password that both sides got some other way.

ICE has them too, but knows beforehand that it uses MESSAGE-INTEGRITY alone and judges messages by rules of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.credential import Authenticated, Authentication, Refused, SignedRequest, Verdict
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    Integrity,
    has_integrity,
    short_term_key,
    verify_integrity,
)
from p2ptun.stun.message import Message, MessageClass
from p2ptun.stun.precis import opaque_string

_UNDECIDED: Final = HMAC_SHA1 | HMAC_SHA256


class ShortTermClient:
    """The client's side for one server: offers both seals and keeps to the one that comes back (9.1.2, 9.1.5)."""

    __slots__ = ("_integrity", "_username")

    def __init__(self, username: str, password: str) -> None:
        """Raises ConfigError when one of the two isn't an OpaqueString."""
        self._username = opaque_string(username, "user name")
        self._integrity = Integrity(_UNDECIDED, short_term_key(password))

    def sign(self, request: Message) -> SignedRequest:
        """Add USERNAME to a request or an indication, and say how to seal it."""
        attributes = (*request.attributes, (USERNAME, self._username))
        return SignedRequest(replace(request, attributes=attributes), self._integrity)

    def judge(self, signed: SignedRequest, response: Message) -> Verdict:
        """Tell what the response to `signed` means (9.1.4): ACCEPTED or VIOLATED."""
        integrity = signed.integrity or self._integrity
        if not verify_integrity(response, integrity.key, integrity.algorithm):
            return Verdict.VIOLATED
        usable = response.integrity & integrity.algorithm
        self._integrity = replace(integrity, algorithm=HMAC_SHA256 if HMAC_SHA256 in usable else HMAC_SHA1)
        return Verdict.ACCEPTED


def authenticate_short_term(message: Message, find_password: Callable[[str], str | None]) -> Authentication | None:
    """Tell who sent a request or an indication, or how to refuse it; None where it is to be dropped (9.1.3)."""
    username = message.get(USERNAME)
    if username is None or not has_integrity(message):
        return _refuse(message, Code.BAD_REQUEST)
    password = find_password(username)
    if password is None:
        return _refuse(message, Code.UNAUTHENTICATED)
    key = short_term_key(password)
    if not verify_integrity(message, key):
        return _refuse(message, Code.UNAUTHENTICATED)
    chosen = HMAC_SHA256 if HMAC_SHA256 in message.integrity else HMAC_SHA1
    return Authenticated(username, Integrity(chosen, key))


def _refuse(message: Message, code: Code) -> Refused | None:
    if message.message_class is MessageClass.REQUEST:
        return Refused(error_response(message, code))
    return None
