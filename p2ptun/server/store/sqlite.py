"""Rooms in an SQLite file: they outlast the process, and the machine's restart.

Several processes may use one file at once and nothing goes wrong, but none wakes the polls of another: a message waits
until they ask again. Redis is for several.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.base import BurnReason
from p2ptun.server.refusal import Kind, Refusal
from p2ptun.server.store.base import Changed, Entry, RoomLimits, Tally, Warn
from p2ptun.server.store.table import SCHEMA, Tables

ResultT = TypeVar("ResultT")

VERSION: Final = 1
APPLICATION_ID: Final = 0x70327074  # "p2pt", in the file's header: this is no other program's

_PATIENCE: Final = 5.0
"""Seconds to wait while another process writes. A transaction takes less than a millisecond."""

_MOST_LOG: Final = 16 * 1024 * 1024
"""Bytes that the log of the last changes keeps of the disk when it is empty."""


class SqliteStore:
    """A Store. One thread at a time does one transaction, off the loop."""

    def __init__(self, path: Path, limits: RoomLimits | None = None) -> None:
        """Open the file, or make it.

        Raises:
            ConfigError: When the file can't be made or written, or is another program's or another version's.
        """
        self.limits = limits or RoomLimits()
        self._path = path
        self._database = _open(path)
        self._tables = Tables(self._database, self.limits)
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._warn: Warn = lambda message, remedy: None
        self._is_failing = False
        self._is_closed = False

    async def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        """Open a numbered room."""
        return await self._do(partial(self._tables.claim, draws, digest, now))

    async def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Become the second side of a numbered room."""
        return await self._do(partial(self._tables.join, room, digest, message, now))

    async def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Be a side of a named room."""
        return await self._do(partial(self._tables.enter, room, digest, message, now))

    async def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        """Leave a message."""
        return await self._do(partial(self._tables.post, room, digest, message, now))

    async def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        """Return what is new."""
        return await self._do(partial(self._tables.read, room, digest, after, now))

    async def touch(self, room: str, digest: bytes, now: float) -> None:
        """Note a sign of life."""
        await self._do(partial(self._tables.touch, room, digest, now))

    async def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        """End a room."""
        await self._do(partial(self._tables.burn, room, digest, reason, now))

    async def tally(self, now: float) -> Tally:
        """Count what is there."""
        await self.sweep(now)
        return await self._do(self._tables.tally)

    async def sweep(self, now: float) -> None:
        """Forget what is over."""
        while await self._do(partial(self._tables.sweep, now)):
            pass

    async def run(
        self, changed: Changed, warn: Warn, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep whom to tell of a disk that is full."""
        self._warn = warn
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        """Close the file."""
        self._is_closed = True
        if not self._one_at_a_time.borrowed_tokens:  # else whoever is at it does
            self._database.close()

    async def _do(self, operation: Callable[[], ResultT]) -> ResultT:
        """Do an operation in a transaction of its own, in a thread."""
        try:
            result = await trio.to_thread.run_sync(self._transact, operation, limiter=self._one_at_a_time)
        except sqlite3.Error as error:
            self._fail(error)
            raise Refusal(Kind.UNAVAILABLE) from error
        self._is_failing = False
        return result

    def _transact(self, operation: Callable[[], ResultT]) -> ResultT:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                result = operation()
            except Refusal:
                self._database.execute("COMMIT")
                raise
            self._database.execute("COMMIT")
            return result
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # there may be no transaction, or no disk for one
                self._database.execute("ROLLBACK")
            raise
        finally:
            if self._is_closed:
                self._database.close()

    def _fail(self, error: sqlite3.Error) -> None:
        """Tell once that rooms can't be kept, until they can."""
        if not self._is_failing and not self._is_closed:
            self._is_failing = True
            self._warn(f"Rooms can't be kept in {self._path}: {error}.", "Look at the disk: df -h; ls -l")


def _open(path: Path) -> sqlite3.Connection:
    """Open the file with the schema in it. Raises ConfigError."""
    try:
        _make_private(path)
        database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            _prepare(database, path)
        except BaseException:
            database.close()
            raise
    except OSError as error:
        raise _config_error(path, error.strerror or str(error), "Name a file in a directory that exists.") from error
    except sqlite3.Error as error:
        remedy = "Name another file, or one that this user may write, in a directory likewise."
        raise _config_error(path, str(error), remedy) from error
    return database


def _make_private(path: Path) -> None:
    """Make the file for this user only, unless it is there; SQLite gives its companions the same rights."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables unless they are there, and see that this process may write them."""
    database.execute(f"PRAGMA journal_size_limit = {_MOST_LOG}")
    database.execute("PRAGMA synchronous = NORMAL")  # whole after a power cut; a process that dies loses nothing
    database.execute("BEGIN IMMEDIATE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (objects,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or objects or version):
        raise _config_error(path, "is another program's database", "Name another file.")
    if version > VERSION:
        remedy = "Upgrade p2ptun, or name another file."
        raise _config_error(path, f"was written by a newer p2ptun (schema {version}, this is {VERSION})", remedy)
    if version == 0:
        for statement in _statements(SCHEMA):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")  # an old one is written too: this fails where nothing can be
    database.execute("COMMIT")
    with suppress(sqlite3.OperationalError):  # another process is at it
        database.execute("PRAGMA journal_mode = WAL")


def _statements(script: str) -> list[str]:
    """Part a script into statements, so that they run in the transaction that is open."""
    found, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return found


def _config_error(path: Path, problem: str, remedy: str) -> ConfigError:
    return ConfigError("", f"--store sqlite:{path}", problem, remedy)
