"""Error codes with their reasons, and error responses (RFC 8489 14.8, RFC 8445, RFC 8656, RFC 6062, RFC 8016)."""

from __future__ import annotations

from enum import IntEnum

from p2ptun.stun.attribute import ERROR_CODE, UNKNOWN_ATTRIBUTES, AttributeValue
from p2ptun.stun.codec import ErrorCode
from p2ptun.stun.message import Message, MessageClass


class Code(IntEnum):
    """Every registered error code that STUN, ICE and TURN answer with; `code.reason` is the RFC's phrase."""

    reason: str

    def __new__(cls, number: int, reason: str) -> Code:
        code = int.__new__(cls, number)
        code._value_ = number
        code.reason = reason
        return code

    TRY_ALTERNATE = 300, "Try Alternate"
    BAD_REQUEST = 400, "Bad Request"
    UNAUTHENTICATED = 401, "Unauthenticated"
    FORBIDDEN = 403, "Forbidden"
    MOBILITY_FORBIDDEN = 405, "Mobility Forbidden"
    UNKNOWN_ATTRIBUTE = 420, "Unknown Attribute"
    ALLOCATION_MISMATCH = 437, "Allocation Mismatch"
    STALE_NONCE = 438, "Stale Nonce"
    ADDRESS_FAMILY_NOT_SUPPORTED = 440, "Address Family not Supported"
    WRONG_CREDENTIALS = 441, "Wrong Credentials"
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442, "Unsupported Transport Protocol"
    PEER_ADDRESS_FAMILY_MISMATCH = 443, "Peer Address Family Mismatch"
    CONNECTION_ALREADY_EXISTS = 446, "Connection Already Exists"
    CONNECTION_TIMEOUT_OR_FAILURE = 447, "Connection Timeout or Failure"
    ALLOCATION_QUOTA_REACHED = 486, "Allocation Quota Reached"
    ROLE_CONFLICT = 487, "Role Conflict"
    SERVER_ERROR = 500, "Server Error"
    INSUFFICIENT_CAPACITY = 508, "Insufficient Capacity"


def error_response(request: Message, code: Code, *attributes: AttributeValue) -> Message:
    """Make the error response to `request`: ERROR-CODE first, then `attributes`."""
    error = (ERROR_CODE, ErrorCode(int(code), code.reason))
    return Message(request.method, MessageClass.ERROR, request.transaction_id, (error, *attributes))


def unknown_attribute_response(request: Message, unknown: tuple[int, ...]) -> Message:
    """Make the 420 that lists the comprehension-required attributes we don't understand (RFC 8489 6.3.1)."""
    return error_response(request, Code.UNKNOWN_ATTRIBUTE, (UNKNOWN_ATTRIBUTES, unknown))
