"""What every rendezvous has to do, shown with those that carry messages without people: a server, a shared folder."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing

from p2ptun.errors import RoomCrowded, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, BurnReason, Delivery, Notice, Rendezvous, Room
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.signal.code import Code, draw_code
from p2ptun.signal.conversation import Confirmed, Conversation, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.pairing import CodeConversation
from tests.rendezvous.place import NAME, Surroundings, rendezvous_server

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rendezvous_folder"
OURS, THEIRS, OTHERS = "o" * 43, "t" * 43, "x" * 43
Make = Callable[[], Rendezvous]


@dataclass(frozen=True)
class Place:
    """Where two sides meet: what makes a side's rendezvous, while it is open; and whether clocks may jump."""

    open: Callable[[], AbstractAsyncContextManager[Make]]
    autojump: float | None = None

    def run(self, main: Callable[[Make], Awaitable[None]]) -> None:
        """Run a test there, with every rendezvous that it makes closed at the end."""

        async def meet() -> None:
            made: list[Rendezvous] = []

            def make() -> Rendezvous:
                made.append(make_one())
                return made[-1]

            async with self.open() as make_one:
                try:
                    with trio.fail_after(60):
                        await main(make)
                finally:
                    for each in made:
                        await each.aclose()
                        await each.aclose()

        clock = None if self.autojump is None else trio.testing.MockClock(autojump_threshold=self.autojump)
        trio.run(meet, clock=clock)


@asynccontextmanager
async def at_server() -> AsyncIterator[Make]:
    async with rendezvous_server() as url:
        yield lambda: HttpRendezvous(url, Surroundings().context)


