from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
import trio.testing

from p2ptun.errors import RendezvousError, RoomCrowded, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, IceServer, IceServers, Notice
from p2ptun.rendezvous.several_room import MAX_SEEN, MAX_UNSENT, SeveralRoom, Side
from p2ptun.stun.uri import parse_uri
from tests.rendezvous.place import NAME
from tests.rendezvous.postbox import Postbox, PostboxRoom

OURS, THEIRS = "o" * 43, "t" * 43
A, B = (IceServer(parse_uri(f"stun:{name}.example")) for name in "ab")


class Meeting:
    """Two places, we at both of them, and the other side at each."""

    def __init__(self) -> None:
        self.first = Postbox(IceServers((A,), 100.0))
        self.second = Postbox(IceServers((A, B), 50.0))
        self.ours = SeveralRoom([Side(each, NAME, OURS, b"opening") for each in (self.first, self.second)], Random(1))

    def left(self, postbox: Postbox) -> list[object]:
        return list(postbox.left[NAME][OURS])

    async def theirs(self, postbox: Postbox, opening: bytes = b"theirs") -> PostboxRoom:
        return await postbox.enter_room(NAME, THEIRS, opening)


def run(main: Callable[[Meeting], Awaitable[None]]) -> None:
    async def start() -> None:
        with trio.fail_after(3600):
            await main(Meeting())

    trio.run(start, clock=trio.testing.MockClock(autojump_threshold=0))


async def idle(room: SeveralRoom, seconds: float = 100) -> None:
    """Receive for a while, with nothing to receive."""
    with trio.move_on_after(seconds):
        raise AssertionError(await room.receive())


def test_what_is_said_is_left_everywhere() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await meeting.ours.send(b"one")
        await meeting.ours.send(b"two")
        await idle(meeting.ours)
        assert meeting.left(meeting.first) == meeting.left(meeting.second) == [b"opening", b"one", b"two"]

    run(main)


def test_what_comes_twice_is_delivered_once() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        for postbox in (meeting.first, meeting.second):
            theirs = await meeting.theirs(postbox)
            await theirs.send(b"said")
        assert [await meeting.ours.receive(), await meeting.ours.receive()] == [b"theirs", b"said"]
        await idle(meeting.ours)

    run(main)


def test_notices_are_delivered_each_time() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        for postbox in (meeting.first, meeting.second):
            (await meeting.theirs(postbox, b"theirs")).notice(Notice.CROWDED)
        received = [await meeting.ours.receive() for _ in range(3)]
        assert sorted(map(str, received)) == sorted(map(str, [b"theirs", Notice.CROWDED, Notice.CROWDED]))

    run(main)


@pytest.mark.parametrize("away", ["first", "second"])
def test_it_works_while_one_does(away: str) -> None:
    async def main(meeting: Meeting) -> None:
        absent: Postbox = getattr(meeting, away)
        present = meeting.second if absent is meeting.first else meeting.first
        absent.go()
        await meeting.ours.enter()
        await meeting.ours.send(b"said")
        await (await meeting.theirs(present)).send(b"heard")
        assert [await meeting.ours.receive(), await meeting.ours.receive()] == [b"theirs", b"heard"]
        assert meeting.left(present) == [b"opening", b"said"]
        assert absent.entries == 0
        absent.come()
        await idle(meeting.ours)
        assert meeting.left(absent) == [b"opening", b"said"]

    run(main)


def test_who_goes_in_the_middle_gets_the_rest_later_in_order() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await meeting.ours.send(b"0")
        await idle(meeting.ours)
        meeting.second.go()
        for number in range(1, 4):
            await meeting.ours.send(b"%d" % number)
        assert meeting.left(meeting.first)[1:] == [b"0", b"1", b"2", b"3"]
        meeting.second.come()
        await idle(meeting.ours)
        assert meeting.left(meeting.second)[1:] == [b"0", b"1", b"2", b"3"]

    run(main)


