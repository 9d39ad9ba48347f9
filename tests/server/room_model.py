"""What a store must do, as plainly as it can be said: lists, and looking at everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import Entry, RoomLimits, Tally


@dataclass
class ModelSide:
    digest: bytes | None = None
    seen_at: float = 0
    last: int = 0
    read: int = 0
    entries: list[Entry] = field(default_factory=list)

    def put(self, body: bytes | None, notice: Notice | None = None) -> None:
        if notice is not None:
            self.entries = [each for each in self.entries if each.notice is not notice]
        if body != b"":
            self.last += 1
            self.entries.append(Entry(self.last, body, notice))

    def forget_messages(self) -> None:
        self.entries = [each for each in self.entries if each.body is None]

    def sizes(self) -> list[int]:
        return [len(each.body) for each in self.entries if each.body is not None]


@dataclass
class ModelRoom:
    opened_at: float
    due_at: float
    is_crowded: bool = False
    is_cooling: bool = False
    reason: BurnReason | None = None
    sides: list[ModelSide] = field(default_factory=lambda: [ModelSide(), ModelSide()])


class Model:
    """Rooms by name. Every method is an operation of a Store, without waiting for anything."""

    def __init__(self, limits: RoomLimits) -> None:
        self.limits = limits
        self.rooms: dict[str, ModelRoom] = {}

    def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        self._check_rooms(now)
        span = max(100, 10 * len(self.rooms))
        for number in (str(1 + draw % span) for draw in draws):
            if number not in self.rooms:
                self.rooms[number] = ModelRoom(now, now)
                self.rooms[number].sides[0].digest = digest
                self._touch(number, 0, now)
                return number
        return None

    def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        found = self._live(room, now)
        if found.sides[0].digest == digest:
            raise Refusal(Kind.UNAUTHORIZED)
        if found.sides[1].digest == digest:
            self._touch(room, 1, now)
            return list(found.sides[1].entries)
        if found.sides[1].digest is not None:
            self._crowd(found)
        self._check_bytes(len(message))
        found.sides[1].digest = digest
        found.sides[0].put(None, Notice.JOINED)
        found.sides[0].put(message)
        self._touch(room, 1, now)
        return list(found.sides[1].entries)

    def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        self._settle(room, now)
        if room not in self.rooms:
            self._check_rooms(now)
            self._check_bytes(len(message))
            self.rooms[room] = ModelRoom(now, now + 1)
        found = self._live(room, now)
        places = [number for number in (0, 1) if found.sides[number].digest == digest]
        places += [number for number in (0, 1) if found.sides[number].digest is None]
        if not places:
            self._crowd(found)
        own, other = found.sides[places[0]], found.sides[1 - places[0]]
        self._check_bytes(len(message) - sum(other.sizes()))
        other.forget_messages()
        if own.digest is None and other.digest is not None:
            other.put(None, Notice.JOINED)
        own.digest, own.read = digest, 0
        other.put(message)
        self._touch(room, places[0], now)
        return list(own.entries)

    def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        found, side = self._side(room, digest, now)
        other = found.sides[1 - side]
        if self._shortage(other, message):
            other.entries = [each for each in other.entries if each.sequence > other.read]
        if limit := self._shortage(other, message):
            raise Refusal(Kind.FULL, limit=limit)
        other.put(message)
        self._touch(room, side, now)
        return other.last

    def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        found, side = self._side(room, digest, now)
        own = found.sides[side]
        own.read = max(own.read, min(own.last, after))
        self._touch(room, side, now)
        return [each for each in own.entries if each.sequence > after]

    def touch(self, room: str, digest: bytes, now: float) -> None:
        _, side = self._side(room, digest, now)
        self._touch(room, side, now)

    def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        found, _ = self._side(room, digest, now)
        found.is_cooling, found.reason, found.sides = True, reason, []
        found.due_at = now + self.limits.cooldown

    def tally(self, now: float) -> Tally:
        for name in list(self.rooms):
            self._settle(name, now)
        live = [name for name, room in self.rooms.items() if not room.is_cooling]
        numbered = sum(len(name) < 64 for name in live)
        return Tally(numbered, len(live) - numbered, len(self.rooms) - len(live), self._bytes())

    def _settle(self, name: str, now: float) -> None:
        room = self.rooms.get(name)
        if room is not None and not room.is_cooling and len(name) < 64 and now >= room.due_at:
            room.is_cooling, room.sides = True, []
            room.due_at += self.limits.cooldown
        if room is not None and now >= room.due_at:
            del self.rooms[name]

    def _live(self, name: str, now: float) -> ModelRoom:
        self._settle(name, now)
        room = self.rooms.get(name)
        if room is None or (room.is_cooling and room.reason is None):
            raise Refusal(Kind.UNKNOWN)
        if room.is_cooling:
            raise Refusal(Kind.BURNT, reason=room.reason)
        for side, other in ((0, 1), (1, 0)):
            own = room.sides[side]
            if len(name) == 64 and own.digest is not None and now >= own.seen_at + self.limits.ttl:
                own.digest, own.read = None, 0
                room.sides[other].forget_messages()
        return room

    def _side(self, name: str, digest: bytes, now: float) -> tuple[ModelRoom, int]:
        room = self._live(name, now)
        for number, side in enumerate(room.sides):
            if side.digest == digest:
                return room, number
        raise Refusal(Kind.UNAUTHORIZED)

    def _touch(self, name: str, side: int, now: float) -> None:
        room = self.rooms[name]
        room.sides[side].seen_at = now
        room.due_at = now + self.limits.ttl
        if len(name) < 64:
            room.due_at = min(room.due_at, room.opened_at + self.limits.lifetime)

    def _crowd(self, room: ModelRoom) -> None:
        if not room.is_crowded:
            room.is_crowded = True
            for side in room.sides:
                side.put(None, Notice.CROWDED)
        raise Refusal(Kind.CROWDED)

    def _bytes(self) -> int:
        return sum(sum(side.sizes()) for room in self.rooms.values() for side in room.sides)

    def _check_rooms(self, now: float) -> None:
        if self.tally(now).rooms >= self.limits.rooms:
            raise Refusal(Kind.FULL, limit=Limit.ROOMS)

    def _check_bytes(self, size: int) -> None:
        if self._bytes() + size > self.limits.bytes:
            raise Refusal(Kind.FULL, limit=Limit.BYTES)

    def _shortage(self, side: ModelSide, message: bytes) -> Limit | None:
        if len(side.sizes()) >= self.limits.messages:
            return Limit.MESSAGES
        if sum(side.sizes()) + len(message) > self.limits.side_bytes:
            return Limit.SIDE_BYTES
        return Limit.BYTES if self._bytes() + len(message) > self.limits.bytes else None
