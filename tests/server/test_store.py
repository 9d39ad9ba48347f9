"""Every store keeps rooms alike: the same tests run on all of them."""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from subprocess import PIPE

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.server.refusal import Kind, Limit, Refusal
from p2ptun.server.store.base import Entry, RoomLimits, Store, Tally
from p2ptun.server.store.memory import MemoryStore
from p2ptun.server.store.sqlite import SqliteStore
from tests.server.room_model import Model
from tests.server.stores import Shelf, running

NOW = 1_790_000_000.0
LIMITS = RoomLimits(
    ttl=10, lifetime=25, cooldown=6, rooms=4, bytes=100, messages=3, side_bytes=60, message_bytes=30, crowd=0
)
NAME = "ab" * 32
OTHER_NAME = "cd" * 32
ONE, TWO, THREE = (sha256(secret).digest() for secret in (b"one", b"two", b"three"))
JOINED = Notice.JOINED
CROWDED = Notice.CROWDED


@asynccontextmanager
async def kept(store: Store) -> AsyncIterator[None]:
    """Do what a store needs done in the background, but forget nothing by the clock of this machine."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, lambda room: None, lambda message, remedy: None)
        yield
        nursery.cancel_scope.cancel()
    store.close()


async def filled(store: Store, room: str) -> int:
    """Leave as many bytes as one side may; return how many."""
    for size in count(step=10):
        try:
            await store.post(room, ONE, bytes(10), NOW)
        except Refusal as refusal:
            if refusal.limit is not Limit.SIDE_BYTES:
                raise
            return size
    raise AssertionError


async def refused(awaitable: Awaitable[object]) -> Refusal:
    """Return why a store refuses."""
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


async def kind(awaitable: Awaitable[object]) -> Kind:
    return (await refused(awaitable)).kind


async def opened(store: Store, number: int = 42) -> str:
    """Open a room with a number; ONE is who opened it."""
    room = await store.claim([number - 1], ONE, NOW)
    assert room == str(number)
    return room


@pytest.mark.trio
class TestNumbered:
    async def test_two_leave_messages_for_each_other(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            assert await store.post(room, ONE, b"early", NOW) == 1
            assert await store.join(room, TWO, b"hello", NOW) == [Entry(1, b"early")]
            assert await store.read(room, ONE, 0, NOW) == [Entry(1, notice=JOINED), Entry(2, b"hello")]
            assert await store.post(room, ONE, b"\0\xff\r\n", NOW) == 2
            assert await store.read(room, TWO, 1, NOW) == [Entry(2, b"\0\xff\r\n")]
            assert await store.read(room, TWO, 2, NOW) == []
            assert await store.read(room, TWO, 2**53, NOW) == []
            assert await store.tally(NOW) == Tally(1, 0, 0, 14)

    async def test_a_joiner_may_say_nothing(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            assert await store.join(room, TWO, b"", NOW) == []
            assert await store.read(room, ONE, 0, NOW) == [Entry(1, notice=JOINED)]

    async def test_who_had_no_answer_joins_once_more(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.post(room, ONE, b"early", NOW)
            for _ in range(2):
                assert await store.join(room, TWO, b"hello", NOW) == [Entry(1, b"early")]
            assert await store.read(room, ONE, 0, NOW) == [Entry(1, notice=JOINED), Entry(2, b"hello")]
            assert await kind(store.join(room, THREE, b"", NOW)) is Kind.CROWDED

    async def test_who_opened_a_room_is_not_its_other_side(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            assert await kind(store.join(room, ONE, b"hello", NOW)) is Kind.UNAUTHORIZED
            assert await store.join(room, TWO, b"hello", NOW) == []

    async def test_a_third_is_refused_and_both_are_told_once(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.join(room, TWO, b"", NOW)
            assert await kind(store.join(room, THREE, b"me too", NOW)) is Kind.CROWDED
            assert await kind(store.join(room, THREE, b"me too", NOW)) is Kind.CROWDED
            assert await store.read(room, ONE, 0, NOW) == [Entry(1, notice=JOINED), Entry(2, notice=CROWDED)]
            assert await store.read(room, TWO, 0, NOW) == [Entry(1, notice=CROWDED)]
            assert await kind(store.post(room, THREE, b"me too", NOW)) is Kind.UNAUTHORIZED

    async def test_a_number_is_drawn_once(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            assert await store.claim([7], ONE, NOW) == "8"
            assert await store.claim([7, 107], ONE, NOW) is None
            assert await store.claim([7, 107, 2**48 - 1], ONE, NOW) == str(1 + (2**48 - 1) % 100)

    async def test_numbers_stay_short_as_long_as_rooms_are_few(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(replace(LIMITS, rooms=100))):
            for number in range(20):
                assert await store.claim([number], ONE, NOW) == str(number + 1)
            assert await store.claim([199], ONE, NOW) == "200"
            assert await store.claim([210], ONE, NOW) is None  # 21 rooms: 210 numbers, and 1 is taken

    async def test_what_nobody_opened_is_unknown(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            assert await kind(store.join("1", TWO, b"", NOW)) is Kind.UNKNOWN
            assert await kind(store.post("1", TWO, b"x", NOW)) is Kind.UNKNOWN
            assert await kind(store.read(NAME, TWO, 0, NOW)) is Kind.UNKNOWN
            assert await kind(store.touch(NAME, TWO, NOW)) is Kind.UNKNOWN
            assert await kind(store.burn("1", TWO, BurnReason.DONE, NOW)) is Kind.UNKNOWN

    async def test_a_room_lives_for_a_while_after_the_last_sign_of_life(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.touch(room, ONE, NOW + 9)
            await store.read(room, ONE, 0, NOW + 18)
            assert await kind(store.join(room, TWO, b"", NOW + 25)) is Kind.UNKNOWN  # whatever they do, 25 s
            assert await store.claim([41], TWO, NOW + 30.9) is None
            assert await store.tally(NOW + 30.9) == Tally(0, 0, 1, 0)
            assert await store.claim([41], TWO, NOW + 31) == room

    async def test_silence_ends_a_room(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.post(room, ONE, b"hello", NOW)
            assert await kind(store.post(room, ONE, b"hello", NOW + 10)) is Kind.UNKNOWN
            assert await store.tally(NOW + 15) == Tally(0, 0, 1, 0)
            assert await store.tally(NOW + 16) == Tally(0, 0, 0, 0)

    async def test_a_burnt_room_says_why_until_it_has_cooled_down(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.join(room, TWO, b"hello", NOW)
            assert await kind(store.burn(room, THREE, BurnReason.DONE, NOW)) is Kind.UNAUTHORIZED
            await store.burn(room, TWO, BurnReason.WRONG_CODE, NOW)
            for attempt in (
                store.join(room, THREE, b"", NOW + 5),
                store.read(room, ONE, 0, NOW + 5),
                store.post(room, ONE, b"x", NOW + 5),
                store.burn(room, ONE, BurnReason.LEFT, NOW + 5),
            ):
                refusal = await refused(attempt)
                assert (refusal.kind, refusal.reason) == (Kind.BURNT, BurnReason.WRONG_CODE)
            assert await store.claim([41], THREE, NOW + 5) is None
            assert await store.tally(NOW + 5) == Tally(0, 0, 1, 0)
            assert await kind(store.join(room, THREE, b"", NOW + 6)) is Kind.UNKNOWN
            assert await store.claim([41], THREE, NOW + 6) == room


@pytest.mark.trio
class TestNamed:
    async def test_two_find_what_the_other_left(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            assert await store.enter(NAME, ONE, b"hello", NOW) == []
            assert await store.enter(NAME, TWO, b"hi", NOW) == [Entry(1, b"hello")]
            assert await store.read(NAME, ONE, 0, NOW) == [Entry(1, notice=JOINED), Entry(2, b"hi")]
            assert await store.tally(NOW) == Tally(0, 1, 0, 7)

    async def test_who_comes_again_begins_anew(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"hello", NOW)
            await store.enter(NAME, TWO, b"hi", NOW)
            await store.post(NAME, ONE, b"more", NOW)
            assert await store.read(NAME, ONE, 2, NOW) == []
            assert await store.enter(NAME, ONE, b"again", NOW) == [Entry(1, notice=JOINED), Entry(2, b"hi")]
            assert await store.read(NAME, TWO, 0, NOW) == [Entry(3, b"again")]
            assert await store.enter(NAME, ONE, b"", NOW) == [Entry(1, notice=JOINED), Entry(2, b"hi")]
            assert await store.read(NAME, TWO, 0, NOW) == []
            assert await store.post(NAME, ONE, b"on", NOW) == 4

    async def test_a_third_token_is_refused_and_both_are_told(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"", NOW)
            await store.enter(NAME, TWO, b"", NOW)
            assert await kind(store.enter(NAME, THREE, b"", NOW)) is Kind.CROWDED
            assert await kind(store.enter(NAME, THREE, b"", NOW)) is Kind.CROWDED
            assert await store.read(NAME, TWO, 0, NOW) == [Entry(1, notice=CROWDED)]
            assert [entry.notice for entry in await store.read(NAME, ONE, 0, NOW)] == [JOINED, CROWDED]

    async def test_a_silent_side_makes_room_for_another(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"one", NOW)
            await store.enter(NAME, TWO, b"two", NOW)
            await store.touch(NAME, ONE, NOW + 9)
            assert await kind(store.enter(NAME, THREE, b"", NOW + 9.5)) is Kind.CROWDED
            entries = await store.enter(NAME, THREE, b"three", NOW + 10)
            assert [entry.body for entry in entries] == [b"one", None]
            heard = await store.read(NAME, ONE, 0, NOW + 10)
            assert [entry.body or entry.notice for entry in heard] == [CROWDED, JOINED, b"three"]
            assert await kind(store.read(NAME, TWO, 0, NOW + 10)) is Kind.UNAUTHORIZED

    async def test_what_a_silent_side_has_read_is_kept_for_whoever_comes(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"1", NOW)
            await store.enter(NAME, TWO, b"", NOW)
            for body in (b"2", b"3"):
                await store.post(NAME, ONE, body, NOW)
            assert await store.read(NAME, TWO, 3, NOW) == []
            await store.touch(NAME, ONE, NOW + 9)
            assert (await refused(store.post(NAME, ONE, b"4", NOW + 10))).limit is Limit.MESSAGES
            assert [entry.body for entry in await store.enter(NAME, TWO, b"", NOW + 10)] == [b"1", b"2", b"3"]

    async def test_a_room_that_both_have_left_is_forgotten(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"one", NOW)
            assert await store.tally(NOW + 10) == Tally(0, 0, 0, 0)
            assert await store.enter(NAME, TWO, b"two", NOW + 10) == []

    async def test_a_room_with_signs_of_life_stays(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"one", NOW)
            for later in range(9, 100, 9):
                await store.read(NAME, ONE, 0, NOW + later)
            assert await store.enter(NAME, TWO, b"", NOW + 100) == [Entry(1, b"one")]

    async def test_a_burnt_room_says_why(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            await store.enter(NAME, ONE, b"one", NOW)
            await store.burn(NAME, ONE, BurnReason.LEFT, NOW)
            refusal = await refused(store.enter(NAME, ONE, b"", NOW + 5))
            assert (refusal.kind, refusal.reason) == (Kind.BURNT, BurnReason.LEFT)
            assert await store.enter(NAME, ONE, b"", NOW + 6) == []


@pytest.mark.trio
class TestLimits:
    async def test_rooms_in_all(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            for number in range(3):
                await opened(store, 40 + number)
            await store.enter(NAME, ONE, b"", NOW)
            await store.burn("40", ONE, BurnReason.DONE, NOW)
            for attempt in (store.claim([1], ONE, NOW + 5), store.enter(OTHER_NAME, ONE, b"", NOW + 5)):
                refusal = await refused(attempt)
                assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.ROOMS)
            assert await store.claim([1], ONE, NOW + 6) == "2"

    async def test_messages_that_nobody_reads(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            for sequence in (1, 2, 3):
                assert await store.post(room, ONE, b"x", NOW) == sequence
            refusal = await refused(store.post(room, ONE, b"x", NOW))
            assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.MESSAGES)
            assert len(await store.join(room, TWO, b"", NOW)) == 3

    async def test_what_was_read_makes_room(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.join(room, TWO, b"", NOW)
            for after in range(20):
                assert await store.post(room, ONE, b"message", NOW) == after + 1
                assert await store.read(room, TWO, after, NOW) == [Entry(after + 1, b"message")]
            assert (await store.tally(NOW)).bytes <= 3 * len(b"message")

    async def test_nobody_has_read_what_is_yet_to_come(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.join(room, TWO, b"", NOW)
            assert await store.read(room, TWO, 2**53, NOW) == []
            for _ in range(3):
                await store.post(room, ONE, b"x", NOW)
            assert (await refused(store.post(room, ONE, b"x", NOW))).limit is Limit.MESSAGES

    async def test_bytes_of_a_side(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            await store.post(room, ONE, bytes(30), NOW)
            await store.post(room, ONE, bytes(29), NOW)
            refusal = await refused(store.post(room, ONE, bytes(2), NOW))
            assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.SIDE_BYTES)
            assert await store.post(room, ONE, bytes(1), NOW) == 3

    async def test_the_share_of_a_side_gets_smaller(self, shelf: Shelf) -> None:
        limits = replace(LIMITS, bytes=1000, side_bytes=300, crowd=4, messages=100)
        async with kept(store := shelf.open(limits)):
            rooms = [await opened(store, number) for number in (7, 8, 9)]
            held = [await filled(store, room) for room in rooms]
            assert held == [200, 160, 130]  # each a quarter of what is left then
            assert await store.join(rooms[0], TWO, bytes(30), NOW)

    async def test_bytes_in_all(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            for _ in range(2):
                await store.post(room, ONE, bytes(30), NOW)
            await store.enter(NAME, ONE, bytes(30), NOW)
            assert await store.enter(NAME, ONE, bytes(20), NOW) == []  # in place of what was there
            for attempt in (
                store.join(room, TWO, bytes(21), NOW),
                store.enter(NAME, TWO, bytes(21), NOW),
                store.enter(OTHER_NAME, TWO, bytes(21), NOW),
                store.post(NAME, ONE, bytes(21), NOW),
            ):
                refusal = await refused(attempt)
                assert (refusal.kind, refusal.limit) == (Kind.FULL, Limit.BYTES)
            assert await store.tally(NOW) == Tally(1, 1, 0, 80)  # who was refused has changed nothing
            assert await store.join(room, TWO, bytes(20), NOW) == [Entry(1, bytes(30)), Entry(2, bytes(30))]
            await store.burn(room, TWO, BurnReason.DONE, NOW)
            assert (await store.tally(NOW)).bytes == 20

    async def test_more_than_one_step_is_over_at_once(self, shelf: Shelf) -> None:
        async with kept(store := shelf.open(replace(LIMITS, rooms=1000))):
            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(store.enter, f"{number:064x}", ONE, b"", NOW)
            assert await store.tally(NOW + 9) == Tally(0, 300, 0, 0)
            assert await store.tally(NOW + 10) == Tally(0, 0, 0, 0)


@pytest.mark.trio
class TestAtOnce:
    async def test_no_number_is_given_twice(self, shelf: Shelf) -> None:
        rooms: list[str | None] = []

        async def claim(draw: int) -> None:
            rooms.append(await store.claim(range(draw, draw + 60), ONE, NOW))

        async with kept(store := shelf.open(replace(LIMITS, rooms=50))):
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(claim, number % 3)
            assert None not in rooms
            assert len(set(rooms)) == 50
            assert (await refused(store.claim(range(100), ONE, NOW))).limit is Limit.ROOMS

    async def test_one_of_many_joins(self, shelf: Shelf) -> None:
        outcomes: list[str] = []

        async def join(digest: bytes) -> None:
            try:
                await store.join(room, digest, b"", NOW)
            except Refusal as refusal:
                outcomes.append(refusal.kind.value)
            else:
                outcomes.append("joined")

        async with kept(store := shelf.open(LIMITS)):
            room = await opened(store)
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(join, sha256(bytes([number])).digest())
            assert sorted(outcomes) == ["crowded"] * 19 + ["joined"]

    async def test_no_sequence_number_is_given_twice(self, shelf: Shelf) -> None:
        sequences: list[int] = []

        async def post() -> None:
            sequences.append(await store.post(room, ONE, b"x", NOW))

        async with kept(store := shelf.open(replace(LIMITS, messages=40))):
            room = await opened(store)
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(post)
            assert sorted(sequences) == list(range(1, 41))
            assert [entry.sequence for entry in await store.join(room, TWO, b"", NOW)] == list(range(1, 41))

    async def test_two_processes_share_a_store(self, lasting: Shelf) -> None:
        limits = replace(LIMITS, rooms=200)
        async with kept(store := lasting.open(limits)):
            here: list[str | None] = []
            async with trio.open_nursery() as nursery:
                there: list[str] = await nursery.start(claim_elsewhere, lasting.text)
                for draw in range(40):
                    here.append(await store.claim(range(draw, draw + 99), ONE, NOW))
            assert len(there) == 40
            assert len({*here, *there}) == 80
            assert await store.tally(NOW) == Tally(80, 0, 0, 0)


async def claim_elsewhere(text: str, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Have another process claim numbers, from when it is ready on; it fills the list that this starts with."""
    rooms: list[str] = []
    command = [sys.executable, "-m", "tests.server.claimer", text, str(NOW)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, check=False))
        await process.stdout.receive_some()  # it is ready
        await process.stdin.send_all(b"begin\n")
        task_status.started(rooms)
        output = b"".join([part async for part in process.stdout])
        rooms += output.decode().split()


