"""A rendezvous over HTTP that does with messages whatever it likes, as chance has it. It can't read them."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import trio

from p2ptun.rendezvous.base import Notice
from tests.rendezvous.place import HEALTHY, Request, answer, mail, problem, response, seat

CHANCE = 0.5


class Mischief(Enum):
    """What it does to a message that a side leaves: to the first one, and then half of the time."""

    DUPLICATE = "delivers it twice"
    REFLECT = "gives it back to its writer as well"
    LIE = "tells both sides of a third one, or that somebody has come"
    REPLAY = "delivers some earlier message again, to anybody"
    REORDER = "keeps it until there is another, and delivers both in any order"
    WITHHOLD = "delivers it to nobody"
    CROSS = "delivers it into the other room as well"
    SWAP = "delivers it into the other room instead"
    DENY = "says nothing of a room's end"


HARMLESS = frozenset({Mischief.DUPLICATE, Mischief.REFLECT, Mischief.LIE, Mischief.DENY})
"""What is noticed, and nothing more."""

Place: TypeAlias = tuple[str, int]
"""A room's number and a side, 0 for the one who opened it."""


@dataclass
class Mailbox:
    """What a side is given, numbered from 1, and what is kept from it for now."""

    entries: list[bytes | Notice] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def put(self, *entries: bytes | Notice) -> None:
        self.entries += entries
        self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def after(self, number: int) -> list[object]:
        """Write the entries after one of them as the API does."""
        return [
            {"sequence": sequence, "body": base64.b64encode(each).decode()}
            if isinstance(each, bytes)
            else {"sequence": sequence, "notice": each.value}
            for sequence, each in enumerate(self.entries, 1)
            if sequence > number
        ]


class HostileRendezvous:
    """Gives the answers of a server. `done` counts what it did besides its work."""

    def __init__(self, random: Random, mischief: frozenset[Mischief]) -> None:
        self.done: Counter[Mischief] = Counter()
        self._random = random
        self._mischief = mischief
        self._boxes: dict[Place, Mailbox] = {}
        self._ends: dict[str, str] = {}
        self._written: list[bytes] = []

    async def __call__(self, request: Request) -> bytes:
        """Answer a request."""
        url = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.split("/")[2:]
        if parts == []:
            return HEALTHY
        if parts == ["rooms"]:
            return self._sit_down((str(1 + len(self._boxes)), 0), b"")
        room = parts[1]
        if room in self._ends and not self._does(Mischief.DENY):
            return problem(410, "room-burnt", reason=self._ends[room])
        if parts[-1] == "sides":
            return self._sit_down((room, 1), request.body)
        place = (room, int(request.headers["authorization"][-1]))
        if request.method == "POST":
            self._carry(place, request.body)
            return answer(201, {"sequence": 1 + len(self._written)})
        if request.method == "DELETE":
            self._ends[room] = query["reason"]
            for side in (0, 1):
                self._box((room, side)).wake()
            return response(204)
        return await self._read(place, int(query["after"]), float(query["wait"]))

    def _sit_down(self, place: Place, opening: bytes) -> bytes:
        room, side = place
        for each in (0, 1):
            self._box((room, each))
        if opening:
            self._box((room, 0)).put(Notice.JOINED)
            self._carry(place, opening)
        messages = tuple(self._box(place).after(0))
        return answer(201, seat(room, messages, side_token=f"{room}.{str(side) * 43}"))

    async def _read(self, place: Place, after: int, wait: float) -> bytes:
        box = self._box(place)
        if not box.after(after):
            with trio.move_on_after(wait):
                await box.news.wait()
            if place[0] in self._ends and not self._does(Mischief.DENY):
                return problem(410, "room-burnt", reason=self._ends[place[0]])
        return mail(*box.after(after))

    def _box(self, place: Place) -> Mailbox:
        return self._boxes.setdefault(place, Mailbox())

    def _does(self, mischief: Mischief) -> bool:
        """Decide whether to do one of what it is in the mood for."""
        does = mischief in self._mischief and (not self.done[mischief] or self._random.random() < CHANCE)
        self.done[mischief] += does
        return does

    def _carry(self, writer: Place, message: bytes) -> None:
        """Do something with a message."""
        room, side = writer
        self._written.append(message)
        reader = self._box((room, 1 - side))
        if self._does(Mischief.SWAP):
            self._anybody_but(room).put(message)
        elif not self._does(Mischief.WITHHOLD):
            self._deliver(reader, message)
        if self._does(Mischief.REFLECT):
            self._box(writer).put(message)
        if self._does(Mischief.CROSS):
            self._anybody_but(room).put(message)
        if self._does(Mischief.REPLAY):
            self._anybody_but("").put(self._random.choice(self._written))
        if self._does(Mischief.LIE):
            for each in (self._box(writer), reader):
                each.put(self._random.choice(list(Notice)))

    def _deliver(self, reader: Mailbox, message: bytes) -> None:
        if self._does(Mischief.REORDER):
            reader.kept.append(message)
            return
        messages, reader.kept = [*reader.kept, message], []
        self._random.shuffle(messages)
        reader.put(*messages)
        if self._does(Mischief.DUPLICATE):
            reader.put(message)

    def _anybody_but(self, room: str) -> Mailbox:
        return self._random.choice([box for (number, _), box in self._boxes.items() if number != room] or [Mailbox()])
