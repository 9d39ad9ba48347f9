"""Being in a room all the time, whatever becomes of the rendezvous and of the other side."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from p2ptun.daemon.attendance import ABSENT, FRESH, Attendance
from p2ptun.daemon.event import Event
from p2ptun.daemon.notice import Notices
from p2ptun.errors import RendezvousError, RoomUnknown
from p2ptun.rendezvous.base import IceServers, Notice
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.pinned import room_name, side_token
from tests.daemon.named_place import Place
from tests.daemon.room import SideOfRoom

pytestmark = pytest.mark.trio

SECRET = bytes(range(32))


class Machine:
    """One side, and what it heard."""

    def __init__(self, place: Place, kind: Kind) -> None:
        self.heard: list[ConversationEvent | Notice] = []
        self.told: list[Event] = []
        self.offers: list[IceServers] = []
        self.notices = Notices(self.told.append)
        self.kind = kind
        self.attendance = Attendance(lambda: place, SECRET, kind, self.notices, self.listen, self.offers.append)

    def listen(self, event: ConversationEvent | Notice) -> None:
        self.heard.append(event)
        if isinstance(event, Confirmed):
            self.attendance.say(f"hello from {self.kind.value}".encode())

    @property
    def sessions(self) -> list[bytes]:
        return [event.session_id for event in self.heard if isinstance(event, Met)]

    @property
    def words(self) -> list[bytes]:
        return [event.said for event in self.heard if isinstance(event, Heard)]


@asynccontextmanager
async def attending(*machines: Machine) -> AsyncIterator[trio.CancelScope]:
    """Let them attend for as long as the block."""
    async with trio.open_nursery() as nursery:
        for machine in machines:
            nursery.start_soon(machine.attendance.run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def settle(seconds: float = 0.0) -> None:
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_two_meet_whoever_comes_first(autojump_clock: trio.testing.MockClock) -> None:
    for order in ((Kind.OFFER, Kind.ANSWER), (Kind.ANSWER, Kind.OFFER)):
        place = Place(room_name(SECRET))
        first, second = (Machine(place, kind) for kind in order)
        async with attending(first):
            await settle(60)
            async with attending(second):
                await settle()
                assert first.sessions == second.sessions
                assert len(first.sessions) == 1
                assert first.words == [f"hello from {order[1].value}".encode()]
                assert second.words == [f"hello from {order[0].value}".encode()]
        assert set(place.entered) == {side_token(SECRET, kind) for kind in Kind}
        assert first.offers == second.offers == [IceServers()]


async def test_who_begins_anew_is_met_anew(autojump_clock: trio.testing.MockClock) -> None:
    place = Place(room_name(SECRET))
    alice, bob = Machine(place, Kind.OFFER), Machine(place, Kind.ANSWER)
    async with attending(alice, bob):
        await settle()
        bob.attendance.begin_anew()
        await settle(1)
        assert len(alice.sessions) == len(set(alice.sessions)) == 2
        assert alice.sessions == bob.sessions
        assert alice.words == [b"hello from answer"] * 2


async def test_who_crashes_is_met_anew(autojump_clock: trio.testing.MockClock) -> None:
    place = Place(room_name(SECRET))
    alice, bob = Machine(place, Kind.OFFER), Machine(place, Kind.ANSWER)
    async with attending(alice):
        async with attending(bob):
            await settle()
        again = Machine(place, Kind.ANSWER)
        async with attending(again):
            await settle(1)
            assert alice.sessions[1:] == again.sessions
            assert alice.words == [b"hello from answer"] * 2


async def test_a_room_that_was_forgotten_is_entered_anew_and_the_session_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    place = Place(room_name(SECRET))
    alice, bob = Machine(place, Kind.OFFER), Machine(place, Kind.ANSWER)
    async with attending(alice, bob):
        await settle()
        sides = list(place.sides.values())
        place.sides.clear()
        for side in sides:
            side.deliver(RoomUnknown("Forgotten."))
        await settle(10)
        alice.attendance.say(b"still there")
        await settle()
        assert bob.words == [b"hello from offer", b"still there"]
        assert (len(alice.sessions), alice.sessions) == (1, bob.sessions)
        assert len(place.entered) == 4
        assert (list(alice.notices), alice.told) == ([], [])


async def test_a_rendezvous_that_refuses_is_told_and_asked_ever_more_rarely(
    autojump_clock: trio.testing.MockClock,
) -> None:
    place = Place(room_name(SECRET))
    place.problems = itertools.chain(
        itertools.repeat(RendezvousError("It is full.", "Come later."), 20), itertools.repeat(None)
    )
    alice = Machine(place, Kind.OFFER)
    async with attending(alice):
        await settle(30)
        assert 4 <= len(place.entered) <= 12
        assert [(each.id, each.message) for each in alice.notices] == [(ABSENT, "It is full.")]
        await settle(1000)
        assert list(alice.notices) == []
        assert len(place.entered) == 21


async def test_a_fresh_room_is_left_as_soon_as_it_may_be_stale(autojump_clock: trio.testing.MockClock) -> None:
    place = Place(room_name(SECRET))
    alice, bob = Machine(place, Kind.OFFER), Machine(place, Kind.ANSWER)
    alice.attendance.refresh()  # there is none
    async with attending(alice, bob):
        await settle()
        for _ in range(3):
            alice.attendance.refresh()
        await settle()
        assert len(place.entered) == 2
        await settle(FRESH)
        assert len(place.entered) == 3
        assert place.closed == 1
        alice.attendance.say(b"still there")
        await settle()
        assert bob.words[-1] == b"still there"
        assert len(bob.sessions) == 1


async def test_servers_are_offered_anew(autojump_clock: trio.testing.MockClock) -> None:
    place = Place(room_name(SECRET))
    alice = Machine(place, Kind.OFFER)
    await alice.attendance.renew_ice()
    async with attending(alice):
        await settle()
        await alice.attendance.renew_ice()
        assert len(alice.offers) == 2


async def test_servers_of_a_room_that_has_ended_are_no_loss(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(side: SideOfRoom) -> IceServers:
        raise RoomUnknown("Forgotten.")

    monkeypatch.setattr(SideOfRoom, "renew_ice", fail)
    alice = Machine(Place(room_name(SECRET)), Kind.OFFER)
    async with attending(alice):
        await settle()
        await alice.attendance.renew_ice()
        assert len(alice.offers) == 1
