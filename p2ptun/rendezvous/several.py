"""Several rendezvous used as one, so that no single one has to be there. Both sides have to name the same ones.

*Numbered rooms* are at one of them: the one that answers first. Which one that is stands in the number: sorted by their
texts they have places from 0 to k - 1, and room n at place i is shown as ``n * k + i``. So who joins looks at one place
only, and nobody's room of the same number elsewhere is disturbed.

*Named rooms* are at two of them, which both sides find without asking anybody: those with the greatest hash of place
and room (rendezvous hashing, highest random weight). What is said is left at both, and what comes is delivered once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from p2ptun.errors import LocalProtocolError, RendezvousError, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, Context, Delivery, IceServers, Rendezvous, Room
from p2ptun.rendezvous.several_room import SeveralRoom, Side
from p2ptun.rendezvous.together import first_of

COPIES: Final = 2  # places of a named room
MAX_DIGITS: Final = 9  # of a room's number
CLOSE_TIMEOUT: Final = 2.0  # seconds for all members together


@dataclass(frozen=True, slots=True)
class Member:
    """One of them. `text` is what people wrote."""

    text: str
    rendezvous: Rendezvous

    @property
    def key(self) -> str:
        """The same for both sides, whether they end a URL with a slash or not."""
        return self.text.rstrip("/")

    async def check(self) -> None:
        """Find out whether it is there, if it can be asked. Raises RendezvousError."""
        check = getattr(self.rendezvous, "check", None)
        if check is not None:
            await check()
        else:
            await trio.lowlevel.checkpoint()


@dataclass(slots=True)
class Troubles:
    """What trouble each member has: a person is told of each, and that it is over when none is left."""

    context: Context
    _names: set[str] = field(default_factory=set)

    def warner(self, name: str) -> Callable[[str, str], None]:
        """Return what a member warns with."""

        def warn(message: str, remedy: str) -> None:
            self._names.add(name)
            self.context.warn(message, remedy)

        return warn

    def recoverer(self, name: str) -> Callable[[], None]:
        """Return what a member says with that its trouble is over."""

        def recover() -> None:
            if name in self._names:
                self._names.discard(name)
                if not self._names:
                    self.context.recover()

        return recover


def ranked(members: Sequence[Member], name: str) -> list[Member]:
    """Sort members by their weight for a room, the heaviest first: SHA-256 of member and room, a zero byte between."""
    return sorted(members, key=lambda each: hashlib.sha256(f"{each.key}\0{name}".encode()).digest(), reverse=True)


class PlacedRoom:
    """A numbered room whose number says at which place it is."""

    def __init__(self, room: Room, number: str) -> None:
        self._room = room
        self._number = number

    @property
    def number(self) -> str | None:
        """What the other side joins by, everywhere."""
        return self._number

    @property
    def ice(self) -> IceServers:
        """As the room has it."""
        return self._room.ice

    async def send(self, message: bytes) -> None:
        """Send it in the room."""
        await self._room.send(message)

    async def receive(self) -> Delivery:
        """Receive from the room."""
        return await self._room.receive()

    async def renew_ice(self) -> IceServers:
        """Ask the room's rendezvous."""
        return await self._room.renew_ice()

    async def burn(self, reason: BurnReason) -> None:
        """Burn the room."""
        await self._room.burn(reason)

    async def aclose(self) -> None:
        """Leave the room."""
        await self._room.aclose()


class SeveralRendezvous:
    """Members that stand in for each other."""

    def __init__(self, members: Sequence[Member]) -> None:
        unique = {each.key: each for each in members}
        self._members = [unique[key] for key in sorted(unique)]

    async def open_room(self) -> Room:
        """Open a numbered room at the member that answers first."""
        place = await first_of([self._checker(place) for place in range(len(self._members))])
        room = await self._members[place].rendezvous.open_room()
        if room.number is None:
            raise RendezvousError(f"The rendezvous {self._members[place].text} has no numbered rooms.", "Use another.")
        number = str(int(room.number) * len(self._members) + place)
        if len(number) > MAX_DIGITS:
            await room.aclose()
            raise RendezvousError(f"The rendezvous {self._members[place].text} is full.", "Try again later.")
        return PlacedRoom(room, number)

    async def join_room(self, number: str, opening: bytes) -> Room:
        """Join a numbered room where its number says that it is."""
        if not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            raise LocalProtocolError("no number of a room")
        at_place, place = divmod(int(number), len(self._members))
        if not at_place:
            raise RoomUnknown("There is no such room.", "Check the code and that both sides use the same --rendezvous.")
        return PlacedRoom(await self._members[place].rendezvous.join_room(str(at_place), opening), number)

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        """Enter a named room at its places; return when one of them has let us in."""
        sides = [Side(each.rendezvous, name, token, opening) for each in ranked(self._members, name)[:COPIES]]
        room = SeveralRoom(sides)
        await room.enter()
        return room

    async def aclose(self) -> None:
        """Close all of them."""
        with trio.move_on_after(CLOSE_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for each in self._members:
                    nursery.start_soon(each.rendezvous.aclose)

    def _checker(self, place: int) -> Callable[[], Awaitable[int]]:
        async def check() -> int:
            await self._members[place].check()
            return place

        return check
