"""Rooms in this process's memory: the fastest store, and gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

import trio

from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import (
    SWEEP_SIZE,
    Changed,
    Entry,
    RoomLimits,
    Tally,
    Warn,
    is_numbered,
    number_of,
    side_of,
)

_SPARE_DEADLINES = 1024


class _Side:
    """A side and its mailbox. Without a digest nobody has taken it, but there may be something for whoever does."""

    __slots__ = ("digest", "entries", "last", "read", "seen_at", "size")

    def __init__(self) -> None:
        self.digest: bytes | None = None
        self.seen_at = 0.0
        self.entries: list[Entry] = []
        self.last = 0
        self.read = 0
        self.size = 0

    def put(self, body: bytes | None, notice: Notice | None = None) -> int:
        """Add an entry; return its sequence number."""
        self.last += 1
        self.entries.append(Entry(self.last, body, notice))
        self.size += len(body or b"")
        return self.last

    def notice(self, notice: Notice) -> None:
        """Add a notice in place of an older one of the same kind."""
        self.keep(lambda each: each.notice is not notice)
        self.put(None, notice)

    def keep(self, is_kept: Callable[[Entry], bool]) -> None:
        """Forget the other entries."""
        self.entries = [each for each in self.entries if is_kept(each)]
        self.size = sum(len(each.body or b"") for each in self.entries)

    def count(self) -> int:
        """Count the messages."""
        return sum(each.body is not None for each in self.entries)


class _Room:
    """A room: live while it has sides, until `due_at`; then it cools down until a later `due_at`."""

    __slots__ = ("due_at", "is_crowded", "name", "opened_at", "reason", "sides")

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.opened_at = now
        self.due_at = now
        self.reason: BurnReason | None = None
        self.is_crowded = False
        self.sides: tuple[_Side, ...] = (_Side(), _Side())

    def find(self, digest: bytes) -> int | None:
        """Find the side that a token is."""
        return side_of([side.digest for side in self.sides], digest)

    def find_free(self) -> int | None:
        """Find a side that nobody has taken."""
        return next((number for number, side in enumerate(self.sides) if side.digest is None), None)


class MemoryStore:
    """A Store. Its operations never wait, so that each is atomic."""

    def __init__(self, limits: RoomLimits | None = None) -> None:
        self.limits = limits or RoomLimits()
        self._rooms: dict[str, _Room] = {}
        self._deadlines: list[tuple[float, str]] = []  # a heap; a room may be due later than it says
        self._numbered = 0
        self._named = 0
        self._bytes = 0

    async def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        """Open a numbered room."""
        self._check_rooms(now)
        rooms = len(self._rooms)
        for draw in draws:
            name = number_of(draw, rooms)
            if self._settled(name, now) is None:
                room = self._make(name, now)
                room.sides[0].digest = digest
                self._touch(room, 0, now)
                return name
        return None

    async def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Become the second side of a numbered room."""
        found = self._live(room, now)
        opener, joiner = found.sides
        if (side := found.find(digest)) is not None:
            if side == 0:
                raise Refusal(Kind.UNAUTHORIZED)
            self._touch(found, 1, now)
            return joiner.entries.copy()
        if joiner.digest is not None:
            raise self._crowded(found)
        self._check_bytes(len(message))
        joiner.digest = digest
        opener.notice(Notice.JOINED)
        self._put(opener, message)
        self._touch(found, 1, now)
        return joiner.entries.copy()

    async def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Be a side of a named room."""
        if self._settled(room, now) is None:
            self._check_rooms(now)
            self._check_bytes(len(message))
            found = self._make(room, now)
        else:
            found = self._live(room, now)
        side = found.find(digest)
        if side is None:
            side = found.find_free()
        if side is None:
            raise self._crowded(found)
        own, other = found.sides[side], found.sides[1 - side]
        self._check_bytes(len(message) - other.size)
        self._keep(other, lambda entry: entry.body is None)
        if own.digest is None and other.digest is not None:
            other.notice(Notice.JOINED)
        own.digest = digest
        own.read = 0
        self._put(other, message)
        self._touch(found, side, now)
        return own.entries.copy()

    async def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        """Leave a message."""
        found, side = self._side(room, digest, now)
        other = found.sides[1 - side]
        if self._shortage(other, message) is not None:
            self._keep(other, lambda entry: entry.sequence > other.read)
            if (limit := self._shortage(other, message)) is not None:
                raise Refusal(Kind.FULL, limit=limit)
        self._touch(found, side, now)
        return self._put(other, message)

    async def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        """Return what is new."""
        found, side = self._side(room, digest, now)
        own = found.sides[side]
        own.read = max(own.read, min(after, own.last))
        self._touch(found, side, now)
        if after >= own.last:
            return []
        return [entry for entry in own.entries if entry.sequence > after]

    async def touch(self, room: str, digest: bytes, now: float) -> None:
        """Note a sign of life."""
        found, side = self._side(room, digest, now)
        self._touch(found, side, now)

    async def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        """End a room."""
        found, _ = self._side(room, digest, now)
        found.reason = reason
        self._cool(found, now)
        self._schedule(found)

    async def tally(self, now: float) -> Tally:
        """Count what is there."""
        await self.sweep(now)
        return Tally(self._numbered, self._named, len(self._rooms) - self._numbered - self._named, self._bytes)

    async def sweep(self, now: float) -> None:
        """Forget what is over."""
        while self._sweep(now):
            await trio.lowlevel.checkpoint()

    async def run(
        self, changed: Changed, warn: Warn, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Do nothing: nobody else changes this memory."""
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        """Do nothing: there are neither files nor connections."""

    def _settled(self, name: str, now: float) -> _Room | None:
        """Find a room, as it has become by now: live, cooling down, or gone."""
        room = self._rooms.get(name)
        if room is None or now < room.due_at:
            return room
        if room.sides and is_numbered(name):
            self._cool(room, room.due_at)
            if now < room.due_at:
                return room
        self._drop(room)
        del self._rooms[name]
        return None

    def _live(self, name: str, now: float) -> _Room:
        """Find a live room; in a named one forget the sides that have been silent."""
        room = self._settled(name, now)
        if room is None or not (room.sides or room.reason):
            raise Refusal(Kind.UNKNOWN)
        if not room.sides:
            raise Refusal(Kind.BURNT, reason=room.reason)
        if not is_numbered(name):
            for side, other in (room.sides, room.sides[::-1]):
                if side.digest is not None and side.seen_at + self.limits.ttl <= now:
                    side.digest = None
                    side.read = 0
                    self._keep(other, lambda entry: entry.body is None)
        return room

    def _side(self, name: str, digest: bytes, now: float) -> tuple[_Room, int]:
        """Find a live room and the side of it that a token is."""
        room = self._live(name, now)
        side = room.find(digest)
        if side is None:
            raise Refusal(Kind.UNAUTHORIZED)
        return room, side

    def _make(self, name: str, now: float) -> _Room:
        room = self._rooms[name] = _Room(name, now)
        if is_numbered(name):
            self._numbered += 1
        else:
            self._named += 1
        room.due_at = self._due_at(room, now)
        self._schedule(room)
        return room

    def _due_at(self, room: _Room, now: float) -> float:
        """Tell how long a room lives that has shown a sign of life."""
        due_at = now + self.limits.ttl
        return min(due_at, room.opened_at + self.limits.lifetime) if is_numbered(room.name) else due_at

    def _touch(self, room: _Room, side: int, now: float) -> None:
        """Note a sign of life. The heap hears of it when the room's old deadline comes up."""
        room.sides[side].seen_at = now
        room.due_at = self._due_at(room, now)

    def _put(self, side: _Side, message: bytes) -> int:
        self._bytes += len(message)
        return side.put(message) if message else side.last

    def _keep(self, side: _Side, is_kept: Callable[[Entry], bool]) -> None:
        self._bytes -= side.size
        side.keep(is_kept)
        self._bytes += side.size

    def _crowded(self, room: _Room) -> Refusal:
        """Notice a third one."""
        if not room.is_crowded:
            room.is_crowded = True
            for side in room.sides:
                side.notice(Notice.CROWDED)
        return Refusal(Kind.CROWDED)

    def _cool(self, room: _Room, now: float) -> None:
        """Forget all of a room but why it was burnt, if it was."""
        self._drop(room)
        room.due_at = now + self.limits.cooldown

    def _drop(self, room: _Room) -> None:
        """Forget the sides of a room, and what lies there."""
        if room.sides:
            self._bytes -= sum(side.size for side in room.sides)
            room.sides = ()
            if is_numbered(room.name):
                self._numbered -= 1
            else:
                self._named -= 1

    def _schedule(self, room: _Room) -> None:
        """Look at a room again when it is due. Each has a deadline in the heap; of those left over there are few."""
        heappush(self._deadlines, (room.due_at, room.name))
        if len(self._deadlines) > 2 * len(self._rooms) + _SPARE_DEADLINES:
            self._deadlines = [(each.due_at, each.name) for each in self._rooms.values()]
            heapify(self._deadlines)

    def _sweep(self, now: float) -> bool:
        """Look at the first that are due; tell whether more are."""
        for _ in range(SWEEP_SIZE):
            if not self._deadlines or now < self._deadlines[0][0]:
                return False
            _, name = heappop(self._deadlines)
            room = self._settled(name, now)
            if room is not None:
                heappush(self._deadlines, (room.due_at, name))
        return True

    def _check_rooms(self, now: float) -> None:
        self._sweep(now)
        if len(self._rooms) >= self.limits.rooms:
            raise Refusal(Kind.FULL, limit=Limit.ROOMS)

    def _check_bytes(self, size: int) -> None:
        if self._bytes + size > self.limits.bytes:
            raise Refusal(Kind.FULL, limit=Limit.BYTES)

    def _shortage(self, side: _Side, message: bytes) -> Limit | None:
        """Tell which limit one more message in a mailbox would break."""
        if side.count() >= self.limits.messages:
            return Limit.MESSAGES
        if side.size + len(message) > self.limits.share(self._bytes):
            return Limit.SIDE_BYTES
        if self._bytes + len(message) > self.limits.bytes:
            return Limit.BYTES
        return None
