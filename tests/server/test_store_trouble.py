"""Stores that can't be had, or not just now: what a person is told."""

from __future__ import annotations

import sqlite3
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import redis
import trio

from p2ptun.errors import ConfigError
from p2ptun.server.refusal import Kind, Refusal
from p2ptun.server.store.base import Store
from p2ptun.server.store.choice import open_store
from p2ptun.server.store.memory import MemoryStore
from p2ptun.server.store.redis import PREFIX, RedisStore
from p2ptun.server.store.sqlite import APPLICATION_ID, VERSION, SqliteStore
from tests.free_port import free_port
from tests.server.redis_server import RedisServer
from tests.server.stores import Warnings

NOW = 1_790_000_000.0
ONE = sha256(b"one").digest()
PATIENCE = 15.0


def refusal(text: str) -> ConfigError:
    """Return why a store can't be opened."""
    with pytest.raises(ConfigError) as caught:
        open_store(text)
    assert caught.value.remedy
    return caught.value


async def kind(store: Store) -> Kind | None:
    """Tell why a room can't be opened; None when it can."""
    try:
        await store.claim(range(90), ONE, NOW)
    except Refusal as refused:
        return refused.kind
    return None


def test_each_text_opens_its_store(tmp_path: Path) -> None:
    stores: list[Store] = [
        open_store("memory"),
        open_store(f"sqlite:{tmp_path}/rooms.db"),
        open_store(f"redis://:secret@localhost:{free_port()}/0"),
        open_store(f"rediss://localhost:{free_port()}"),
        open_store("unix:///run/redis/redis.sock?db=3"),
    ]
    kinds = [MemoryStore, SqliteStore, RedisStore, RedisStore, RedisStore]
    assert [type(store) for store in stores] == kinds
    for store in stores:
        store.close()


@pytest.mark.parametrize("text", ["", "memory:", "sqlite", "sqlite:", "postgres://localhost", "/var/lib/rooms.db"])
def test_no_store(text: str) -> None:
    assert "is no store" in str(refusal(text))


@pytest.mark.parametrize("text", ["redis:", "redis:localhost", "redis://localhost:sec/ret@x", "redis://h/0?sec=ret"])
def test_no_url(text: str) -> None:
    error = refusal(text)
    assert "no URL of Redis" in str(error)
    assert "sec" not in str(error)  # it may be part of a password


def test_the_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    error = refusal("redis://localhost")
    assert "isn't installed" in str(error)
    assert error.remedy == "pip install 'p2ptun[redis]'"


def test_no_file_can_be_made(tmp_path: Path) -> None:
    assert "No such file or directory" in str(refusal(f"sqlite:{tmp_path}/nowhere/rooms.db"))
    assert "unable to open" in str(refusal(f"sqlite:{tmp_path}"))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    path.write_bytes(b"The quick brown fox jumps over the lazy dog. " * 100)
    assert "not a database" in str(refusal(f"sqlite:{path}"))
    assert path.read_bytes().startswith(b"The quick")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmark (url TEXT)")
    database.close()
    assert "another program's" in str(refusal(f"sqlite:{path}"))


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    open_store(f"sqlite:{path}").close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    error = refusal(f"sqlite:{path}")
    assert "newer p2ptun" in str(error)
    assert "Upgrade" in error.remedy


def test_a_file_that_is_not_ours_to_write(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    open_store(f"sqlite:{path}").close()
    with path.open("r+b") as file:
        file.seek(18)  # "file format write version": who knows only older ones may read, and root is told no too
        file.write(b"\3")
    assert "readonly" in str(refusal(f"sqlite:{path}"))


@pytest.mark.trio
async def test_a_full_disk_is_told_once_and_passes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "rooms.db")
    warnings = Warnings()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, lambda room: None, warnings)
        (pages,) = store._database.execute("PRAGMA page_count").fetchone()
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        room = await store.claim([0], ONE, NOW)
        assert room is not None
        for _ in range(2):
            with pytest.raises(Refusal) as caught:
                await store.post(room, ONE, bytes(16384), NOW)
            assert caught.value.kind is Kind.UNAVAILABLE
        assert len(warnings.sentences) == 1
        assert "full" in warnings.sentences[0]
        store._database.execute("PRAGMA max_page_count = 1000000")
        assert await store.post(room, ONE, bytes(16384), NOW) == 1
        nursery.cancel_scope.cancel()
    store.close()