@pytest.mark.trio
class TestLasting:
    async def test_nothing_is_lost_when_the_server_starts_again(self, lasting: Shelf) -> None:
        async with kept(store := lasting.open(LIMITS)):
            room = await opened(store)
            await store.join(room, TWO, b"hello", NOW)
            await store.post(room, TWO, b"more", NOW)
            await store.enter(NAME, ONE, b"one", NOW)
            await opened(store, 43)
            await store.burn("43", ONE, BurnReason.DONE, NOW)
            before = await store.tally(NOW)
        async with kept(store := lasting.open(LIMITS)):
            assert await store.tally(NOW) == before == Tally(1, 1, 1, 12)
            entries = await store.read(room, ONE, 0, NOW)
            assert entries == [Entry(1, notice=JOINED), Entry(2, b"hello"), Entry(3, b"more")]
            assert await store.post(room, TWO, b"x", NOW) == 4
            assert await store.enter(NAME, TWO, b"", NOW) == [Entry(1, b"one")]
            assert (await refused(store.touch("43", ONE, NOW))).reason is BurnReason.DONE

    async def test_a_store_that_is_closed_is_away(self, lasting: Shelf) -> None:
        async with kept(store := lasting.open(LIMITS)):
            room = await opened(store)
        store.close()
        assert await kind(store.touch(room, ONE, NOW)) is Kind.UNAVAILABLE


