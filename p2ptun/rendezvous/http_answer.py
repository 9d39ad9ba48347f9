"""What a rendezvous server answers. Nothing of it is trusted: types, sizes and forms are checked before it is used."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, IceServer, IceServers
from p2ptun.signal.text import printable
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri

MAX_ENTRIES: Final = 256
MAX_SEQUENCE: Final = 2**53 - 1  # what every JSON parser can count to (RFC 8259 6)
MAX_ICE_SERVERS: Final = 16  # URIs, as many as anybody has a use for
MAX_LIFETIME: Final = 10 * 86400.0  # seconds

_ROOM: Final = re.compile(r"[1-9][0-9]{0,8}")
_TOKEN: Final = re.compile(r"([0-9a-f]{64}|[1-9][0-9]{0,8})\.[A-Za-z0-9_-]{43}")
_BLANKS: Final = re.compile(r"\s+")

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class Entry(msgspec.Struct, frozen=True):
    """Something in our mailbox: a message of the other side, or a notice. Notices that we don't know are left out."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)]
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_MESSAGE_SIZE)] | None = None
    notice: str | None = None


class IceEntry(msgspec.Struct, frozen=True):
    """One server in the shape that WebRTC gives them (RTCIceServer)."""

    urls: Annotated[list[str], msgspec.Meta(max_length=MAX_ICE_SERVERS)]
    username: Annotated[str, msgspec.Meta(max_length=508)] | None = None  # RFC 8489 14.3
    credential: Annotated[str, msgspec.Meta(max_length=508)] | None = None

    def __repr__(self) -> str:
        return f"IceEntry({self.urls})"


class IceAnswer(msgspec.Struct, frozen=True):
    """What is offered besides rooms."""

    servers: Annotated[list[IceEntry], msgspec.Meta(max_length=MAX_ICE_SERVERS)] = []
    ttl: Annotated[float, msgspec.Meta(ge=0)] | None = None


class SeatAnswer(msgspec.Struct, frozen=True):
    """A room was opened, joined or entered."""

    room: Annotated[str, msgspec.Meta(max_length=64)]
    side_token: Annotated[str, msgspec.Meta(max_length=108)]
    ice: IceAnswer = IceAnswer()
    messages: Annotated[list[Entry], msgspec.Meta(max_length=MAX_ENTRIES)] = []

    def __repr__(self) -> str:
        return f"SeatAnswer(room={self.room!r})"


class MailAnswer(msgspec.Struct, frozen=True):
    """What the mailbox holds."""

    messages: Annotated[list[Entry], msgspec.Meta(max_length=MAX_ENTRIES)]


class PostAnswer(msgspec.Struct, frozen=True):
    """A message was taken."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)]


class HealthAnswer(msgspec.Struct, frozen=True):
    """The server is well."""

    status: Annotated[str, msgspec.Meta(pattern=r"\Aok\Z")]


class Problem(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457)."""

    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    remedy: str = ""
    reason: str = ""


class Unreadable(ValueError):
    """It isn't what a rendezvous of p2ptun's answers."""


def read_answer(body: bytes, shape: type[AnswerT]) -> AnswerT:
    """Read the body of an answer. Raises Unreadable, whatever the bytes."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unreadable(type(error).__name__) from error


def check_seat(seat: SeatAnswer, room: str | None, token: str | None = None) -> None:
    """Check that a seat is in `room` (None: in a numbered room) and is known by `token` (None: by any of its form).

    Raises:
        Unreadable: It isn't.
    """
    is_number = _ROOM.fullmatch(seat.room) is not None
    if not (is_number if room is None else seat.room == room):
        raise Unreadable("another room")
    if not _TOKEN.fullmatch(seat.side_token) or not seat.side_token.startswith(f"{seat.room}."):
        raise Unreadable("no token of that room")
    if token is not None and seat.side_token != token:
        raise Unreadable("another token")


def is_number(text: str) -> bool:
    """Tell whether a text can be the number of a room."""
    return _ROOM.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a side's token, room included."""
    return _TOKEN.fullmatch(text) is not None


def ice_servers(answer: IceAnswer) -> IceServers:
    """Take what we understand and can use of the servers on offer: a relay without credential isn't any use."""
    found: dict[IceServer, None] = {}
    for entry in answer.servers:
        credential = None
        if entry.username and entry.credential:
            credential = LongTermCredential(entry.username, entry.credential)
        for url in entry.urls:
            try:
                uri = parse_uri(url)
            except ConfigError:
                continue
            if not uri.scheme.is_turn:
                found[IceServer(uri)] = None
            elif credential is not None:
                found[IceServer(uri, credential)] = None
    lifetime = None if answer.ttl is None else min(answer.ttl, MAX_LIFETIME)
    return IceServers(tuple(found)[:MAX_ICE_SERVERS], lifetime)


def told(text: str, size: int = 200) -> str:
    """Make a server's words fit to be shown: nothing that a terminal obeys, one line, no longer than `size`."""
    line = printable(_BLANKS.sub(" ", text[: 4 * size])).strip()
    return line if len(line) <= size else line[: size - 1].rstrip() + "…"
