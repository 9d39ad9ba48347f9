"""Rooms as tables of SQL: each operation is what one transaction does. No file, thread or clock here."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import SWEEP_SIZE, Entry, RoomLimits, Tally, is_numbered, number_of, side_of

SCHEMA: Final = """
CREATE TABLE room (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,            -- numbered, named (both live), or cooling
    opened_at REAL NOT NULL,        -- Unix time, like all times here
    due_at REAL NOT NULL,           -- when a live room is over, and a cooling one forgotten
    is_crowded INTEGER NOT NULL DEFAULT 0,
    reason TEXT                     -- why a cooling room was burnt, if it was
) WITHOUT ROWID;
CREATE INDEX room_due ON room (due_at);

CREATE TABLE side (                 -- two of each live room
    room TEXT NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB,                    -- SHA-256 of the token's secret; null while nobody has taken the side
    seen_at REAL NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,  -- sequence number of the mailbox's last entry
    read INTEGER NOT NULL DEFAULT 0,  -- and of the last that was read
    PRIMARY KEY (room, number)
) WITHOUT ROWID;

CREATE TABLE entry (                -- of the mailbox of `side`
    room TEXT NOT NULL,
    side INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    body BLOB,                      -- a message of the other side, sealed
    notice TEXT                     -- or a notice
);
CREATE UNIQUE INDEX entry_place ON entry (room, side, sequence);

