"""Rooms in Redis, or Valkey: any number of processes serve them together.

Each operation is one run of `rooms.lua`, in one of a few threads, since the library is synchronous. One more thread
listens for what other processes change and wakes the polls that wait here: they need no thread, nor any connection.

While Redis is away operations are refused at once, and the listener tries to come back. It keeps trying for ever.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Sequence
from importlib import resources
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import trio

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import (
    FEWEST_NUMBERS,
    NAME_LENGTH,
    NUMBERS_PER_ROOM,
    SWEEP_SIZE,
    Changed,
    Entry,
    RoomLimits,
    Tally,
    Warn,
)
from p2ptun.signal.text import printable

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

PREFIX: Final = "p2ptun:{rooms}"
CHANNEL: Final = f"{PREFIX}:changed"

THREADS: Final = 8
"""Operations at a time. Redis does one; the others are on their way."""

PATIENCE: Final = 5.0
"""Seconds until an answer, or a connection, is given up."""

FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 5.0
"""Seconds between two attempts to come back: twice as many each time."""

_LISTENING_TIME: Final = 1.0
"""Seconds that the listener hears nothing before it looks whether an operation has found Redis gone."""

_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""A listener says nothing, and would not notice that the other machine is gone."""

_MOST_AT_ONCE: Final = 1000
_REMEDY: Final = "Rooms go on once it is back. Look whether it runs, and what its log says: redis-cli ping"


class RedisStore:
    """A Store. `run` must run: it is what finds Redis again when it was away."""

    def __init__(self, url: str, limits: RoomLimits | None = None) -> None:
        """Look whether the Redis of a URL lets us in. If it isn't there, `run` waits for it.

        Raises:
            ConfigError: When the library isn't installed, the URL is bad, or Redis refuses us.
        """
        self.limits = limits or RoomLimits()
        self._redis = _library()
        self._client = _client(self._redis, url)
        _check(self._redis, self._client)
        source = resources.files("p2ptun.server.store").joinpath("rooms.lua").read_text("utf-8")
        self._script = self._client.register_script(source)
        self._encoded_limits = _encode(self.limits)
        self._caller = os.urandom(16).hex()
        self._threads = trio.CapacityLimiter(THREADS)
        self._warn: Warn = lambda message, remedy: None
        self._is_there = True
        self._is_failing = False
        self._is_closed = False

    async def claim(self, draws: Sequence[int], digest: bytes, now: float) -> str | None:
        """Open a numbered room."""
        answer = await self._do("claim", now, digest, *draws)
        return answer[0].decode() if answer else None

    async def join(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Become the second side of a numbered room."""
        (entries,) = await self._do("join", now, room, digest, message)
        return _entries(entries)

    async def enter(self, room: str, digest: bytes, message: bytes, now: float) -> list[Entry]:
        """Be a side of a named room."""
        (entries,) = await self._do("enter", now, room, digest, message)
        return _entries(entries)

    async def post(self, room: str, digest: bytes, message: bytes, now: float) -> int:
        """Leave a message."""
        (sequence,) = await self._do("post", now, room, digest, message)
        return int(sequence)

    async def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
        """Return what is new."""
        (entries,) = await self._do("read", now, room, digest, after)
        return _entries(entries)

    async def touch(self, room: str, digest: bytes, now: float) -> None:
        """Note a sign of life."""
        await self._do("touch", now, room, digest)

    async def burn(self, room: str, digest: bytes, reason: BurnReason, now: float) -> None:
        """End a room."""
        await self._do("burn", now, room, digest, reason.value)

    async def tally(self, now: float) -> Tally:
        """Count what is there."""
        await self.sweep(now)
        numbered, named, cooling, size = await self._do("tally", now)
        return Tally(numbered, named, cooling, size)

    async def sweep(self, now: float) -> None:
        """Forget what is over."""
        while (await self._do("sweep", now))[0] >= SWEEP_SIZE:
            pass

    async def run(
        self, changed: Changed, warn: Warn, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen to what other processes change, and come back to Redis whenever it was away."""
        self._warn = warn
        pause = FIRST_PAUSE
        while True:
            subscription = await self._subscribe()
            if subscription is not None:
                self._is_there = True
                changed(None)  # what happened before is not known
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            if subscription is None:
                await trio.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LAST_PAUSE)
                continue
            pause = FIRST_PAUSE
            try:
                await self._listen(subscription, changed)
            finally:
                subscription.close()

    def close(self) -> None:
        """Close the connections. Those in use end with their operation."""
        self._is_closed = True
        self._is_there = False
        self._client.connection_pool.disconnect(inuse_connections=False)

    async def _subscribe(self) -> PubSub | None:
        """Connect and subscribe; return None when that fails."""
        try:
            return await trio.to_thread.run_sync(self._open_subscription, abandon_on_cancel=True)
        except self._redis.RedisError as error:
            self._lose(error)
            return None

    async def _listen(self, subscription: PubSub, changed: Changed) -> None:
        """Tell what others change until Redis is gone."""
        while self._is_there:
            try:
                rooms = await trio.to_thread.run_sync(self._receive, subscription, abandon_on_cancel=True)
            except self._redis.RedisError as error:
                self._lose(error)
                return
            for room in rooms:
                changed(room)

    def _open_subscription(self) -> PubSub:
        """Subscribe, and wait until that has happened. In a thread."""
        subscription: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]  # the library says nothing
        try:
            subscription.subscribe(CHANNEL)
            if subscription.get_message(timeout=PATIENCE) is None:
                raise self._redis.TimeoutError("it doesn't answer")
        except BaseException:
            subscription.close()
            raise
        return subscription

    def _receive(self, subscription: PubSub) -> list[str]:
        """Return rooms that other processes have changed, after a while at most. In a thread."""
        rooms = []
        message = subscription.get_message(timeout=_LISTENING_TIME)
        while message is not None:
            if message["type"] == "message":
                caller, _, room = message["data"].decode(errors="replace").partition(" ")
                if caller != self._caller:
                    rooms.append(room)
            if len(rooms) == _MOST_AT_ONCE:
                break
            message = subscription.get_message(timeout=0)
        return rooms

    async def _do(self, operation: str, now: float, *values: str | bytes | int) -> list[Any]:
        """Do an operation, in a thread; return what it answers."""
        arguments = [operation, self._encoded_limits, self._caller, round(now * 1000), *values]
        try:
            status, *answer = await trio.to_thread.run_sync(self._call, arguments, limiter=self._threads)
        except self._redis.RedisError as error:
            self._fail(error)
            raise Refusal(Kind.UNAVAILABLE) from error
        self._is_failing = False
        if status == b"ok":
            return answer
        kind = Kind(status.decode())
        detail = answer[0].decode() if answer else ""
        raise Refusal(
            kind,
            reason=BurnReason(detail) if kind is Kind.BURNT else None,
            limit=Limit(detail) if kind is Kind.FULL else None,
        )

    def _call(self, arguments: list[str | bytes | int]) -> list[Any]:
        """Run the script. In a thread, perhaps long after Redis was found gone."""
        if not self._is_there:
            raise self._redis.ConnectionError("it is away")
        answer: list[Any] = self._script(keys=[PREFIX], args=arguments)
        return answer

    def _fail(self, error: Exception) -> None:
        """Note that an operation failed: Redis is gone, or takes nothing just now."""
        away = (self._redis.ConnectionError, self._redis.TimeoutError, self._redis.exceptions.ReadOnlyError)
        if isinstance(error, away):
            self._lose(error)
        else:
            self._tell(error)

    def _lose(self, error: Exception) -> None:
        """Note that Redis is gone, until the listener has found it again."""
        self._is_there = False
        self._client.connection_pool.disconnect(inuse_connections=False)
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Tell once that rooms can't be kept, until they can."""
        if not self._is_failing and not self._is_closed:
            self._is_failing = True
            self._warn(f"Rooms can't be kept in Redis: {printable(str(error)).rstrip('.')}.", _REMEDY)