@pytest.fixture(params=["http", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "http":
        yield Place(at_server)
        return
    monkeypatch.syspath_prepend(EXAMPLE)
    example = importlib.import_module("p2ptun_folder")

    @asynccontextmanager
    async def in_folder() -> AsyncIterator[Make]:
        await trio.lowlevel.checkpoint()
        yield lambda: example.FolderRendezvous(f"folder:{tmp_path}", Surroundings().context)

    yield Place(in_folder, autojump=0.01)
    sys.modules.pop("p2ptun_folder")


async def numbered(make: Make, opening: bytes = b"hello") -> tuple[Room, Room]:
    """Open a room and join it."""
    opener = await make().open_room()
    assert opener.number is not None
    assert opener.number.isdigit()
    assert opener.number[0] != "0"
    return opener, await make().join_room(opener.number, opening)


async def messages(room: Room, count: int) -> list[bytes]:
    """Receive so many messages, notices left out."""
    found: list[bytes] = []
    while len(found) < count:
        delivery = await room.receive()
        if isinstance(delivery, bytes):
            found.append(delivery)
    return found


async def notice(room: Room) -> Notice:
    """Receive until there is a notice."""
    while not isinstance(delivery := await room.receive(), Notice):
        pass
    return delivery


def test_the_opening_comes_with_who_joins(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        assert {await opener.receive(), await opener.receive()} == {Notice.JOINED, b"hello"}
        assert joiner.number == opener.number

    place.run(main)


def test_what_was_left_before_is_received_by_who_joins(place: Place) -> None:
    async def main(make: Make) -> None:
        opener = await make().open_room()
        await opener.send(b"opening")
        joiner = await make().join_room(opener.number or "", b"hello")
        assert await joiner.receive() == b"opening"

    place.run(main)


def test_messages_go_both_ways_in_order_whole(place: Place) -> None:
    def said(who: bytes) -> list[bytes]:
        return [who, b"\0\xff\r\n", *(b"%s %d" % (who, number) for number in range(12)), os.urandom(MAX_MESSAGE_SIZE)]

    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        ours, theirs = said(b"opener"), said(b"joiner")
        for message in ours:
            await opener.send(message)
        for message in theirs:
            await joiner.send(message)
        assert await messages(joiner, len(ours)) == ours
        assert await messages(opener, len(theirs) + 1) == [b"hello", *theirs]

    place.run(main)


def test_who_receives_waits(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        received: list[bytes] = []

        async def receive() -> None:
            received.extend(await messages(joiner, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
            await opener.send(b"at last")
        assert received == [b"at last"]

    place.run(main)


def test_who_is_cancelled_loses_nothing(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        for _ in range(3):
            with trio.move_on_after(0.01):
                await joiner.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await joiner.receive()
        await opener.send(b"still there")
        assert await messages(joiner, 1) == [b"still there"]

    place.run(main)


def test_a_room_that_is_not_there(place: Place) -> None:
    async def main(make: Make) -> None:
        with pytest.raises(RoomUnknown) as caught:
            await make().join_room("987654", b"hello")
        assert caught.value.remedy

    place.run(main)


def test_a_third_one_is_refused_and_both_are_told(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        for _ in range(2):
            with pytest.raises(RoomCrowded):
                await make().join_room(opener.number or "", b"and me")
        assert await notice(joiner) is Notice.CROWDED
        assert {await notice(opener), await notice(opener)} == {Notice.JOINED, Notice.CROWDED}
        await joiner.send(b"so what")
        assert await messages(opener, 1) in ([b"so what"], [b"hello"])

    place.run(main)


@pytest.mark.parametrize("reason", BurnReason)
def test_a_burnt_room_is_gone_for_everybody(place: Place, reason: BurnReason) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        await joiner.burn(reason)
        with pytest.raises(RoomGone) as caught:
            await messages(opener, 3)
        assert caught.value.reason == reason.value
        with pytest.raises(RoomGone):
            await opener.send(b"anybody?")
        with pytest.raises(RoomGone):
            await make().join_room(opener.number or "", b"hello")
        other = await make().open_room()
        assert other.number != opener.number
        await joiner.aclose()
        await joiner.aclose()

    place.run(main)


def test_a_burn_wakes_who_waits(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        await messages(opener, 1)

        async def wait() -> None:
            with pytest.raises(RoomGone):
                await messages(opener, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
            await joiner.burn(BurnReason.LEFT)

    place.run(main)


def test_a_named_room_has_no_first_side(place: Place) -> None:
    async def main(make: Make) -> None:
        ours = await make().enter_room(NAME, OURS, b"ours")
        theirs = await make().enter_room(NAME, THEIRS, b"theirs")
        assert ours.number is None
        assert await messages(ours, 1) == [b"theirs"]
        assert await messages(theirs, 1) == [b"ours"]
        await ours.send(b"more")
        assert await messages(theirs, 1) == [b"more"]

    place.run(main)


def test_who_comes_anew_is_the_same_side_and_what_it_left_is_forgotten(place: Place) -> None:
    async def main(make: Make) -> None:
        ours = await make().enter_room(NAME, OURS, b"old")
        await ours.send(b"older life")
        theirs = await make().enter_room(NAME, THEIRS, b"theirs")
        again = await make().enter_room(NAME, OURS, b"new")
        assert await messages(again, 1) == [b"theirs"]
        late = await make().enter_room(NAME, THEIRS, b"theirs anew")
        assert await messages(late, 1) == [b"new"]
        assert (await messages(theirs, 1))[-1:] != [b"theirs"]
        assert await messages(again, 1) == [b"theirs anew"]

    place.run(main)


def test_two_others_leave_no_place_in_a_named_room(place: Place) -> None:
    async def main(make: Make) -> None:
        ours = await make().enter_room(NAME, OURS, b"ours")
        await make().enter_room(NAME, THEIRS, b"theirs")
        with pytest.raises(RoomCrowded):
            await make().enter_room(NAME, OTHERS, b"others")
        while await notice(ours) is not Notice.CROWDED:
            pass

    place.run(main)


def test_what_else_is_on_offer_can_be_asked_for(place: Place) -> None:
    async def main(make: Make) -> None:
        opener, joiner = await numbered(make)
        assert await opener.renew_ice() == opener.ice
        assert len(joiner.ice.servers) == len(opener.ice.servers)

    place.run(main)


class Person:
    """A conversation at a room: what is to be said, and what was heard."""

    def __init__(self, room: Room, conversation: Conversation, saying: bytes) -> None:
        self.room = room
        self.conversation = conversation
        self.saying = saying
        self.heard: list[bytes] = []
        self.confirmed: Confirmed | None = None

    async def pump(self) -> None:
        """Take events, then messages, until there are none."""
        while (event := self.conversation.next_event()) is not None:
            match event:
                case Met():
                    self.conversation.say(self.saying)
                case Confirmed():
                    self.confirmed = event
                case Heard(said):
                    self.heard.append(said)
        while (message := self.conversation.next_message()) is not None:
            await self.room.send(message)

    async def converse(self) -> None:
        """Go on until something was heard."""
        await self.pump()
        while not self.heard:
            delivery: Delivery = await self.room.receive()
            if isinstance(delivery, bytes):
                self.conversation.receive_message(delivery)
                await self.pump()


def test_two_people_with_a_code_meet(place: Place) -> None:
    async def main(make: Make) -> None:
        opener = await make().open_room()
        code = draw_code(int(opener.number or ""), os.urandom)
        sharing = Person(opener, CodeConversation(Kind.OFFER, code, os.urandom), b"from who shares")
        await sharing.pump()
        conversation = CodeConversation(Kind.ANSWER, Code(code.room, code.secret), os.urandom)
        opening = conversation.next_message()
        assert opening is not None
        joining = Person(await make().join_room(opener.number or "", opening), conversation, b"from who joins")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sharing.converse)
            nursery.start_soon(joining.converse)
        assert (sharing.heard, joining.heard) == ([b"from who joins"], [b"from who shares"])
        assert sharing.confirmed == joining.confirmed is not None

    place.run(main)