CREATE TABLE tally (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO tally VALUES ('numbered', 0), ('named', 0), ('cooling', 0), ('bytes', 0);
CREATE TRIGGER room_made AFTER INSERT ON room BEGIN
    UPDATE tally SET count = count + 1 WHERE what = new.state;
END;
CREATE TRIGGER room_forgotten AFTER DELETE ON room BEGIN
    UPDATE tally SET count = count - 1 WHERE what = old.state;
END;
CREATE TRIGGER room_cooled AFTER UPDATE OF state ON room BEGIN
    UPDATE tally SET count = count - 1 WHERE what = old.state;
    UPDATE tally SET count = count + 1 WHERE what = new.state;
END;
CREATE TRIGGER message_left AFTER INSERT ON entry WHEN new.body IS NOT NULL BEGIN
    UPDATE tally SET count = count + length(new.body) WHERE what = 'bytes';
END;
CREATE TRIGGER message_forgotten AFTER DELETE ON entry WHEN old.body IS NOT NULL BEGIN
    UPDATE tally SET count = count - length(old.body) WHERE what = 'bytes';
END;
"""

_COOLING: Final = "cooling"


class _Room(NamedTuple):
    state: str
    opened_at: float
    due_at: float
    is_crowded: int
    reason: str | None


class _Side(NamedTuple):
    digest: bytes | None
    seen_at: float
    last: int
    read: int


class Tables:
    """The operations of a Store, for whoever holds a transaction that may write.

    A Refusal ends an operation that did nothing, or all that it was to do: commit after it too.
    """

    def __init__(self, database: sqlite3.Connection, limits: RoomLimits) -> None:
        self._database = database
        self._limits = limits

    def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        """Open a numbered room."""
        self._check_rooms(now)
        rooms = self.tally().rooms
        for draw in draws:
            name = number_of(draw, rooms)
            if self._settled(name, now) is None:
                self._make(name, now)
                self._take(name, 0, digest)
                self._touch(name, 0, now)
                return name
        return None

    def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Become the second side of a numbered room."""
        found, sides = self._live(room, now)
        if (side := side_of([each.digest for each in sides], digest)) is not None:
            if side == 0:
                raise Refusal(Kind.UNAUTHORIZED)
            self._touch(room, 1, now)
            return self._entries(room, 1, 0)
        if sides[1].digest is not None:
            raise self._crowded(room, found)
        self._check_bytes(len(message))
        self._take(room, 1, digest)
        self._notice(room, 0, Notice.JOINED)
        self._put(room, 0, message)
        self._touch(room, 1, now)
        return self._entries(room, 1, 0)

    def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Be a side of a named room."""
        if self._settled(room, now) is None:
            self._check_rooms(now)
            self._check_bytes(len(message))
            self._make(room, now)
        found, sides = self._live(room, now)
        side = side_of([each.digest for each in sides], digest)
        if side is None:
            side = next((number for number, each in enumerate(sides) if each.digest is None), None)
        if side is None:
            raise self._crowded(room, found)
        _, left = self._load(room, 1 - side)
        self._check_bytes(len(message) - left)
        self._forget_messages(room, 1 - side)
        if sides[side].digest is None and sides[1 - side].digest is not None:
            self._notice(room, 1 - side, Notice.JOINED)
        self._take(room, side, digest)
        self._put(room, 1 - side, message)
        self._touch(room, side, now)
        return self._entries(room, side, 0)

    def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        """Leave a message."""
        sides, side = self._side(room, digest, now)
        if self._shortage(room, 1 - side, message) is not None:
            read = sides[1 - side].read
            self._run("DELETE FROM entry WHERE room = ? AND side = ? AND sequence <= ?", room, 1 - side, read)
            if (limit := self._shortage(room, 1 - side, message)) is not None:
                raise Refusal(Kind.FULL, limit=limit)
        self._touch(room, side, now)
        return self._put(room, 1 - side, message)

    def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        """Return what is new."""
        sides, side = self._side(room, digest, now)
        read = max(sides[side].read, min(after, sides[side].last))
        self._touch(room, side, now)
        if read != sides[side].read:
            self._run("UPDATE side SET read = ? WHERE room = ? AND number = ?", read, room, side)
        return self._entries(room, side, after) if after < sides[side].last else []

    def touch(self, room: str, digest: bytes, now: float) -> None:
        """Note a sign of life."""
        _, side = self._side(room, digest, now)
        self._touch(room, side, now)

    def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        """End a room."""
        self._side(room, digest, now)
        self._cool(room, now, reason.value)

    def tally(self) -> Tally:
        """Count what is there."""
        counts = dict(self._run("SELECT what, count FROM tally"))
        return Tally(counts["numbered"], counts["named"], counts[_COOLING], counts["bytes"])

    def sweep(self, now: float) -> bool:
        """Forget the first that are over; tell whether there may be more."""
        due = self._run("SELECT name FROM room WHERE due_at <= ? ORDER BY due_at LIMIT ?", now, SWEEP_SIZE)
        names = [name for (name,) in due]
        for name in names:
            self._settled(name, now)
        return len(names) == SWEEP_SIZE

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def _settled(self, name: str, now: float) -> _Room | None:
        """Find a room, as it has become by now: live, cooling down, or gone."""
        row = self._run("SELECT state, opened_at, due_at, is_crowded, reason FROM room WHERE name = ?", name)
        room = next(map(_Room._make, row), None)
        if room is None or now < room.due_at:
            return room
        if room.state == "numbered":
            self._cool(name, room.due_at, None)
            return self._settled(name, now)
        self._empty(name)
        self._run("DELETE FROM room WHERE name = ?", name)
        return None

    def _live(self, name: str, now: float) -> tuple[_Room, list[_Side]]:
        """Find a live room and its sides; in a named one forget those that have been silent."""
        room = self._settled(name, now)
        if room is None or (room.state == _COOLING and room.reason is None):
            raise Refusal(Kind.UNKNOWN)
        if room.state == _COOLING:
            raise Refusal(Kind.BURNT, reason=BurnReason(room.reason))
        sides = self._sides(name)
        if is_numbered(name):
            return room, sides
        silent = [
            number
            for number, side in enumerate(sides)
            if side.digest is not None and side.seen_at + self._limits.ttl <= now
        ]
        for number in silent:
            self._run("UPDATE side SET digest = NULL, read = 0 WHERE room = ? AND number = ?", name, number)
            self._forget_messages(name, 1 - number)
        return room, self._sides(name) if silent else sides

    def _sides(self, name: str) -> list[_Side]:
        rows = self._run("SELECT digest, seen_at, last, read FROM side WHERE room = ? ORDER BY number", name)
        return list(map(_Side._make, rows))

    def _side(self, name: str, digest: bytes, now: float) -> tuple[list[_Side], int]:
        """Find the sides of a live room and which of them a token is."""
        _, sides = self._live(name, now)
        side = side_of([each.digest for each in sides], digest)
        if side is None:
            raise Refusal(Kind.UNAUTHORIZED)
        return sides, side

    def _make(self, name: str, now: float) -> None:
        state = "numbered" if is_numbered(name) else "named"
        values = name, state, now, now + self._limits.ttl
        self._run("INSERT INTO room (name, state, opened_at, due_at) VALUES (?, ?, ?, ?)", *values)
        self._run("INSERT INTO side (room, number) VALUES (?, 0), (?, 1)", name, name)

    def _take(self, name: str, side: int, digest: bytes) -> None:
        """Let a token be a side, which begins to read anew."""
        self._run("UPDATE side SET digest = ?, read = 0 WHERE room = ? AND number = ?", digest, name, side)

    def _touch(self, name: str, side: int, now: float) -> None:
        """Note a sign of life."""
        self._run("UPDATE side SET seen_at = ? WHERE room = ? AND number = ?", now, name, side)
        self._run(
            "UPDATE room SET due_at = iif(state = 'numbered', min(?1, opened_at + ?2), ?1) WHERE name = ?3",
            now + self._limits.ttl,
            self._limits.lifetime,
            name,
        )

    def _put(self, name: str, side: int, message: bytes | None, notice: Notice | None = None) -> int:
        """Add an entry to a side's mailbox, unless it is an empty message; return the last one's number."""
        if message != b"":
            self._run("UPDATE side SET last = last + 1 WHERE room = ? AND number = ?", name, side)
        sequence = self._sides(name)[side].last
        if message != b"":
            values = name, side, sequence, message, notice.value if notice else None
            self._run("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", *values)
        return sequence

    def _notice(self, name: str, side: int, notice: Notice) -> None:
        """Add a notice in place of an older one of the same kind."""
        self._run("DELETE FROM entry WHERE room = ? AND side = ? AND notice = ?", name, side, notice.value)
        self._put(name, side, None, notice)

    def _entries(self, name: str, side: int, after: int) -> list[Entry]:
        """Read a side's mailbox."""
        query = (
            "SELECT sequence, body, notice FROM entry WHERE room = ? AND side = ? AND sequence > ? ORDER BY sequence"
        )
        rows = self._run(query, name, side, after)
        return [Entry(sequence, body, Notice(notice) if notice else None) for sequence, body, notice in rows]

    def _forget_messages(self, name: str, side: int) -> None:
        """Forget the messages in a side's mailbox, but no notice."""
        self._run("DELETE FROM entry WHERE room = ? AND side = ? AND body IS NOT NULL", name, side)

    def _crowded(self, name: str, room: _Room) -> Refusal:
        """Notice a third one."""
        if not room.is_crowded:
            self._run("UPDATE room SET is_crowded = 1 WHERE name = ?", name)
            for side in (0, 1):
                self._notice(name, side, Notice.CROWDED)
        return Refusal(Kind.CROWDED)

    def _cool(self, name: str, now: float, reason: str | None) -> None:
        """Forget all of a room but why it was burnt, if it was."""
        self._empty(name)
        self._run(
            "UPDATE room SET state = 'cooling', due_at = ?, reason = ? WHERE name = ?",
            now + self._limits.cooldown,
            reason,
            name,
        )

    def _empty(self, name: str) -> None:
        """Forget the sides of a room, and what lies there."""
        self._run("DELETE FROM entry WHERE room = ?", name)
        self._run("DELETE FROM side WHERE room = ?", name)

    def _load(self, name: str, side: int) -> tuple[int, int]:
        """Count the messages in a side's mailbox, and their bytes."""
        query = "SELECT count(body), coalesce(sum(length(body)), 0) FROM entry WHERE room = ? AND side = ?"
        count, size = self._run(query, name, side).fetchone()
        return count, size

    def _check_rooms(self, now: float) -> None:
        self.sweep(now)
        if self.tally().rooms >= self._limits.rooms:
            raise Refusal(Kind.FULL, limit=Limit.ROOMS)

    def _check_bytes(self, size: int) -> None:
        if self.tally().bytes + size > self._limits.bytes:
            raise Refusal(Kind.FULL, limit=Limit.BYTES)

    def _shortage(self, name: str, side: int, message: bytes) -> Limit | None:
        """Tell which limit one more message in a mailbox would break."""
        count, size = self._load(name, side)
        if count >= self._limits.messages:
            return Limit.MESSAGES
        used = self.tally().bytes
        if size + len(message) > self._limits.share(used):
            return Limit.SIDE_BYTES
        return Limit.BYTES if used + len(message) > self._limits.bytes else None
