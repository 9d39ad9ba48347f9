"""What a tunnel does at the rendezvous once it is up: nothing, until it has to. See tests/e2e/test_reunion as well."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from p2ptun.daemon.attendance import LAST_PAUSE
from p2ptun.daemon.introduction import describe
from p2ptun.daemon.options import Side
from p2ptun.daemon.reunion import LINGERING, TROUBLE_PATIENCE, Reunion
from p2ptun.errors import LocalProtocolError, NotMet, RoomGone, RoomUnknown
from p2ptun.node.event import CredentialWanted, NodeEvent, PeerState, PeerStateChanged
from p2ptun.rendezvous.base import IceServer, IceServers, Room
from p2ptun.signal.conversation import Heard
from p2ptun.signal.description import Kind
from p2ptun.signal.letter import decode_letter
from p2ptun.signal.pinned import PinnedConversation, room_name, side_token
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri
from tests.daemon.person import Person, PreparedRooms
from tests.daemon.room import SharedRoom, SideOfRoom

pytestmark = pytest.mark.trio

SECRET = bytes(range(32))
RELAY = parse_uri("turn:192.0.2.9")


@dataclass
class NamedRooms:
    """A rendezvous with one named room, whose one side is ours each time that we enter."""

    rooms: list[SideOfRoom]
    entered: list[tuple[str, str]] = field(default_factory=list)
    problem: NotMet | None = None

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        await trio.lowlevel.checkpoint()
        if self.problem is not None:
            raise self.problem
        self.entered.append((name, token))
        room = self.rooms.pop(0)
        await room.send(opening)
        return room

    async def open_room(self) -> Room:
        raise LocalProtocolError("nobody opens one here")

    async def join_room(self, number: str, opening: bytes) -> Room:
        raise LocalProtocolError("nobody joins one here")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Watched:
    """A tunnel that is up, and its reunion."""

    def __init__(self, *rooms: SideOfRoom) -> None:
        self.rooms = NamedRooms(list(rooms))
        self.person = Person(Side.SHARE, PreparedRooms())
        own = describe(self.person.tunnel, self.person.peer, Kind.OFFER, bytes(8))
        self.reunion = Reunion(self.person.tunnel, self.person.peer, self.rooms, SECRET, Kind.OFFER, lambda: own)

    def hear(self, state: PeerState) -> None:
        """Let the node tell a state of the peer."""
        for listen in self.person.tunnel.listeners:
            listen(NodeEvent("peer", PeerStateChanged(state, None)))


async def test_a_path_that_is_found_again_soon_is_nobody_else_s_business(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watched = Watched(SharedRoom().sides[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.reunion.run)
        for _ in range(3):
            watched.hear(PeerState.SUSPECT)
            await trio.sleep(TROUBLE_PATIENCE / 2)
            watched.hear(PeerState.CONNECTED)
            await trio.sleep(TROUBLE_PATIENCE * 2)
        nursery.cancel_scope.cancel()
    assert watched.rooms.entered == []


async def test_it_tells_how_it_can_be_reached_and_leaves_when_all_is_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shared = SharedRoom()
    watched = Watched(shared.sides[0])
    other = PinnedConversation(SECRET, Kind.ANSWER, os.urandom)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.reunion.run)
        watched.hear(PeerState.SUSPECT)
        watched.hear(PeerState.CONNECTING)
        await trio.sleep(TROUBLE_PATIENCE + 1)
        assert watched.rooms.entered == [(room_name(SECRET), side_token(SECRET, Kind.OFFER))]
        for _ in range(4):
            for message in shared.sides[0].sent[:]:
                other.receive_message(message)
            while (answer := other.next_message()) is not None:
                await shared.sides[1].send(answer)
            await trio.testing.wait_all_tasks_blocked()
        events = []
        while (event := other.next_event()) is not None:
            events.append(event)
        said = [decode_letter(event.said) for event in events if isinstance(event, Heard)]
        assert said[-1].description.public_key == watched.person.tunnel.keys.public
        watched.hear(PeerState.CONNECTED)
        await trio.sleep(LINGERING / 2)
        was_closed = shared.sides[0].is_closed
        assert not was_closed, "the other side may lack the last letter"
        await trio.sleep(LINGERING)
        assert shared.sides[0].is_closed
        nursery.cancel_scope.cancel()


async def test_new_credentials_are_fetched_and_the_room_left_again(autojump_clock: trio.testing.MockClock) -> None:
    shared = SharedRoom()
    shared.sides[0].ice = IceServers((IceServer(RELAY, LongTermCredential("later", "x")),), 600.0)
    watched = Watched(shared.sides[0])
    tunnel = watched.person.tunnel
    tunnel.gathering.offer(IceServers((IceServer(RELAY, LongTermCredential("first", "x")),), 60.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.reunion.run)
        nursery.start_soon(tunnel.relays.run, tunnel.driver, lambda server: "")
        tunnel.relays.handle(NodeEvent("", CredentialWanted(RELAY.host)))
        await trio.sleep(1)
        assert len(watched.rooms.entered) == 1
        assert shared.sides[0].is_closed
        nursery.cancel_scope.cancel()


async def test_a_rendezvous_that_refuses_is_told(autojump_clock: trio.testing.MockClock) -> None:
    watched = Watched()
    watched.rooms.problem = NotMet("Two others are in the room already.", "Start anew on both sides.")
    tunnel = watched.person.tunnel
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.reunion.run)
        watched.hear(PeerState.CONNECTING)
        await trio.sleep(TROUBLE_PATIENCE + 1)
        tunnel.relays.borrowed_ended.set()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert watched.person.notes() == ["Two others are in the room already."] * 2


async def test_a_rendezvous_that_knows_no_room_for_long_is_not_asked_without_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rooms = [SharedRoom().sides[0] for _ in range(100)]
    for number, room in enumerate(rooms):
        room.deliver(RoomGone("It was burnt.", "", "left") if number % 2 else RoomUnknown("There is no such room."))
    watched = Watched(*rooms)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.reunion.run)
        watched.hear(PeerState.CONNECTING)
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert 600 / (2 * LAST_PAUSE) < len(watched.rooms.entered) < 60
    assert watched.person.notes() == ["It was burnt."]