def _library() -> ModuleType:
    """Import the library. Raises ConfigError."""
    try:
        import redis
    except ModuleNotFoundError as error:
        raise _config_error("the Python package redis isn't installed", "pip install 'p2ptun[redis]'") from error
    return redis


def _client(library: ModuleType, url: str) -> Redis:
    """Make a client that is not yet connected, and tries nothing twice: twice done may be twice left."""
    options = {} if url.startswith("unix:") else {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    try:
        client: Redis = library.Redis.from_url(
            url,
            protocol=2,
            retry=library.retry.Retry(library.backoff.NoBackoff(), 0),
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            **options,
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # what the URL asks for that nobody knows is found here
    except (ValueError, TypeError) as error:
        remedy = "Use redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix:///path/to/redis.sock."
        raise _config_error("this is no URL of Redis", remedy) from error  # no word of it: it may hold a password
    return client


def _check(library: ModuleType, client: Redis) -> None:
    """Look whether Redis lets us in, if it is there. Raises ConfigError."""
    try:
        client.ping()
    except (library.AuthenticationError, library.ResponseError) as error:
        remedy = "Look at the URL's user, password and database."
        raise _config_error(f"Redis refuses us: {printable(str(error)).rstrip('.')}", remedy) from error
    except library.RedisError:
        pass  # it isn't there, or busy reading its file


def _config_error(problem: str, remedy: str) -> ConfigError:
    return ConfigError("", "--store", problem, remedy)


def _encode(limits: RoomLimits) -> str:
    """Write what the script needs to know, times in milliseconds."""
    return json.dumps(
        {
            "ttl": round(limits.ttl * 1000),
            "lifetime": round(limits.lifetime * 1000),
            "cooldown": round(limits.cooldown * 1000),
            "rooms": limits.rooms,
            "bytes": limits.bytes,
            "messages": limits.messages,
            "side_bytes": limits.side_bytes,
            "message_bytes": limits.message_bytes,
            "crowd": limits.crowd,
            "name_length": NAME_LENGTH,
            "sweep_size": SWEEP_SIZE,
            "fewest_numbers": FEWEST_NUMBERS,
            "numbers_per_room": NUMBERS_PER_ROOM,
        }
    )


def _entries(answer: list[list[bytes]]) -> list[Entry]:
    """Read a mailbox as the script gives it."""
    return [
        Entry(int(sequence), value) if field == b"body" else Entry(int(sequence), notice=Notice(value.decode()))
        for sequence, field, value in answer
    ]