@pytest.mark.trio
async def test_redis_that_is_not_there_yet_is_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RedisServer(tmp_path_factory.mktemp("late"))
    store = open_store(server.url)
    warnings = Warnings()
    is_back = trio.Event()

    def changed(room: str | None) -> None:
        assert room is None
        is_back.set()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run, changed, warnings)
            assert await kind(store) is Kind.UNAVAILABLE
            assert not is_back.is_set()
            server.start()
            with trio.fail_after(PATIENCE):
                await is_back.wait()
            assert await kind(store) is None
            nursery.cancel_scope.cancel()
        assert len(warnings.sentences) == 1
    finally:
        store.close()
        server.kill()


@pytest.mark.trio
async def test_redis_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptun.server.store.redis.PATIENCE", 0.05)
    port = free_port()
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    store = open_store(f"redis://127.0.0.1:{port}")
    warnings = Warnings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, hold, listeners)
        await nursery.start(store.run, lambda room: None, warnings)
        assert await kind(store) is Kind.UNAVAILABLE
        nursery.cancel_scope.cancel()
    store.close()
    assert len(warnings.sentences) == 1


async def hold(stream: trio.SocketStream) -> None:
    """Take everything, and answer nothing."""
    async with stream:
        async for _ in stream:
            pass


def test_redis_that_refuses_us(redis_server: RedisServer) -> None:
    for text in (redis_server.url.replace("unix://", "unix://:secret@"), f"{redis_server.url}?db=99"):
        error = refusal(text)
        assert "Redis refuses us" in str(error)
        assert "secret" not in str(error)


@pytest.mark.trio
async def test_redis_that_has_no_memory_left_is_told_once_and_passes(redis_server: RedisServer) -> None:
    redis_server.clear()
    store = open_store(redis_server.url)
    warnings = Warnings()
    with redis.Redis.from_url(redis_server.url) as client:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run, lambda room: None, warnings)
                client.config_set("maxmemory", 1)
                assert await kind(store) is Kind.UNAVAILABLE
                assert await kind(store) is Kind.UNAVAILABLE
                client.config_set("maxmemory", 0)
                assert await kind(store) is None
                nursery.cancel_scope.cancel()
        finally:
            client.config_set("maxmemory", 0)
    store.close()
    assert len(warnings.sentences) == 1
    assert "maxmemory" in warnings.sentences[0]


@pytest.mark.trio
async def test_everything_in_redis_goes_by_itself_when_no_server_is_left(redis_server: RedisServer) -> None:
    redis_server.clear()
    store = open_store(redis_server.url)
    room = await store.claim([0], ONE, NOW)
    assert room is not None
    await store.join(room, bytes(32), b"hello", NOW)
    await store.post(room, ONE, b"hello", NOW)
    await store.claim([1], ONE, NOW)
    await store.sweep(NOW)
    store.close()
    with redis.Redis.from_url(redis_server.url) as client:
        rooms = {key: client.pttl(key) for key in client.scan_iter(f"{PREFIX}:[rm]o*")}
        rooms |= {key: client.pttl(key) for key in client.scan_iter(f"{PREFIX}:mail:*")}
        others = {key: client.pttl(key) for key in client.scan_iter() if key not in rooms}
    assert len(rooms) == 4
    assert len(others) == 3
    assert 0 < min(others.values()) <= max(others.values()) < min(rooms.values())
