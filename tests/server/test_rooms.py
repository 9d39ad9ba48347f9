"""What rooms let whom do, and polls that wait, over every store."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2ptun.errors import LocalProtocolError
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.rooms import SWEEP_INTERVAL, Counts, Entry, RoomLimits, Rooms
from p2ptun.server.store.base import Tally
from p2ptun.server.store.memory import MemoryStore
from tests.server.redis_server import RedisServer
from tests.server.stores import RedisShelf, Shelf, Warnings, running

NAME = "ab" * 32
TOKEN = f"{NAME}.{'A' * 43}"
OTHER_TOKEN = f"{NAME}.{'B' * 43}"
PATIENCE = 15.0


class Poll:
    """A poll in a task of its own."""

    def __init__(self, rooms: Rooms, token: str, after: int = 0, wait: float = 25.0) -> None:
        self._read = partial(rooms.read, token, token.partition(".")[0], after, wait)
        self._done = trio.Event()
        self.entries: list[Entry] = []
        self.refusal: Refusal | None = None

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    async def run(self) -> None:
        try:
            self.entries = await self._read()
        except Refusal as refusal:
            self.refusal = refusal
        self._done.set()

    async def outcome(self) -> list[Entry]:
        """Return what it brought, as soon as it has."""
        with trio.fail_after(PATIENCE):
            await self._done.wait()
        return self.entries


async def started(nursery: trio.Nursery, rooms: Rooms, token: str, after: int = 0, wait: float = 25.0) -> Poll:
    """Start a poll, and return when it waits."""
    before = (await rooms.count()).waiting
    poll = Poll(rooms, token, after, wait)
    nursery.start_soon(poll.run)
    with trio.fail_after(PATIENCE):
        while (await rooms.count()).waiting == before and not poll.is_done:
            await trio.lowlevel.checkpoint()
    return poll


async def refused(awaitable: Awaitable[object]) -> Refusal:
    """Return why something is refused."""
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


async def kind(awaitable: Awaitable[object]) -> Kind:
    return (await refused(awaitable)).kind


@pytest.mark.trio
class TestSides:
    async def test_two_meet_by_a_number(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms:
            opener = await rooms.open()
            assert 1 <= int(opener.room) <= 100
            assert opener.token.startswith(f"{opener.room}.")
            assert len(opener.token) == len(opener.room) + 1 + 43
            assert opener.ttl == rooms.limits.ttl
            assert await rooms.post(opener.token, opener.room, b"early") == 1
            joined = await rooms.join(opener.room, b"hello")
            assert joined.entries == [Entry(1, b"early")]
            assert joined.seat.token != opener.token
            await rooms.check(opener.token)
            await rooms.check(joined.seat.token)
            entries = await rooms.read(opener.token, opener.room, 0, 0)
            assert entries == [Entry(1, notice=Notice.JOINED), Entry(2, b"hello")]
            assert await rooms.count() == Counts(numbered=1, named=0, waiting=0, messages=2)
            assert await kind(rooms.join(opener.room, b"")) is Kind.CROWDED

    async def test_who_brings_a_token_is_known_by_it(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms:
            opener = await rooms.open()
            own = f"{opener.room}.{TOKEN.partition('.')[2]}"
            for _ in range(2):
                assert (await rooms.join(opener.room, b"hello", own)).seat.token == own
            entries = await rooms.read(opener.token, opener.room, 0, 0)
            assert entries == [Entry(1, notice=Notice.JOINED), Entry(2, b"hello")]
            assert await kind(rooms.join(opener.room, b"", opener.token)) is Kind.UNAUTHORIZED
            assert await kind(rooms.join(opener.room, b"", f"{opener.room}.short")) is Kind.UNAUTHORIZED
            assert await kind(rooms.join(opener.room, b"", TOKEN)) is Kind.UNAUTHORIZED, "it is another room's"

    async def test_two_meet_by_a_name(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms:
            assert (await rooms.enter(NAME, TOKEN, b"hello")).entries == []
            joined = await rooms.enter(NAME, OTHER_TOKEN, b"")
            assert joined.entries == [Entry(1, b"hello")]
            assert joined.seat.token == OTHER_TOKEN
            assert await rooms.count() == Counts(numbered=0, named=1, waiting=0, messages=1)

    async def test_who_is_no_side_gets_nothing(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms:
            opener = await rooms.open()
            room, secret = opener.token.split(".")
            changed = f"{room}.{'A' if secret[0] != 'A' else 'B'}{secret[1:]}"
            for token in (changed, f"{room}.", room, "", f"{room}.{secret}A", f"{room}.{secret[:-1]}=", f"0.{secret}"):
                assert await kind(rooms.post(token, room, b"x")) is Kind.UNAUTHORIZED
                assert await kind(rooms.read(token, room, 0, 25)) is Kind.UNAUTHORIZED
                assert await kind(rooms.burn(token, room, BurnReason.DONE)) is Kind.UNAUTHORIZED
            assert await kind(rooms.check(changed)) is Kind.UNAUTHORIZED
            await rooms.burn(opener.token, room, BurnReason.DONE)
            assert await kind(rooms.check(opener.token)) is Kind.BURNT
            assert await kind(rooms.enter(NAME, f"{NAME}.short", b"")) is Kind.UNAUTHORIZED
            assert await kind(rooms.enter(NAME, opener.token, b"")) is Kind.UNAUTHORIZED
            assert (await rooms.count()).waiting == 0

    @pytest.mark.parametrize("room", ["", "0", "01", "-1", "1.0", "1e1", "\u0661", "1" * 10, "1\n", "../1", NAME])
    async def test_no_number(self, room: str) -> None:
        rooms = Rooms(MemoryStore())
        assert await kind(rooms.join(room, b"")) is Kind.UNKNOWN
        token = f"{room}.{'A' * 43}"
        assert await kind(rooms.read(token, room, 0, 0)) is Kind.UNKNOWN
        assert await kind(rooms.check(token)) is Kind.UNAUTHORIZED

    @pytest.mark.parametrize("room", ["", "1", "AB" * 32, "ab" * 31, "ab" * 33, f"{NAME}\n"])
    async def test_no_name(self, room: str) -> None:
        assert await kind(Rooms(MemoryStore()).enter(room, f"{room}.{'A' * 43}", b"")) is Kind.UNKNOWN

    async def test_message_sizes(self) -> None:
        rooms = Rooms(MemoryStore(RoomLimits(message_bytes=10)))
        opener = await rooms.open()
        for attempt in (
            rooms.join(opener.room, bytes(11)),
            rooms.enter(NAME, TOKEN, bytes(11)),
            rooms.post(opener.token, opener.room, bytes(11)),
        ):
            refusal = await refused(attempt)
            assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.MESSAGE)
        assert await rooms.post(opener.token, opener.room, bytes(10)) == 1
        with pytest.raises(LocalProtocolError):
            await rooms.post(opener.token, opener.room, b"")

    async def test_no_number_is_free(self) -> None:
        class Unlucky(MemoryStore):
            """None of the numbers that are drawn is free."""

            async def claim(self, *values: object) -> None:
                return None

        assert (await refused(Rooms(Unlucky()).open())).limit is Limit.ROOMS


@pytest.mark.trio
class TestPolls:
    async def test_a_message_wakes(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms, trio.open_nursery() as nursery:
            opener = await rooms.open()
            own = await started(nursery, rooms, opener.token)
            joiner = (await rooms.join(opener.room, b"hello")).seat
            assert await own.outcome() == [Entry(1, notice=Notice.JOINED), Entry(2, b"hello")]
            own = await started(nursery, rooms, opener.token, 2)
            other = await started(nursery, rooms, joiner.token)
            await rooms.post(opener.token, opener.room, b"for you")
            assert await other.outcome() == [Entry(1, b"for you")]
            assert not own.is_done
            nursery.cancel_scope.cancel()

    async def test_entering_and_a_third_wake(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms, trio.open_nursery() as nursery:
            await rooms.enter(NAME, TOKEN, b"")
            first = await started(nursery, rooms, TOKEN)
            await rooms.enter(NAME, OTHER_TOKEN, b"")
            assert await first.outcome() == [Entry(1, notice=Notice.JOINED)]
            first = await started(nursery, rooms, TOKEN, 1)
            second = await started(nursery, rooms, OTHER_TOKEN)
            assert await kind(rooms.enter(NAME, f"{NAME}.{'C' * 43}", b"")) is Kind.CROWDED
            assert await first.outcome() == [Entry(2, notice=Notice.CROWDED)]
            assert await second.outcome() == [Entry(1, notice=Notice.CROWDED)]

    async def test_burning_wakes_both(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms, trio.open_nursery() as nursery:
            opener = await rooms.open()
            joiner = (await rooms.join(opener.room, b"")).seat
            polls = [
                await started(nursery, rooms, opener.token, 1),
                await started(nursery, rooms, joiner.token),
            ]
            await rooms.burn(joiner.token, opener.room, BurnReason.WRONG_CODE)
            for poll in polls:
                await poll.outcome()
                assert poll.refusal is not None
                assert (poll.refusal.kind, poll.refusal.reason) == (Kind.BURNT, BurnReason.WRONG_CODE)
            assert (await rooms.count()).waiting == 0

    async def test_closing_ends_all_that_wait(self, shelf: Shelf) -> None:
        async with running(shelf.open()) as rooms, trio.open_nursery() as nursery:
            opener = await rooms.open()
            poll = await started(nursery, rooms, opener.token)
            rooms.close()
            assert await poll.outcome() == []
            assert await rooms.read(opener.token, opener.room, 0, 25) == []
            joiner = (await rooms.join(opener.room, b"hello")).seat
            assert await rooms.read(joiner.token, opener.room, 0, 25) == []
            assert len(await rooms.read(opener.token, opener.room, 0, 25)) == 2
            assert (await rooms.count()).waiting == 0

    async def test_a_poll_waits_no_longer_than_it_says(self, autojump_clock: MockClock) -> None:
        rooms = Rooms(MemoryStore())
        opener = await rooms.open()
        for wait, waited in ((0, 0), (-1, 0), (7, 7), (25, 25), (1000, 25), (float("inf"), 25)):
            began_at = trio.current_time()
            assert await rooms.read(opener.token, opener.room, 0, wait) == []
            assert trio.current_time() - began_at == pytest.approx(waited)

    async def test_who_is_woken_for_nothing_waits_on(self, autojump_clock: MockClock) -> None:
        rooms = Rooms(MemoryStore())
        opener = await rooms.open()
        await rooms.post(opener.token, opener.room, b"x")
        joiner = (await rooms.join(opener.room, b"")).seat
        async with trio.open_nursery() as nursery:
            poll = Poll(rooms, joiner.token, 5)  # it has seen more than there is
            nursery.start_soon(poll.run)
            await wait_all_tasks_blocked()
            await rooms.post(opener.token, opener.room, b"y")
            await wait_all_tasks_blocked()
            assert not poll.is_done
        assert poll.entries == []

    async def test_who_waits_goes_on_while_the_store_is_away(self) -> None:
        class Shy(MemoryStore):
            """Away now and then."""

            is_away = False

            async def read(self, room: str, digest: bytes, after: int, now: float) -> list[Entry]:
                if self.is_away:
                    raise Refusal(Kind.UNAVAILABLE)
                return await super().read(room, digest, after, now)

        store = Shy()
        rooms = Rooms(store)
        opener = await rooms.open()
        async with trio.open_nursery() as nursery:
            poll = await started(nursery, rooms, opener.token)
            store.is_away = True
            await rooms.join(opener.room, b"")
            await wait_all_tasks_blocked()
            assert not poll.is_done
            store.is_away = False
            rooms._changed(None)  # as it tells when it is back
            assert await poll.outcome() == [Entry(1, notice=Notice.JOINED)]

    async def test_a_newer_poll_of_the_same_side_ends_the_oldest(self) -> None:
        rooms = Rooms(MemoryStore(RoomLimits(side_polls=2)))
        opener = await rooms.open()
        joiner = (await rooms.join(opener.room, b"")).seat
        async with trio.open_nursery() as nursery:
            other = await started(nursery, rooms, joiner.token)
            polls = []
            for _ in range(4):
                polls.append(Poll(rooms, opener.token, 1))
                nursery.start_soon(polls[-1].run)
                await wait_all_tasks_blocked()
            assert [poll.is_done for poll in polls] == [True, True, False, False]
            assert [poll.entries for poll in polls[:2]] == [[], []]
            assert not other.is_done
            assert (await rooms.count()).waiting == 3
            await rooms.post(joiner.token, opener.room, b"x")
            for poll in polls[2:]:
                assert await poll.outcome() == [Entry(2, b"x")]
            nursery.cancel_scope.cancel()

    async def test_polls_in_all_are_bounded(self) -> None:
        rooms = Rooms(MemoryStore(RoomLimits(polls=2)))
        seats = [await rooms.open() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for seat in seats[:2]:
                await started(nursery, rooms, seat.token)
            refusal = await refused(rooms.read(seats[2].token, seats[2].room, 0, 25))
            assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.POLLS)
            assert await rooms.read(seats[2].token, seats[2].room, 0, 0) == []
            nursery.cancel_scope.cancel()
        assert (await rooms.count()).waiting == 0


@pytest.mark.trio
async def test_what_is_over_is_forgotten_though_nobody_asks(autojump_clock: MockClock) -> None:
    store = MemoryStore(RoomLimits(ttl=10, cooldown=10))
    async with running(store, clock=trio.current_time) as rooms:
        await rooms.open()
        await trio.sleep(20 + SWEEP_INTERVAL)
        assert not store._rooms
        assert await store.tally(0) == Tally(0, 0, 0, 0)


@pytest.mark.trio
class TestSeveral:
    async def test_a_message_at_one_wakes_a_poll_at_the_other(self, redis_server: RedisServer) -> None:
        redis_server.clear()
        shelf = RedisShelf(redis_server)
        async with running(shelf.open()) as here, running(shelf.open()) as there, trio.open_nursery() as nursery:
            opener = await here.open()
            poll = await started(nursery, here, opener.token)
            joiner = (await there.join(opener.room, b"hello")).seat
            assert await poll.outcome() == [Entry(1, notice=Notice.JOINED), Entry(2, b"hello")]
            poll = await started(nursery, there, joiner.token)
            await here.post(opener.token, opener.room, b"x")
            assert await poll.outcome() == [Entry(1, b"x")]
            poll = await started(nursery, there, joiner.token, 1)
            await here.burn(opener.token, opener.room, BurnReason.DONE)
            await poll.outcome()
            assert poll.refusal is not None
            assert poll.refusal.reason is BurnReason.DONE
            assert (await there.count()).numbered == 0


@pytest.mark.trio
async def test_rooms_go_on_after_redis_was_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RedisServer(tmp_path_factory.mktemp("killed"), "always")
    warnings = Warnings()
    try:
        server.start()
        shelf = RedisShelf(server)
        async with running(shelf.open(), warn=warnings) as rooms, trio.open_nursery() as nursery:
            opener = await rooms.open()
            joiner = (await rooms.join(opener.room, b"hello")).seat
            poll = await started(nursery, rooms, opener.token, 2)
            server.kill()
            assert await kind(rooms.post(joiner.token, opener.room, b"lost")) is Kind.UNAVAILABLE
            assert await kind(rooms.open()) is Kind.UNAVAILABLE
            assert not poll.is_done
            server.start()
            assert await posted(rooms, joiner.token) == 3
            assert await poll.outcome() == [Entry(3, b"found")]
            assert len(await rooms.read(opener.token, opener.room, 0, 0)) == 3
            assert len(warnings.sentences) == 1
            assert warnings.sentences[0].startswith("Rooms can't be kept in Redis: ")
    finally:
        server.kill()


async def posted(rooms: Rooms, token: str) -> int:
    """Leave a message as soon as the store takes it; return its sequence number."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await rooms.post(token, token.partition(".")[0], b"found")
            except Refusal as refusal:
                if refusal.kind is not Kind.UNAVAILABLE:
                    raise
            await trio.sleep(0.01)


@pytest.mark.trio
async def test_a_poll_reads_again_when_redis_is_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What another process left while this one could not hear of it."""
    server = RedisServer(tmp_path_factory.mktemp("deaf"), "always")
    try:
        server.start()
        shelf = RedisShelf(server)
        async with running(shelf.open(replace(RoomLimits(), wait=60))) as rooms, trio.open_nursery() as nursery:
            opener = await rooms.open()
            poll = await started(nursery, rooms, opener.token)
            server.kill()
            server.start()
            async with running(shelf.open()) as others:
                await others.join(opener.room, b"hello")
            assert await poll.outcome() == [Entry(1, notice=Notice.JOINED), Entry(2, b"hello")]
    finally:
        server.kill()
