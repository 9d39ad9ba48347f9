"""What keeps rooms, as all that `p2ptun.server.rooms` knows of it.

A room has two sides, 0 (who opened it, or was first) and 1, and a mailbox for each: entries numbered from 1, messages
that the other side left and notices of the room. It is *live* until its sides have been silent for `ttl`, or a
numbered one is `lifetime` old. Then, and when it is burnt, its tokens and messages are forgotten. The number of a
numbered room *cools down* before it is drawn again; a burnt room, numbered or named, says meanwhile why it was burnt.

Stores see SHA-256 digests of tokens and sealed messages: nothing that is kept opens anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, Protocol, TypeAlias

import trio

from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, BurnReason, Notice

NAME_LENGTH: Final = 64
"""Hex digits of a named room. What is shorter is a number."""

SWEEP_SIZE: Final = 256
"""Rooms that one step of a sweep forgets at most: others get their turn between two."""

FEWEST_NUMBERS: Final = 100
NUMBERS_PER_ROOM: Final = 10


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """How much of everything there may be. Times in seconds.

    Attributes:
        ttl: How long a room lives after the last sign of life of a side; and a side of a named room, after its own.
        lifetime: How long a numbered room lives, whatever its sides do.
        cooldown: How long the number of a room that is over isn't drawn again, and a burnt room says why.
        rooms: Rooms in all, those that cool down included.
        bytes: Bytes of all messages that are kept.
        messages: Messages of one side that the other hasn't read yet.
        side_bytes: Their bytes.
        crowd: So many mailboxes may fill up what is left of `bytes`, each its share, which gets smaller as they do; but
            one message finds room in each. So a few who fill all that they may leave room for the others. 0: no shares.
        message_bytes: Bytes of one message.
        wait: How long a poll waits at most.
        polls: Waiting polls in all, in this process.
        side_polls: Waiting polls of one side; one more ends the oldest.
    """

    ttl: float = 3600.0
    lifetime: float = 86400.0
    cooldown: float = 600.0
    rooms: int = 100_000
    bytes: int = 256 * 1024 * 1024
    messages: int = 64
    side_bytes: int = 256 * 1024
    crowd: int = 1024
    message_bytes: int = MAX_MESSAGE_SIZE
    wait: float = 25.0
    polls: int = 50_000
    side_polls: int = 2

    def share(self, used: int) -> int:
        """Tell how many bytes one mailbox may hold while all of them hold `used`."""
        if not self.crowd:
            return self.side_bytes
        return min(self.side_bytes, max(self.message_bytes, (self.bytes - used) // self.crowd))


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a mailbox: a message of the other side, or a notice."""

    sequence: int
    body: bytes | None = field(default=None, repr=False)
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What a store holds: live rooms of both kinds, rooms that cool down, and the bytes of all messages."""

    numbered: int
    named: int
    cooling: int
    bytes: int

    @property
    def rooms(self) -> int:
        """Count all rooms."""
        return self.numbered + self.named + self.cooling


Changed: TypeAlias = Callable[["str | None"], None]
"""Called with a room in which another process changed something; None when it may be any."""

Warn: TypeAlias = Callable[[str, str], None]
"""Called with a sentence about trouble that ends nothing, and its remedy."""


class Store(Protocol):
    """Rooms, kept somewhere.

    Every operation is atomic, also among processes that share the store: it is done whole or not at all. `room` is
    well-formed, `digest` the SHA-256 of a token's secret, `message` no larger than a message may be, `now` Unix time.

    Raises:
        Refusal: From any operation on a room: UNKNOWN, BURNT with its reason, UNAUTHORIZED when `digest` is no side's,
            FULL with its limit. From every method but `close`: UNAVAILABLE while the store can't be reached.
    """

    @property
    def limits(self) -> RoomLimits: ...

    async def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        """Open a numbered room with the first number that is free of those drawn (`number_of`); None if none is."""
        ...

    async def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Become side 1 of a numbered room, leave a message (if not empty), and return what side 0 has left.

        Who is side 1 by now repeats himself, since he had no answer: nothing is left once more.

        Raises:
            Refusal: Besides, CROWDED when somebody else is side 1: both are noticed, once in the room's life.
                UNAUTHORIZED for the token of side 0.
        """
        ...

    async def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Be the side of a named room that `digest` is, leave a message, and return this side's mailbox.

        Whoever was there before begins anew: what he left is forgotten. Whoever wasn't takes a free place, or that of
        a side that has been silent for `ttl`; the room is made when there is none.

        Raises:
            Refusal: Besides, CROWDED as in `join`.
        """
        ...

    async def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        """Leave a message in the other side's mailbox; return its sequence number there."""
        ...

    async def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        """Return what came after an entry; that one and those before are read, and may go when there is no room."""
        ...

    async def touch(self, room: str, digest: bytes, now: float) -> None:
        """Note a sign of life. All operations of a side do besides."""
        ...

    async def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        """End a room: its sides and messages are forgotten, and it says why until it has cooled down."""
        ...

    async def tally(self, now: float) -> Tally:
        """Count, in constant time, what is there after a `sweep`."""
        ...

    async def sweep(self, now: float) -> None:
        """Forget what is over, in time proportional to that."""
        ...

    async def run(
        self, changed: Changed, warn: Warn, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Do what needs doing in the background; `changed` tells of what other processes did.

        It has started when the store can be used, or is waited for.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Rooms stay where they outlast a process. Harmless twice."""
        ...


def is_numbered(room: str) -> bool:
    """Tell a number from a name."""
    return len(room) < NAME_LENGTH


def span_of(rooms: int) -> int:
    """Tell how many numbers are drawn from while there are so many rooms: few, since people type them."""
    return max(FEWEST_NUMBERS, NUMBERS_PER_ROOM * rooms)


def number_of(draw: int, rooms: int) -> str:
    """Make a room's number of a random integer of 48 bits."""
    return str(1 + draw % span_of(rooms))


def side_of(digests: Sequence[bytes | None], digest: bytes) -> int | None:
    """Find the side that a token is, in constant time per side."""
    found = None
    for side, known in enumerate(digests):
        if known is not None and compare_digest(known, digest):
            found = side
    return found
