"""What every rendezvous can do. It is all that the rest of p2ptun knows of one.

A rendezvous is where two sides meet in a *room* and leave messages for each other. Messages are opaque: who carries
them may read, drop, repeat, hold back or change them, and everything above reckons with that. Rooms come in two kinds:

* *numbered*, for two people who share a code: one side opens it and is told its number, the other joins it by that
  number, once; a third is refused and both are told.
* *named*, for two machines that know each other: a name and a token that follow from a secret of both. Each side comes
  and goes as it likes, and finds what the other has left there.

A third party's rendezvous is a class with the methods of `Rendezvous`, made from the text after `--rendezvous` and a
`Context`, and named in the entry-point group `p2ptun.rendezvous` by its scheme (`folder` for `folder:/mnt/shared`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import StunUri

if TYPE_CHECKING:
    from p2ptun.rendezvous.line import LineReader

ENTRY_POINTS: Final = "p2ptun.rendezvous"
MAX_MESSAGE_SIZE: Final = 16384
"""Bytes. Every rendezvous carries messages of this size whole."""


class Notice(Enum):
    """What a room tells of itself, between the other side's messages. Not to be trusted more than those."""

    JOINED = "joined"  # the other side has come
    CROWDED = "crowded"  # a third party came, and was refused


class BurnReason(Enum):
    """Why a side ended a room for good."""

    DONE = "done"  # the two have met and need it no more
    WRONG_CODE = "wrong-code"  # somebody's code was another one
    SILENT = "silent"  # somebody came and never showed that he knows the code
    LEFT = "left"  # a side gave up


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN server or a relay that a rendezvous offers to those in its rooms; relays come with a credential."""

    uri: StunUri
    credential: LongTermCredential | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class IceServers:
    """What a rendezvous offers, good for `lifetime` seconds from when it was asked (None: for as long as one likes)."""

    servers: tuple[IceServer, ...] = ()
    lifetime: float | None = None


Delivery: TypeAlias = bytes | Notice
"""A message of the other side, or a notice of the room."""


class Room(Protocol):
    """Our side of a room. Every method may be cancelled, and leaves files, sockets and the terminal as it found them.

    Attributes:
        number: What the other side joins it by: decimal digits without leading zeros. None where no number is needed,
            since people carry the messages, or because the room has a name.
        ice: What the rendezvous offers besides, as far as it was told.

    Raises:
        RendezvousError: From any method, with one sentence for people and what to do. `RoomGone` when the other side
            burnt the room, `RoomUnknown` when the rendezvous has forgotten it, `RendezvousEnded` when nothing more can
            come. A rendezvous that can't be reached just now is none of it: it is tried again, for ever.
    """

    @property
    def number(self) -> str | None: ...

    @property
    def ice(self) -> IceServers: ...

    async def send(self, message: bytes) -> None:
        """Leave a message for the other side, after all those before it."""
        ...

    async def receive(self) -> Delivery:
        """Wait for the other side's next message, or the next notice."""
        ...

    async def renew_ice(self) -> IceServers:
        """Ask anew for what is on offer; return it as `ice` has it from now on."""
        ...

    async def burn(self, reason: BurnReason) -> None:
        """End a numbered room: nobody uses its number for a while, and the other side's `receive` raises `RoomGone`."""
        ...

    async def aclose(self) -> None:
        """Leave, without ending the room. Harmless twice, and after `burn`."""
        ...


class Rendezvous(Protocol):
    """A place with rooms. Raises RendezvousError as a `Room` does, and each method what it says besides."""

    async def open_room(self) -> Room:
        """Open a numbered room."""
        ...

    async def join_room(self, number: str, opening: bytes) -> Room:
        """Join a numbered room and leave the first message in the same breath.

        Raises:
            RoomUnknown: There is none of that number.
            RoomCrowded: Both sides are there; they are told.
            RoomGone: It was burnt.
        """
        ...

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        """Enter a named room (64 hex digits), as the one of its two sides that `token` (43 base64url characters) is.

        What this side left there before is forgotten, but for `opening`. What the other side has left since it entered
        is received.

        Raises:
            RoomCrowded: Two others are there, with other tokens.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open, rooms included. Harmless twice."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A rendezvous that gains from hearing ahead that it will be asked."""

    async def prepare(self) -> None:
        """Do what can be done before there is something to ask. Never raises RendezvousError; in vain is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a rendezvous may use of its surroundings.

    Attributes:
        show: Prints a line for people to carry (paste).
        lines: What people answer.
        ca_file: Who else may vouch for servers' names, in PEM.
        warn: Tells a person, in a sentence and with a remedy, of trouble that doesn't end anything; `recover` takes it
            back, when there was any.
    """

    show: Callable[[str], None]
    lines: LineReader
    ca_file: Path | None = None
    warn: Callable[[str, str], None] = field(default=lambda message, remedy: None)
    recover: Callable[[], None] = field(default=lambda: None)
