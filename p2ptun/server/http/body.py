"""What a request brings: its body, no more of it than is taken; its token; what its URL asks for."""

from __future__ import annotations

import re
from typing import Final

import trio
from starlette.requests import Request

from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, BurnReason
from p2ptun.server.http.problem import Problem, Slug, too_large, unauthorized

BODY_TIMEOUT: Final = 20.0  # seconds for all of it: 16 KiB over the slowest of phones
MAX_WAIT: Final = 25.0
"""Seconds. Proxies give a silent answer up after 30 or 60."""

OCTETS: Final = "application/octet-stream"

_BEARER: Final = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]{1,128}=*)", re.ASCII)
_INTEGER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)


async def read_message(request: Request, *, is_optional: bool) -> bytes:
    """Read a message. Raises Problem for what is none."""
    kind = request.headers.get("content-type", OCTETS).partition(";")[0].strip().lower()
    if kind != OCTETS:
        detail = "A message is sent as application/octet-stream."
        raise Problem(Slug.MEDIA_TYPE, detail, f"Send Content-Type: {OCTETS}", {"Accept-Post": OCTETS})
    message = await _read(request, MAX_MESSAGE_SIZE)
    if not message and not is_optional:
        raise Problem(Slug.BAD_REQUEST, "There is no message in the body.", "Send 1 to 16384 bytes.")
    return message


async def read_nothing(request: Request) -> None:
    """See to it that there is no body. Raises Problem otherwise."""
    await _read(request, 0)


def bearer(request: Request) -> str:
    """Give the token. Raises Problem when there is none."""
    values = request.headers.getlist("authorization")
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise unauthorized("This takes the token of a side.")
    return match[1]


def after(request: Request) -> int:
    """Give the sequence number after which messages are wanted; 0 when the URL names none. Raises Problem."""
    text = _only(request, "after") or "0"
    if not _INTEGER.fullmatch(text):
        raise _bad("after", "the sequence number of the last message seen, 0 at first")
    return int(text)


def wait(request: Request) -> float:
    """Give for how many seconds to wait for messages; 0 when the URL doesn't say. Raises Problem."""
    text = _only(request, "wait") or "0"
    if not _SECONDS.fullmatch(text) or float(text) > MAX_WAIT:
        raise _bad("wait", f"seconds from 0 to {MAX_WAIT:.0f}")
    return 0.0 if request.method == "HEAD" else float(text)


def reason(request: Request) -> BurnReason:
    """Give why a room is ended; LEFT when the URL doesn't say. Raises Problem."""
    text = _only(request, "reason")
    if text is None:
        return BurnReason.LEFT
    try:
        return BurnReason(text)
    except ValueError:
        raise _bad("reason", "one of " + ", ".join(each.value for each in BurnReason)) from None


async def _read(request: Request, most: int) -> bytes:
    """Read a body; as soon as it is known to be too large, no more of it."""
    if int(request.headers.get("content-length", "0")[:20]) > most:
        raise too_large()
    body = bytearray()
    with trio.move_on_after(BODY_TIMEOUT):
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise Problem(Slug.BAD_REQUEST, "The body ended early.", "Send all of it.")
            body += message.get("body", b"")
            if len(body) > most:
                raise too_large()
            if not message.get("more_body", False):
                return bytes(body)
    raise Problem(Slug.TOO_SLOW, "The body didn't come in time.", "Send it again, faster.", {"Connection": "close"})


def _only(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise _bad(name, "given once")
    return values[0] if values else None


def _bad(name: str, what: str) -> Problem:
    return Problem(Slug.BAD_REQUEST, f"The query's {name!r} isn't what it should be.", f"{name} is {what}.")
