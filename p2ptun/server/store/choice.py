"""Which store `--store` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from p2ptun.errors import ConfigError
from p2ptun.server.store.base import RoomLimits, Store

_REDIS: Final = ("redis:", "rediss:", "unix:")
_REMEDY: Final = "Use memory, sqlite:FILE, redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix:///path/to/redis.sock."


def open_store(text: str, limits: RoomLimits | None = None) -> Store:
    """Open the store that a text names: `memory`, `sqlite:FILE`, `redis://...`, `rediss://...` or `unix://...`.

    Raises:
        ConfigError: When there is no such store, or it can't be used. A server that isn't there yet is waited for.
    """
    limits = limits or RoomLimits()
    scheme, _, rest = text.partition(":")
    if text == "memory":
        from p2ptun.server.store.memory import MemoryStore

        return MemoryStore(limits)
    if scheme == "sqlite" and rest:
        from p2ptun.server.store.sqlite import SqliteStore

        return SqliteStore(Path(rest), limits)
    if text.startswith(_REDIS):
        from p2ptun.server.store.redis import RedisStore

        return RedisStore(text, limits)
    raise ConfigError("", "--store", f"{scheme!r} is no store", _REMEDY)
