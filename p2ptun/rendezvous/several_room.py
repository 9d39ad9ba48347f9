"""A named room that is at several places at once, and goes on while one of them does."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from random import Random, SystemRandom
from typing import Final

import trio

from p2ptun.errors import RendezvousError
from p2ptun.rendezvous.backoff import Backoff
from p2ptun.rendezvous.base import BurnReason, Delivery, IceServers, Notice, Rendezvous, Room
from p2ptun.rendezvous.together import beside, first_of

MAX_UNSENT: Final = 16  # messages that wait for a place; what is said later makes what was said before out of date
MAX_SEEN: Final = 256  # digests of messages that were delivered
BURN_TIMEOUT: Final = 5.0  # seconds for all places together


class Side:
    """Us at one place: we may not be in yet, and what we say there may have to wait.

    Whoever wakes first enters and sends; the others wait for him. Nothing is lost when he is cancelled.
    """

    def __init__(self, rendezvous: Rendezvous, name: str, token: str, opening: bytes) -> None:
        self._rendezvous = rendezvous
        self._name = name
        self._token = token
        self._opening = opening
        self._latest: bytes | None = None
        self._unsent: deque[bytes] = deque(maxlen=MAX_UNSENT)
        self._lock = trio.Lock()
        self._wakeup = trio.Event()
        self.room: Room | None = None
        self.problem: RendezvousError | None = None

    def say(self, message: bytes) -> None:
        """Put down a message for this place."""
        self._latest = message
        self._unsent.append(message)
        self._wakeup.set()

    async def deliver(self) -> None:
        """Enter if we aren't in, and send all that waits. Raises RendezvousError."""
        async with self._lock:
            room = self.room or await self._enter()
            while self._unsent:
                message = self._unsent[0]
                try:
                    await room.send(message)
                except RendezvousError:
                    self._drop(message)
                    raise
                self._drop(message)

    async def keep_delivering(self) -> None:
        """Deliver whenever there is something. What can't be delivered is dropped: who receives learns of it, too."""
        while True:
            self._wakeup = trio.Event()
            with suppress(RendezvousError):
                await self.deliver()
            await self._wakeup.wait()

    async def receive(self) -> Delivery:
        """Enter if we aren't in, and wait for what comes. Raises RendezvousError."""
        async with self._lock:
            room = self.room or await self._enter()
        return await room.receive()

    def leave(self, problem: RendezvousError) -> None:
        """Be out, so that the next one who wants something here enters anew."""
        self.room = None
        self.problem = problem

    def _drop(self, message: bytes) -> None:
        """Be done with the oldest one, unless it had to make room meanwhile."""
        if self._unsent and self._unsent[0] is message:
            self._unsent.popleft()

    async def _enter(self) -> Room:
        """Enter, and have what was said last said once more: entering makes the place forget it."""
        self.room = await self._rendezvous.enter_room(self._name, self._token, self._opening)
        self.problem = None
        if self._latest is not None and not self._unsent:
            self.say(self._latest)
        return self.room


class SeveralRoom:
    """Says everything at every place, and delivers what comes from any of them, once.

    A place that fails for good is tried again from time to time, and its failure is told when no place is left.
    """

    def __init__(self, sides: Sequence[Side], random: Random | None = None) -> None:
        self._sides = sides
        self._random = random or SystemRandom()
        self._received: deque[Delivery] = deque()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    @property
    def number(self) -> str | None:
        """A named room has none."""
        return None

    @property
    def ice(self) -> IceServers:
        """All that is on offer anywhere, good for as long as the shortest of it is."""
        offers = [side.room.ice for side in self._sides if side.room is not None]
        servers = dict.fromkeys(server for offer in offers for server in offer.servers)
        lifetimes = [offer.lifetime for offer in offers if offer.lifetime is not None]
        return IceServers(tuple(servers), min(lifetimes, default=None))

    async def enter(self) -> None:
        """Be in at one place at least. Raises RendezvousError."""
        await first_of([side.deliver for side in self._sides])

    async def send(self, message: bytes) -> None:
        """Leave a message at one place at least. The others get theirs while we receive. Raises RendezvousError."""
        for side in self._sides:
            side.say(message)
        await first_of([side.deliver for side in self._sides])

    async def receive(self) -> Delivery:
        """Wait for the next thing that comes anywhere. Raises RendezvousError."""
        await trio.lowlevel.checkpoint()
        while True:
            if not self._received:
                await self._attend()
            delivery = self._received.popleft()
            if isinstance(delivery, Notice) or self._is_new(delivery):
                return delivery

    async def renew_ice(self) -> IceServers:
        """Ask where we are in, until one has answered."""
        rooms = [side.room for side in self._sides if side.room is not None]
        if rooms:
            await first_of([room.renew_ice for room in rooms])
        return self.ice

    async def burn(self, reason: BurnReason) -> None:
        """Burn it wherever we are in."""

        async def burn(room: Room) -> None:
            with suppress(RendezvousError):
                await room.burn(reason)

        with trio.move_on_after(BURN_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for side in self._sides:
                    if side.room is not None:
                        nursery.start_soon(burn, side.room)

    async def aclose(self) -> None:
        """Leave everywhere."""
        for side in self._sides:
            if side.room is not None:
                await side.room.aclose()
        await trio.lowlevel.checkpoint()

    async def _attend(self) -> None:
        """Be everywhere until something has come. Several things may, at once."""
        failures: list[RendezvousError] = []
        async with trio.open_nursery() as nursery:

            async def attend(side: Side) -> None:
                try:
                    await self._attend_one(side)
                except RendezvousError as error:
                    failures.append(error)
                nursery.cancel_scope.cancel()

            for side in self._sides:
                nursery.start_soon(attend, side)
        if not self._received:
            raise failures[0]

    async def _attend_one(self, side: Side) -> None:
        """Put down the next thing that comes at one place, and deliver meanwhile what waits for it."""

        async def receive() -> None:
            self._received.append(await side.receive())

        backoff = Backoff(self._random)
        while True:
            try:
                return await beside(side.keep_delivering, receive)
            except RendezvousError as error:
                side.leave(error)
                if all(each.problem is not None for each in self._sides):
                    raise
            await trio.sleep(backoff.next_delay())

    def _is_new(self, message: bytes) -> bool:
        """Tell whether a message hasn't been delivered lately, and remember it."""
        digest = hashlib.sha256(message).digest()
        is_new = digest not in self._seen
        self._seen[digest] = None
        self._seen.move_to_end(digest)
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return is_new
