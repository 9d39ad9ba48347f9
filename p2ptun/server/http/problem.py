"""What a refused request is told: a problem (RFC 9457) with a sentence, and what to do about it.

::

    HTTP/1.1 404 Not Found
    Content-Type: application/problem+json

    {"type": "urn:p2ptun:problem:room-unknown", "title": "No such room", "status": 404,
     "detail": "There is no room 42.", "remedy": "Ask for the code again."}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from p2ptun.server.refusal import Kind, Limit, Refusal

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:p2ptun:problem:"
STORE_RETRY: Final = 1
"""Seconds after which a client asks again when the store was missing. That is cheap, and most stores are back before
anybody has noticed: people are told of what takes longer than a few seconds."""

ROOM_RETRY: Final = 5  # seconds after which there may be room for more


class Slug(Enum):
    """What is the matter, with the status that goes with it and a title. The value ends a problem's type."""

    status: int
    title: str

    def __new__(cls, value: str, status: int, title: str) -> Slug:
        slug = object.__new__(cls)
        slug._value_ = value
        slug.status = status
        slug.title = title
        return slug

    BAD_REQUEST = ("bad-request", 400, "Not understood")
    UNAUTHORIZED = ("unauthorized", 401, "No token of this room")
    NOT_FOUND = ("not-found", 404, "Nothing here")
    ROOM_UNKNOWN = ("room-unknown", 404, "No such room")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "Not that method")
    TOO_SLOW = ("too-slow", 408, "Too slow")
    ROOM_CROWDED = ("room-crowded", 409, "Two are there already")
    ROOM_BURNT = ("room-burnt", 410, "The room was ended")
    BODY_TOO_LARGE = ("body-too-large", 413, "Too large")
    MEDIA_TYPE = ("media-type", 415, "Not that content type")
    MAILBOX_FULL = ("mailbox-full", 429, "Too many unread messages")
    TOO_MANY_REQUESTS = ("too-many-requests", 429, "Too many requests")
    TOO_MANY_ROOMS = ("too-many-rooms", 429, "Too many rooms")
    HEAD_TOO_LARGE = ("head-too-large", 431, "Too large")
    INTERNAL = ("internal", 500, "Our mistake")
    FULL = ("full", 503, "Full")
    UNAVAILABLE = ("unavailable", 503, "Out of order")


class Problem(Exception):
    """A request is refused.

    Attributes:
        slug: What is the matter.
        detail: A sentence for people.
        remedy: What to do about it.
        headers: What the answer's head says besides.
        reason: Of a room that was burnt: why.
    """

    def __init__(
        self, slug: Slug, detail: str, remedy: str, headers: Mapping[str, str] | None = None, reason: str = ""
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.remedy = remedy
        self.headers = dict(headers or {})
        self.reason = reason

    def encode(self) -> bytes:
        """Write it as JSON."""
        members: dict[str, object] = {
            "type": URN + self.slug.value,
            "title": self.slug.title,
            "status": self.slug.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        if self.reason:
            members["reason"] = self.reason
        return msgspec.json.encode(members)


def retry(slug: Slug, detail: str, remedy: str, seconds: float) -> Problem:
    """Make a problem that passes: whoever asks again after so many seconds may get more."""
    return Problem(slug, detail, remedy, {"Retry-After": str(max(1, math.ceil(seconds)))})


def unauthorized(detail: str) -> Problem:
    """Make the problem of a request without a good token (RFC 6750 3)."""
    remedy = "Send Authorization: Bearer SIDE_TOKEN, with the token that the room's opening was answered with."
    return Problem(Slug.UNAUTHORIZED, detail, remedy, {"WWW-Authenticate": 'Bearer realm="p2ptun"'})


def not_found() -> Problem:
    """Make the problem of a path that leads nowhere."""
    return Problem(Slug.NOT_FOUND, "There is nothing at this path.", "GET /openapi.json tells what there is.")


def of_refusal(refusal: Refusal) -> Problem:
    """Say in HTTP what a room said."""
    detail = str(refusal)
    match refusal.kind:
        case Kind.UNKNOWN:
            return Problem(Slug.ROOM_UNKNOWN, detail, "Ask the other side for a new code: rooms end after a while.")
        case Kind.CROWDED:
            return Problem(Slug.ROOM_CROWDED, detail, "Ask the other side for a new code; somebody else has used this.")
        case Kind.BURNT:
            reason = refusal.reason.value if refusal.reason else ""
            return Problem(Slug.ROOM_BURNT, detail, "Ask the other side for a new code.", reason=reason)
        case Kind.UNAUTHORIZED:
            return unauthorized(detail)
        case Kind.FULL:
            return _full(refusal.limit)
        case Kind.UNAVAILABLE:
            return retry(Slug.UNAVAILABLE, detail, "Try again soon; nothing is lost.", STORE_RETRY)


def _full(limit: Limit | None) -> Problem:
    match limit:
        case Limit.MESSAGE:
            return too_large()
        case Limit.MESSAGES | Limit.SIDE_BYTES:
            detail = "The other side has too many unread messages."
            return retry(Slug.MAILBOX_FULL, detail, "Wait until it has read them.", ROOM_RETRY)
        case _:
            return retry(Slug.FULL, "This server has no room for more.", "Try again later, or another.", ROOM_RETRY)


def too_large() -> Problem:
    """Make the problem of a body beyond what is taken; the rest of it isn't read, so the connection ends."""
    return Problem(Slug.BODY_TOO_LARGE, "The body is larger than what is taken here.", "Send 16384 bytes at most.")
