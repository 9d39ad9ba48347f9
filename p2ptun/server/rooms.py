"""Rooms for two: who may enter, what they leave for each other, and polls that wait for it.

What is decided is decided by the store, so that any number of processes serve the rooms of one store. Here are the
tokens, the waiting, and the rules that need no memory.
"""

from __future__ import annotations

import os
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import trio

from p2ptun.errors import LocalProtocolError
from p2ptun.rendezvous.base import BurnReason
from p2ptun.server.polls import Polls
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import Entry, RoomLimits, Store, Warn

__all__ = ["Counts", "Entry", "Joined", "RoomLimits", "Rooms", "Seat"]

SWEEP_INTERVAL: Final = 5.0
"""Seconds between two looks for what is over. Nobody sees it before: it only takes memory."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SECRET_SIZE: Final = 32  # bytes
_DRAW_SIZE: Final = 6  # bytes
_DRAWS: Final = 16
_MOST_SEQUENCE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Seat:
    """A side of a room: what it proves itself with, and for how many seconds it may be silent."""

    room: str
    token: str = field(repr=False)
    ttl: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A side that has come, and what lies in its mailbox."""

    seat: Seat
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Counts:
    """Live rooms in the store, polls that wait here, and messages that came here since the start."""

    numbered: int
    named: int
    waiting: int
    messages: int


