"""A rendezvous in memory, for named rooms, that tests send away, bring back and let refuse."""

from __future__ import annotations

import trio

from p2ptun.errors import RendezvousError, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, Delivery, IceServers, Notice


class Postbox:
    """Keeps what each side of each room has left. While it is away, who asks waits."""

    def __init__(self, ice: IceServers | None = None) -> None:
        self.ice = ice or IceServers()
        self.left: dict[str, dict[str, list[Delivery]]] = {}
        self.refusal: RendezvousError | None = None
        self.burnt: list[BurnReason] = []
        self.entries = 0
        self.is_closed = False
        self._change = trio.Event()
        self._is_away = False

    async def open_room(self) -> PostboxRoom:
        """There are none with numbers here."""
        raise RendezvousError("There are no numbered rooms.")

    async def join_room(self, number: str, opening: bytes) -> PostboxRoom:
        """There are none with numbers here."""
        raise RendezvousError("There are no numbered rooms.")

    async def enter_room(self, name: str, token: str, opening: bytes) -> PostboxRoom:
        await self.present()
        self.entries += 1
        room = PostboxRoom(self, name, token)
        self.left.setdefault(name, {})[token] = [opening]
        self.changed()
        return room

    async def aclose(self) -> None:
        self.is_closed = True

    def forget(self) -> None:
        """Be started anew, with nothing left."""
        self.left.clear()
        self.changed()

    def go(self) -> None:
        """Be away."""
        self._is_away = True

    def come(self) -> None:
        """Be back."""
        self._is_away = False
        self.changed()

    def changed(self) -> None:
        """Wake who waits."""
        self._change.set()
        self._change = trio.Event()

    async def present(self) -> None:
        """Wait until it is there; raise what it refuses with."""
        await trio.lowlevel.checkpoint()
        while self._is_away:
            await self._change.wait()
        if self.refusal is not None:
            raise self.refusal

    async def wait(self) -> None:
        """Wait for any change."""
        await self._change.wait()


class PostboxRoom:
    """A side there."""

    def __init__(self, postbox: Postbox, name: str, token: str) -> None:
        self.number = None
        self._postbox = postbox
        self._name = name
        self._token = token
        self._read = 0

    @property
    def ice(self) -> IceServers:
        return self._postbox.ice

    async def send(self, message: bytes) -> None:
        await self._postbox.present()
        self._sides[self._token].append(message)
        self._postbox.changed()

    async def receive(self) -> Delivery:
        while True:
            await self._postbox.present()
            theirs = [left for token, left in self._sides.items() if token != self._token]
            if theirs and len(theirs[0]) > self._read:
                self._read += 1
                return theirs[0][self._read - 1]
            await self._postbox.wait()

    async def renew_ice(self) -> IceServers:
        await self._postbox.present()
        return self.ice

    async def burn(self, reason: BurnReason) -> None:
        await self._postbox.present()
        self._postbox.burnt.append(reason)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def notice(self, notice: Notice) -> None:
        """Have the other side told something."""
        self._sides[self._token].append(notice)
        self._postbox.changed()

    @property
    def _sides(self) -> dict[str, list[Delivery]]:
        sides = self._postbox.left.get(self._name)
        if sides is None or self._token not in sides:
            raise RoomUnknown("There is no such room.")
        return sides
