"""Stores to test with: one Redis for all tests of a process, and a file of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.redis_server import RedisServer
from tests.server.stores import MemoryShelf, RedisShelf, Shelf, SqliteShelf


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A place for stores, empty."""
    match request.param:
        case "memory":
            return MemoryShelf()
        case "sqlite":
            return SqliteShelf(tmp_path_factory.mktemp("sqlite"))
        case _:
            server: RedisServer = request.getfixturevalue("redis_server")
            server.clear()
            return RedisShelf(server)


@pytest.fixture(params=["sqlite", "redis"])
def lasting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A place for stores that outlast a process, and that several share; empty."""
    if request.param == "sqlite":
        return SqliteShelf(tmp_path_factory.mktemp("sqlite"))
    server: RedisServer = request.getfixturevalue("redis_server")
    server.clear()
    return RedisShelf(server)
