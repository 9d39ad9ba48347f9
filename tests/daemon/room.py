"""Two sides of a room in this process: what one sends, the other receives."""

from __future__ import annotations

import math

import trio

from p2ptun.errors import RendezvousError
from p2ptun.rendezvous.base import BurnReason, Delivery, IceServers, Notice


class SideOfRoom:
    """One side. `sent` is all it sent, `burnt` why it burnt the room."""

    number: str | None = "42"
    ice = IceServers()

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.burnt: BurnReason | None = None
        self.is_closed = False
        self.other: SideOfRoom
        self._put, self._get = trio.open_memory_channel[Delivery | RendezvousError](math.inf)

    def deliver(self, delivery: Delivery | RendezvousError) -> None:
        """Let it receive this next."""
        self._put.send_nowait(delivery)

    async def send(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        self.other.deliver(message)

    async def receive(self) -> Delivery:
        delivery = await self._get.receive()
        if isinstance(delivery, bytes | Notice):
            return delivery
        raise delivery

    async def renew_ice(self) -> IceServers:
        await trio.lowlevel.checkpoint()
        return self.ice

    async def burn(self, reason: BurnReason) -> None:
        await trio.lowlevel.checkpoint()
        self.burnt = reason

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_closed = True


class SharedRoom:
    """Both sides."""

    def __init__(self) -> None:
        self.sides = (SideOfRoom(), SideOfRoom())
        self.sides[0].other, self.sides[1].other = self.sides[1], self.sides[0]
