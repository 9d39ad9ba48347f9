"""Two `p2ptun serve` on one Redis: they serve a room together, also when Redis was killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio

from p2ptun.errors import RoomCrowded, RoomGone
from p2ptun.rendezvous import trouble
from p2ptun.rendezvous.base import BurnReason, Notice, Room
from tests.daemon.person import Person
from tests.interop.meeting import MANY, check_introduced, company, hasten, until, until_health, until_measured
from tests.rendezvous.place import Surroundings
from tests.server.redis_server import RedisServer
from tests.server.serving import HttpServing

pytestmark = pytest.mark.trio

WAITING = "p2ptun_polls_waiting"
CLIENT_PATIENCE = 0.4
"""Seconds until a client tells people: much less than else, so that nobody waits for it."""


@dataclass(frozen=True)
class Cluster:
    """Two servers and the store that they share."""

    redis: RedisServer
    one: HttpServing
    other: HttpServing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        redis.start()
        with HttpServing("--store", redis.url, *MANY) as one, HttpServing("--store", redis.url, *MANY) as other:
            yield Cluster(redis, one, other)
    finally:
        redis.kill()


def has_heard_of_a_third(person: Person) -> bool:
    return any("Somebody else tried to join" in note for note in person.notes())


async def test_two_sides_meet_at_two_servers(cluster: Cluster) -> None:
    async with company() as here:
        alice = await here.share(cluster.one)
        code = alice.codes()[0]
        bob = await here.join(cluster.other, code)
        await alice.done.wait()
        check_introduced(alice, bob)
        with pytest.raises(RoomCrowded):
            await here.at(cluster.one).join_room(str(code.room), b"third")
        await until(lambda: all(has_heard_of_a_third(person) for person in (alice, bob)))
        await alice.introduction.part()
        with pytest.raises(RoomGone) as caught:
            await here.at(cluster.other).join_room(str(code.room), b"fourth")
        assert caught.value.reason == BurnReason.DONE.value


async def test_a_third_is_refused_at_either_and_both_are_told_once(cluster: Cluster) -> None:
    async with company() as here:
        at_one, at_other = here.at(cluster.one), here.at(cluster.other)
        opened = await at_one.open_room()
        assert opened.number is not None
        joined = await at_other.join_room(opened.number, b"opening")
        for rendezvous in (at_one, at_other):
            with pytest.raises(RoomCrowded):
                await rendezvous.join_room(opened.number, b"third")
        await opened.send(b"from one")
        await joined.send(b"from the other")
        assert [await opened.receive() for _ in range(4)] == [
            *(Notice.JOINED, b"opening", Notice.CROWDED, b"from the other")
        ]
        assert [await joined.receive() for _ in range(2)] == [Notice.CROWDED, b"from one"]


@pytest.mark.parametrize("reason", BurnReason)
async def test_a_room_burnt_at_one_ends_the_poll_at_the_other(cluster: Cluster, reason: BurnReason) -> None:
    async with company() as here:
        opened = await here.at(cluster.one).open_room()
        assert opened.number is not None
        joined = await here.at(cluster.other).join_room(opened.number, b"opening")
        ends: list[RoomGone] = []

        async def wait() -> None:
            with pytest.raises(RoomGone) as caught:
                await joined.receive()
            ends.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await until_measured(cluster.other, WAITING, 1)
            await opened.burn(reason)
        assert ends[0].reason == reason.value


async def test_rooms_go_on_when_redis_was_killed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls wait on. Who sends is told that the store is away, waits, and tells a person only when that takes long."""
    monkeypatch.setattr(trouble, "PATIENCE", CLIENT_PATIENCE)
    hasten(monkeypatch)
    sender, waiter = Surroundings(), Surroundings()
    received: dict[str, list[object]] = {"alice": [], "bob": []}

    async def listen(name: str, room: Room) -> None:
        while b"last" not in received[name]:
            received[name].append(await room.receive())

    async with company() as here:
        alice = await here.at(cluster.one, waiter).open_room()
        assert alice.number is not None
        bob = await here.at(cluster.other, sender).join_room(alice.number, b"opening")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, "alice", alice)
            nursery.start_soon(listen, "bob", bob)
            await until(lambda: len(received["alice"]) == 2)
            for server in (cluster.one, cluster.other):
                await until_measured(server, WAITING, 1)
            await trio.to_thread.run_sync(cluster.redis.kill)
            for server in (cluster.one, cluster.other):
                await until_health(server, 503)
            began_at = trio.current_time()
            nursery.start_soon(bob.send, b"sent while it was away")
            await until(lambda: sender.told != [])
            assert trio.current_time() - began_at >= CLIENT_PATIENCE
            assert waiter.told == [], "who has nothing to send has no trouble"
            await trio.to_thread.run_sync(cluster.redis.start)
            for server in (cluster.one, cluster.other):
                await until_health(server, 200)
            await bob.send(b"last")
            await alice.send(b"last")
        assert received == {
            "alice": [Notice.JOINED, b"opening", b"sent while it was away", b"last"],
            "bob": [b"last"],
        }
        assert sender.told == [f"{cluster.other.url}/ can't answer just now (Out of order).", "recovered"]
        assert waiter.told == []
