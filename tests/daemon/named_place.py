"""A rendezvous in this process, with one room for two machines that know each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import trio

from p2ptun.errors import RendezvousError
from p2ptun.rendezvous.base import Room
from tests.daemon.room import SideOfRoom


class Place:
    """A rendezvous with one named room; a side that enters anew takes the place of what it was."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sides: dict[str, SideOfRoom] = {}
        self.openings: dict[str, bytes] = {}
        self.entered: list[str] = []
        self.problems: Iterator[RendezvousError | None] = itertools.repeat(None)
        self.closed = 0

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        await trio.lowlevel.checkpoint()
        assert name == self.name
        self.entered.append(token)
        if (problem := next(self.problems)) is not None:
            raise problem
        side = SideOfRoom()
        side.other = self.sides.get(token, SideOfRoom())
        for other, room in self.sides.items():
            if other != token:
                room.other, side.other = side, room
                room.deliver(opening)
                for each in (self.openings[other], *room.sent):
                    side.deliver(each)
        self.sides[token], self.openings[token] = side, opening
        return side

    async def open_room(self) -> Room:
        raise AssertionError

    async def join_room(self, number: str, opening: bytes) -> Room:
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.closed += 1