class Rooms:
    """All rooms of one store, for one process.

    Every method that is about a room, but `close`, raises Refusal: UNKNOWN, BURNT, FULL with its limit, UNAVAILABLE,
    and UNAUTHORIZED where it takes a token.
    """

    def __init__(
        self, store: Store, warn: Warn = lambda message, remedy: None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`warn` is told of trouble with the store, in a sentence and with a remedy. `clock` gives Unix time."""
        self.limits = store.limits
        self._store = store
        self._warn = warn
        self._clock = clock
        self._polls = Polls(self.limits.polls, self.limits.side_polls)
        self._messages = 0

    async def open(self) -> Seat:
        """Open a numbered room."""
        secret, digest = _new_secret()
        draws = [int.from_bytes(os.urandom(_DRAW_SIZE), "big") for _ in range(_DRAWS)]
        room = await self._store.claim(draws, digest, self._clock())
        if room is None:
            raise Refusal(Kind.FULL, limit=Limit.ROOMS)
        return Seat(room, f"{room}.{secret}", self.limits.ttl)

    async def join(self, room: str, message: bytes, token: str | None = None) -> Joined:
        """Join a numbered room as its second side, and leave a message unless it is empty.

        Who brings a token of his own may repeat himself when no answer came: it is still he who has joined.

        Raises:
            Refusal: CROWDED, besides; both sides get a notice, once. UNAUTHORIZED for a token that isn't well-formed.
        """
        if not _NUMBER.fullmatch(room):
            raise Refusal(Kind.UNKNOWN)
        token = token or f"{room}.{_new_secret()[0]}"
        entries = await self._come(room, _digest_of(token, room), message, self._store.join)
        return Joined(Seat(room, token, self.limits.ttl), entries)

    async def enter(self, room: str, token: str, message: bytes) -> Joined:
        """Enter a named room as the side that a token is, and leave a message unless it is empty.

        Raises:
            Refusal: UNAUTHORIZED for a token that isn't well-formed. CROWDED, besides, as in `join`.
        """
        if not _NAME.fullmatch(room):
            raise Refusal(Kind.UNKNOWN)
        entries = await self._come(room, _digest_of(token, room), message, self._store.enter)
        return Joined(Seat(room, token, self.limits.ttl), entries)

    async def post(self, token: str, room: str, message: bytes) -> int:
        """Leave a message, which isn't empty, for the other side; return its sequence number."""
        if not message:
            raise LocalProtocolError("an empty message")
        self._check_size(message)
        digest = _digest_of(token, room)
        sequence = await self._store.post(room, digest, message, self._clock())
        self._messages += 1
        self._polls.wake(room, but=digest)
        return sequence

    async def read(self, token: str, room: str, after: int, wait: float) -> list[Entry]:
        """Return what lies in this side's mailbox after an entry; wait for it when nothing does, for `wait` seconds.

        The list is empty when nothing came, when a newer poll of the same side took the place, and on `close`.
        """
        digest = _digest_of(token, room)
        after = max(0, min(after, _MOST_SEQUENCE))
        with self._polls.begin(room, digest) as poll:
            entries = await self._store.read(room, digest, after, self._clock())
            if entries or wait <= 0:
                return entries
            self._polls.admit(room, poll)
            with trio.move_on_after(min(wait, self.limits.wait)):
                await poll.wait()
                while not poll.is_over and not (entries := await self._read_again(room, digest, after)):
                    await poll.wait()
            return entries

    async def burn(self, token: str, room: str, reason: BurnReason) -> None:
        """End a room for good."""
        await self._store.burn(room, _digest_of(token, room), reason, self._clock())
        self._polls.wake(room)

    async def check(self, token: str) -> None:
        """Return if the token is one of a live room's side.

        Raises:
            Refusal: UNAUTHORIZED, also when there is no such room; BURNT; UNAVAILABLE.
        """
        room = token.partition(".")[0]
        try:
            await self._store.touch(room, _digest_of(token, room), self._clock())
        except Refusal as refusal:
            if refusal.kind is Kind.UNKNOWN:
                raise Refusal(Kind.UNAUTHORIZED) from refusal
            raise

    async def count(self) -> Counts:
        """Count rooms, polls and messages."""
        tally = await self._store.tally(self._clock())
        return Counts(tally.numbered, tally.named, self._polls.waiting, self._messages)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the store going and forget what is over, until cancelled; then close the store."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._store.run, self._changed, self._warn)
                task_status.started()
                while True:
                    with suppress(Refusal):  # the store is away, and has said so
                        await self._store.sweep(self._clock())
                    await trio.sleep(SWEEP_INTERVAL)
        finally:
            self._store.close()

    def close(self) -> None:
        """Have waiting polls return at once, and new ones wait no more. Everything else goes on."""
        self._polls.close()

    async def _come(
        self,
        room: str,
        digest: bytes,
        message: bytes,
        come: Callable[[str, bytes, bytes, float], Awaitable[list[Entry]]],
    ) -> list[Entry]:
        """Come into a room, and tell who waits in it."""
        self._check_size(message)
        try:
            entries = await come(room, digest, message, self._clock())
        except Refusal as refusal:
            if refusal.kind is Kind.CROWDED:
                self._polls.wake(room)
            raise
        self._messages += bool(message)
        self._polls.wake(room, but=digest)
        return entries

    async def _read_again(self, room: str, digest: bytes, after: int) -> list[Entry]:
        """Read once more; nothing is new in a store that is away, and who waits goes on waiting."""
        try:
            return await self._store.read(room, digest, after, self._clock())
        except Refusal as refusal:
            if refusal.kind is not Kind.UNAVAILABLE:
                raise
            return []

    def _check_size(self, message: bytes) -> None:
        if len(message) > self.limits.message_bytes:
            raise Refusal(Kind.FULL, limit=Limit.MESSAGE)

    def _changed(self, room: str | None) -> None:
        """Hear of what another process did."""
        if room is None:
            self._polls.wake_all()
        else:
            self._polls.wake(room)


def _new_secret() -> tuple[str, bytes]:
    """Draw a token's secret; return it and its digest."""
    secret = urlsafe_b64encode(os.urandom(_SECRET_SIZE)).rstrip(b"=").decode()
    return secret, sha256(secret.encode()).digest()


def _digest_of(token: str, room: str) -> bytes:
    """Give what a store knows of a token of this room."""
    name, _, secret = token.partition(".")
    if not (_NUMBER.fullmatch(room) or _NAME.fullmatch(room)):
        raise Refusal(Kind.UNKNOWN)
    if name != room or not _SECRET.fullmatch(secret):
        raise Refusal(Kind.UNAUTHORIZED)
    return sha256(secret.encode()).digest()