@pytest.mark.trio
async def test_what_is_kept_opens_nothing(shelf: Shelf) -> None:
    token = urlsafe_b64encode(b"recognisable in each of its forms".ljust(32)[:32]).decode().rstrip("=")
    async with running(store := shelf.open()) as rooms:
        seat = await rooms.open()
        joined = await rooms.join(seat.room, b"sealed")
        await rooms.enter(NAME, f"{NAME}.{token}", b"sealed too")
        await rooms.post(seat.token, seat.room, b"sealed as well")
        await rooms.read(joined.seat.token, seat.room, 0, 0)
        held = shelf.held(store)
        secrets = [token, *(each.token.partition(".")[2] for each in (seat, joined.seat))]
        for secret in secrets:
            assert sha256(secret.encode()).digest() in held  # so this is where one would be
            assert secret.encode() not in held
            assert urlsafe_b64decode(secret + "=") not in held
            assert urlsafe_b64decode(secret + "=").hex().encode() not in held


Step = tuple[float, str, tuple[object, ...]]
STEPS = 150


def script(seed: int) -> Iterator[Step]:
    """Draw operations: most of them of two sides that know their rooms, and few that end something."""
    choice = Random(seed)
    for _ in range(STEPS):
        passed = choice.choices([0, choice.randint(1, 4), choice.randint(5, 11)], [30, 10, 1])[0]
        name = choice.choices(
            ["claim", "join", "enter", "post", "read", "touch", "burn", "tally"], [8, 6, 12, 40, 30, 4, 1, 10]
        )[0]
        number = choice.choices(["1", "2"], [8, 1])[0]
        named = choice.choices([NAME, OTHER_NAME], [8, 1])[0]
        room = {"join": number, "enter": named}.get(name, choice.choice([number, named]))
        digest = choice.choices([ONE, TWO, THREE], [10, 10, 1])[0]
        message = choice.choice([b"x", b"y" * 10, b"z" * 30])
        values: dict[str, tuple[object, ...]] = {
            "claim": ([choice.randrange(3) for _ in range(choice.randint(1, 2))], ONE),
            "join": (room, TWO if choice.random() < 0.9 else THREE, choice.choice([b"", message])),
            "enter": (room, digest, choice.choice([b"", message])),
            "post": (room, digest, message),
            "read": (room, digest, int(choice.expovariate(0.2))),
            "touch": (room, digest),
            "burn": (room, digest, choice.choice(list(BurnReason))),
            "tally": (),
        }
        yield passed, name, values[name]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_store_does_what_the_model_does(shelf: Shelf, seed: int) -> None:
    trio.run(compare, shelf, seed)


