from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from p2ptun.errors import LocalProtocolError, RendezvousError, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.several import COPIES, Member, SeveralRendezvous, Troubles, ranked
from tests.rendezvous.place import NAME, Surroundings, answer, rendezvous_server, seat, stand_in
from tests.rendezvous.postbox import Postbox
from tests.rendezvous.scripted import Script

NAMES = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(600)]
OURS, THEIRS = "o" * 43, "t" * 43


def members(*texts: str) -> list[Member]:
    return [Member(text, Postbox()) for text in texts]


def at(url: str) -> Member:
    return Member(url, HttpRendezvous(url, Surroundings().context))


def at_servers(count: int, main: Callable[[list[str], Callable[[], SeveralRendezvous]], Awaitable[None]]) -> None:
    """Run so many real servers, and give their URLs and what makes a side that knows them all."""

    async def start() -> None:
        async with AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(rendezvous_server()) for _ in range(count)]
            made: list[SeveralRendezvous] = []

            def make() -> SeveralRendezvous:
                made.append(
                    SeveralRendezvous([Member(url, HttpRendezvous(url, Surroundings().context)) for url in urls])
                )
                return made[-1]

            await main(sorted(urls), make)
            for each in made:
                await each.aclose()

    trio.run(start)


def test_named_rooms_spread_evenly_and_move_little_when_a_place_goes() -> None:
    four = members("https://a.example", "https://b.example", "https://c.example", "https://d.example")
    places = {name: [each.key for each in ranked(four, name)] for name in NAMES}
    for count in Counter(key for found in places.values() for key in found[:COPIES]).values():
        assert 0.8 < count / (COPIES * len(NAMES) / len(four)) < 1.2
    without = [each for each in four if each.key != "https://b.example"]
    for name in NAMES:
        assert [each.key for each in ranked(without, name)] == [
            key for key in places[name] if key != "https://b.example"
        ]


def test_both_sides_find_the_same_places_however_they_write_them() -> None:
    ours = members("https://a.example/", "https://b.example", "https://c.example")
    theirs = members("https://c.example/", "https://b.example/", "https://a.example")
    for name in NAMES[:50]:
        assert [each.key for each in ranked(ours, name)] == [each.key for each in ranked(theirs, name)]


def test_a_named_room_is_at_two_places() -> None:
    async def main() -> None:
        several = members(*"abcde")
        rendezvous = SeveralRendezvous(several)
        room = await rendezvous.enter_room(NAME, OURS, b"opening")
        with trio.move_on_after(10):
            await room.receive()
        entered = [each.text for each in several if isinstance(each.rendezvous, Postbox) and each.rendezvous.entries]
        assert entered == sorted(each.text for each in ranked(several, NAME)[:COPIES])
        await rendezvous.aclose()
        assert all(isinstance(each.rendezvous, Postbox) and each.rendezvous.is_closed for each in several)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_two_meet_in_a_named_room_of_two_real_servers() -> None:
    async def main(_: list[str], make: Callable[[], SeveralRendezvous]) -> None:
        ours = await make().enter_room(NAME, OURS, b"ours")
        theirs = await make().enter_room(NAME, THEIRS, b"theirs")
        received: dict[str, bytes] = {}

        async def receive(who: str) -> None:
            room = ours if who == "ours" else theirs
            while not isinstance(delivery := await room.receive(), bytes):
                pass
            received[who] = delivery

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, "ours")
            nursery.start_soon(receive, "theirs")
        assert received == {"ours": b"theirs", "theirs": b"ours"}

    at_servers(2, main)


def test_a_number_says_where_the_room_is() -> None:
    async def main(urls: list[str], make: Callable[[], SeveralRendezvous]) -> None:
        for _ in range(3):
            opener = await make().open_room()
            assert opener.number is not None
            joiner = await make().join_room(opener.number, b"hello")
            assert {await opener.receive(), await opener.receive()} == {Notice.JOINED, b"hello"}
            await opener.send(b"answer")
            assert await joiner.receive() == b"answer"
            assert joiner.number == opener.number
            assert (await joiner.renew_ice()).servers
            assert joiner.ice.servers
            at_place, place = divmod(int(opener.number), len(urls))
            alone = HttpRendezvous(urls[place], Surroundings().context)
            with pytest.raises(RendezvousError, match="Two are in the room"):
                await alone.join_room(str(at_place), b"")
            await alone.aclose()
            await opener.burn(BurnReason.DONE)
            await joiner.aclose()

    at_servers(3, main)


def test_a_room_is_opened_where_somebody_answers_first() -> None:
    async def main() -> None:
        async with rendezvous_server() as url:
            texts = ["http://127.0.0.1:9", "http://127.0.0.1:10", url]
            there = SeveralRendezvous([at(text) for text in texts])
            opener = await there.open_room()
            assert sorted(each.rstrip("/") for each in texts)[int(opener.number or "") % 3] == url.rstrip("/")
            await there.aclose()

    trio.run(main)


def test_nobody_answers() -> None:
    async def main() -> None:
        texts = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
        there = SeveralRendezvous([at(text) for text in texts])
        for member in there._members:
            assert isinstance(member.rendezvous, HttpRendezvous)
            await member.rendezvous._client.prepare()
        clock.autojump_threshold = 0.005
        with pytest.raises(RendezvousError, match="refused the connection"):
            await there.open_room()
        await there.aclose()

    clock = trio.testing.MockClock()
    trio.run(main, clock=clock)


def test_a_number_that_would_be_too_long_is_none() -> None:
    async def main() -> None:
        async with stand_in(Script(answer(201, seat("999999999")))) as server:
            texts = [server.url, server.url + "again"]
            there = SeveralRendezvous([at(text) for text in texts])
            with pytest.raises(RendezvousError, match="is full"):
                await there.open_room()
            await there.aclose()

    trio.run(main)


def test_a_member_that_can_not_be_asked_is_taken_to_be_there() -> None:
    async def main() -> None:
        with pytest.raises(RendezvousError, match="no numbered rooms"):
            await SeveralRendezvous(members("a", "b")).open_room()

    trio.run(main)


@pytest.mark.parametrize("number", ["", "-1", "x", "1" * 10, "\u0664"])
def test_what_is_no_number_is_our_mistake(number: str) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError):
            await SeveralRendezvous(members("a", "b")).join_room(number, b"")

    trio.run(main)


@pytest.mark.parametrize("number", ["0", "1", "98765"])
def test_a_number_that_no_place_gives_is_unknown(number: str) -> None:
    async def main(_: list[str], make: Callable[[], SeveralRendezvous]) -> None:
        with pytest.raises(RoomUnknown):
            await make().join_room(number, b"")

    at_servers(2, main)


def test_trouble_is_over_when_no_member_has_any() -> None:
    surroundings = Surroundings()
    troubles = Troubles(surroundings.context)
    troubles.recoverer("a")()
    troubles.warner("a")("A is away.", "Wait.")
    troubles.warner("b")("B is away.", "Wait.")
    troubles.recoverer("a")()
    assert surroundings.told == ["A is away.", "B is away."]
    troubles.recoverer("b")()
    troubles.recoverer("b")()
    assert surroundings.told == ["A is away.", "B is away.", "recovered"]