def test_what_waits_is_bounded() -> None:
    async def main(meeting: Meeting) -> None:
        meeting.second.go()
        await meeting.ours.enter()
        for number in range(1000):
            await meeting.ours.send(b"%d" % number)
        meeting.second.come()
        await idle(meeting.ours)
        assert meeting.left(meeting.second)[1:] == [b"%d" % number for number in range(1000 - MAX_UNSENT, 1000)]

    run(main)


def test_what_is_remembered_is_bounded() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        theirs = await meeting.theirs(meeting.first)
        for number in range(2 * MAX_SEEN):
            await theirs.send(b"%d" % number)
        for _ in range(2 * MAX_SEEN + 1):
            await meeting.ours.receive()
        assert len(meeting.ours._seen) == MAX_SEEN

    run(main)


def test_a_place_that_has_forgotten_us_is_entered_anew() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await meeting.ours.send(b"said")
        await idle(meeting.ours)
        meeting.first.forget()
        await idle(meeting.ours)
        assert meeting.first.entries == 2
        assert meeting.left(meeting.first) == [b"opening", b"said"]
        assert meeting.second.entries == 1

    run(main)


def test_a_place_that_refuses_is_tried_again_and_the_other_one_does() -> None:
    async def main(meeting: Meeting) -> None:
        meeting.first.refusal = RoomCrowded("Two are there.")
        await meeting.ours.enter()
        await meeting.ours.send(b"said")
        await meeting.theirs(meeting.second)
        assert await meeting.ours.receive() == b"theirs"
        await idle(meeting.ours, 600)
        meeting.first.refusal = None
        await idle(meeting.ours)
        assert meeting.left(meeting.first) == [b"opening", b"said"]

    run(main)


def test_when_all_refuse_it_is_told() -> None:
    async def main(meeting: Meeting) -> None:
        meeting.first.refusal = RoomCrowded("Two are there.")
        meeting.second.refusal = RendezvousError("It is no rendezvous.")
        with pytest.raises(RoomCrowded):
            await meeting.ours.enter()
        with pytest.raises(RoomCrowded):
            await meeting.ours.send(b"said")
        with pytest.raises(RendezvousError):
            await meeting.ours.receive()

    run(main)


def test_a_room_that_is_gone_everywhere_is_gone() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await idle(meeting.ours)
        meeting.first.refusal = meeting.second.refusal = RoomGone("It was closed.", reason="left")
        with pytest.raises(RoomGone):
            await meeting.ours.receive()

    run(main)


def test_forgetting_everywhere_is_told() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await idle(meeting.ours)

        async def receive() -> None:
            with pytest.raises(RoomUnknown):
                await meeting.ours.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            meeting.first.forget()
            meeting.second.forget()

    run(main)


def test_what_is_on_offer_anywhere_is_on_offer() -> None:
    async def main(meeting: Meeting) -> None:
        assert meeting.ours.ice == IceServers() == await meeting.ours.renew_ice()
        await meeting.ours.enter()
        await idle(meeting.ours)
        assert meeting.ours.ice == IceServers((A, B), 50.0)
        meeting.first.go()
        assert await meeting.ours.renew_ice() == IceServers((A, B), 50.0)

    run(main)


def test_burning_burns_wherever_it_can() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        await idle(meeting.ours)
        meeting.first.go()
        await meeting.ours.burn(BurnReason.DONE)
        assert (meeting.first.burnt, meeting.second.burnt) == ([], [BurnReason.DONE])
        meeting.first.come()
        meeting.first.refusal = RoomGone("It was closed.")
        await meeting.ours.burn(BurnReason.LEFT)
        assert meeting.second.burnt == [BurnReason.DONE, BurnReason.LEFT]
        await meeting.ours.aclose()
        await meeting.ours.aclose()
        assert meeting.ours.number is None

    run(main)


def test_who_is_cancelled_loses_nothing() -> None:
    async def main(meeting: Meeting) -> None:
        await meeting.ours.enter()
        meeting.first.go()
        meeting.second.go()
        with trio.move_on_after(1):
            await meeting.ours.send(b"said")
        meeting.first.come()
        meeting.second.come()
        await meeting.ours.send(b"more")
        await idle(meeting.ours)
        assert meeting.left(meeting.first) == meeting.left(meeting.second) == [b"opening", b"said", b"more"]

    run(main)