async def compare(shelf: Shelf, seed: int) -> None:
    """Do the same to a store and to the model, and compare what comes of it."""
    shelf.clear()
    model = Model(LIMITS)
    now = NOW
    async with kept(store := shelf.open(LIMITS)):
        for passed, name, values in script(seed):
            now += passed
            expected = await outcome(partial(immediately, getattr(model, name), *values, now))
            assert await outcome(partial(getattr(store, name), *values, now)) == expected, (name, values, now)


async def immediately(function: Callable[..., object], *values: object) -> object:
    return function(*values)


async def outcome(operation: Callable[[], Awaitable[object]]) -> object:
    """Return what an operation returns, or why it is refused."""
    try:
        return await operation()
    except Refusal as refusal:
        return refusal.kind, refusal.reason, refusal.limit


@pytest.mark.trio
async def test_burnt_rooms_leave_nothing_behind_in_memory() -> None:
    store = MemoryStore(replace(LIMITS, ttl=1e6, lifetime=1e6))
    for now in range(0, 30_000, 6):
        room = await store.claim([1], ONE, now)
        assert room is not None
        await store.burn(room, ONE, BurnReason.DONE, now)
    assert len(store._rooms) == 1
    assert len(store._deadlines) < 1100


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "rooms.db")
    finally:
        os.umask(previous)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes
    assert set(modes.values()) == {0o600}
