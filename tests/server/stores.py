"""The places in which stores keep rooms, so that a test runs on all of them."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

import trio

from p2ptun.server.rooms import Rooms
from p2ptun.server.store.base import RoomLimits, Store
from p2ptun.server.store.choice import open_store
from tests.server.redis_server import RedisServer


class Shelf(Protocol):
    """Where stores are. Each `open` is one process's view of the same rooms, where they outlast a process."""

    @property
    def text(self) -> str: ...

    def open(self, limits: RoomLimits | None = None) -> Store: ...

    def clear(self) -> None:
        """Forget every room. No store is open."""
        ...

    def held(self, store: Store) -> bytes:
        """Return all that is held there."""
        ...


class MemoryShelf:
    """Every store is another."""

    text = "memory"

    def open(self, limits: RoomLimits | None = None) -> Store:
        return open_store(self.text, limits)

    def clear(self) -> None:
        pass

    def held(self, store: Store) -> bytes:
        """Walk all that the store refers to, but for classes, modules and functions."""
        seen: set[int] = set()
        found: list[bytes] = []
        todo: list[object] = [store]
        while todo:
            each = todo.pop()
            if id(each) in seen or isinstance(each, type | ModuleType) or callable(each):
                continue
            seen.add(id(each))
            if isinstance(each, bytes | str):
                found.append(each if isinstance(each, bytes) else each.encode())
            todo += gc.get_referents(each)
        return b"\0".join(found)


@dataclass
class SqliteShelf:
    """A file."""

    directory: Path
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = f"sqlite:{self.directory / 'rooms.db'}"

    def open(self, limits: RoomLimits | None = None) -> Store:
        return open_store(self.text, limits)

    def clear(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()

    def held(self, store: Store) -> bytes:
        return b"\0".join(path.read_bytes() for path in self.directory.iterdir())


@dataclass
class RedisShelf:
    """A server."""

    server: RedisServer

    @property
    def text(self) -> str:
        return self.server.url

    def open(self, limits: RoomLimits | None = None) -> Store:
        return open_store(self.text, limits)

    def clear(self) -> None:
        self.server.clear()

    def held(self, store: Store) -> bytes:
        return self.server.held()


class Warnings:
    """Keeps what a store warns of."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __call__(self, message: str, remedy: str) -> None:
        self.sentences.append(message)


@asynccontextmanager
async def running(store: Store, **options: object) -> AsyncIterator[Rooms]:
    """Run the rooms of a store for as long as the context lasts."""
    rooms = Rooms(store, **options)  # type: ignore[arg-type]  # whatever the test gives
    async with trio.open_nursery() as nursery:
        await nursery.start(rooms.run)
        yield rooms
        nursery.cancel_scope.cancel()
