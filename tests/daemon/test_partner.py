"""A machine that ours knows: what is made of what it says in their room, and what it is told there.

The two of these tests talk in a room, and their agents have no sockets: paths are the laboratory's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
import trio
import trio.testing

from p2ptun.daemon.config import PeerConfig
from p2ptun.daemon.event import ErrorEvent, Event, PeerEvent
from p2ptun.daemon.naming import NOWHERE, Naming
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.partner import LETTER_BURST, LOSS_REMINDER_AFTER, NO_CONNECTION, REVIVAL, Partner
from p2ptun.daemon.roaming import Roaming
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.ice.event import RestartReason
from p2ptun.io.driver import Driver
from p2ptun.io.underlay import Underlay
from p2ptun.node.event import FailureReason, NodeEvent, PeerRestarted, PeerState
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair
from p2ptun.rendezvous.base import Notice
from p2ptun.signal.conversation import Confirmed, Heard, Met
from p2ptun.signal.letter import Letter, decode_letter, encode_letter
from p2ptun.signal.pinned import kind_of, room_name, side_token, static_secret
from p2ptun.tunnel.psk import PskSource, mix_psks
from p2ptun.types import Endpoint
from tests.daemon.named_place import Place
from tests.io.machine import FakeTun

pytestmark = pytest.mark.trio

ALICE, BOB = (KeyPair.of_private(bytes([number]) * 32) for number in (1, 2))
PSK = bytes(range(32))


class Station:
    """One machine without sockets and device, and its partner."""

    def __init__(self, underlay: Underlay, keys: KeyPair, other: KeyPair, place: Place) -> None:
        self.told: list[Event] = []
        self.place = place
        self.tunnel = Tunnel(AdhocOptions(), KeyPair.of_private(keys.private), self.told.append)
        driver = self.tunnel.driver = Driver(self.tunnel.node, FakeTun(), self.handle)
        parts = (self.tunnel.narrator, self.tunnel.notices, self.tunnel.relays, self.tunnel.port_mapping)
        self.tunnel.roaming = Roaming(NOWHERE, underlay, driver, Naming(None), *parts)
        self.tunnel.node.add_local_address(Endpoint.of(ip_address("192.0.2.1"), 4000 + keys.public[0]), 0.0)
        config = PeerConfig("nas", other.public, (ip_network("10.77.0.2/32"),), PSK)
        self.partner = Partner(self.tunnel, config, lambda: place)

    def handle(self, event: NodeEvent) -> None:
        self.tunnel.narrator.handle(event)
        for listen in self.tunnel.listeners:
            listen(event)

    @property
    def peer(self) -> Peer:
        return self.tunnel.node.peer("nas")

    def enter(self, state: PeerState, reason: FailureReason | None = None) -> None:
        """Let the peer be in a state, as its agent would."""
        change = self.peer._standing.enter(state, reason)
        assert change is not None
        self.handle(NodeEvent("nas", change))

    def notes(self) -> list[str]:
        return [event.message for event in self.told if isinstance(event, ErrorEvent)]


@asynccontextmanager
async def stations() -> AsyncIterator[tuple[Station, Station, trio.Nursery]]:
    """Two that know each other; neither runs yet."""
    place = Place(room_name(static_secret(ALICE, BOB.public)))
    with Underlay() as underlay:
        async with trio.open_nursery() as nursery:
            yield Station(underlay, ALICE, BOB, place), Station(underlay, BOB, ALICE, place), nursery
            nursery.cancel_scope.cancel()


async def settle(seconds: float = 0.0) -> None:
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_two_connect_by_what_they_say(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, bob, nursery):
        nursery.start_soon(alice.partner.run)
        await settle(3600)
        assert [peer.link for peer in alice.tunnel.node.peers] == [None]
        nursery.start_soon(bob.partner.run)
        await settle()
        contexts = set()
        for station, other, keys in ((alice, bob, BOB), (bob, alice, ALICE)):
            link = station.peer.link
            assert link is not None
            assert link.identity.public_key == keys.public
            assert link.identity.psk == mix_psks({PskSource.CONFIGURED: PSK})
            assert link.identity.is_quantum_resistant
            contexts.add(link.identity.context)
            told = {each.endpoint for each in station.peer.agent.remote_candidates}
            assert told == {each.endpoint for each in other.peer.agent.local_candidates} != set()
        assert alice.peer.agent.role is not bob.peer.agent.role
        assert len(contexts) == 1


async def test_who_begins_anew_gets_a_new_peer(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, bob, nursery):
        for station in (alice, bob):
            nursery.start_soon(station.partner.run)
        await settle()
        before = alice.peer
        bob.partner._attendance.begin_anew()
        await settle(1)
        assert alice.peer is not before
        assert alice.peer.agent.local_credentials != before.agent.local_credentials
        assert alice.peer.link is not None
        states = [(event.state, event.reason) for event in alice.told if isinstance(event, PeerEvent)]
        assert states == [("connecting", None), ("connecting", "the other side has started anew")]
        assert len(alice.tunnel.listeners) == 1


@pytest.mark.parametrize(
    "reason", [FailureReason.NO_PATH, FailureReason.CONSENT_EXPIRED, FailureReason.HANDSHAKE_FAILED]
)
async def test_who_fails_says_why_and_begins_anew(
    autojump_clock: trio.testing.MockClock, reason: FailureReason
) -> None:
    async with stations() as (alice, bob, nursery):
        for station in (alice, bob):
            nursery.start_soon(station.partner.run)
        await settle()
        before = bob.peer
        alice.enter(PeerState.FAILED, reason)
        (note,) = alice.notes()
        assert note.lower() == f"{reason.value}."
        (health,) = alice.tunnel.notices
        assert health.id == NO_CONNECTION
        assert health.remedy
        assert "--" not in health.remedy, "there is a configuration, and no command line"
        await settle(REVIVAL[1] + 1)
        assert alice.peer.state is PeerState.CONNECTING
        assert bob.peer is not before


async def test_where_no_relay_is_allowed_that_may_be_the_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, _, nursery):
        alice.partner._config = replace(alice.partner._config, path=PathPolicy.DIRECT)
        nursery.start_soon(alice.partner.run)
        await settle()
        alice.enter(PeerState.FAILED, FailureReason.NO_PATH)
        assert ["Allow a relay" in each.remedy for each in alice.tunnel.notices] == [True]


async def test_who_fails_while_nobody_is_there_has_nobody_to_tell(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, bob, nursery):
        nursery.start_soon(alice.partner.run)
        life = trio.CancelScope()
        nursery.start_soon(run_within, life, bob.partner)
        await settle()
        life.cancel()
        await settle()
        alice.enter(PeerState.FAILED, FailureReason.NO_PATH)
        await settle(REVIVAL[1] + 1)
        alice.tunnel.node.add_local_address(Endpoint.of(ip_address("192.0.2.1"), 5000), trio.current_time())
        alice.tunnel.driver.flush()
        await settle(60)
        assert alice.peer.state is PeerState.CONNECTING
        assert alice.peer.link is None
        assert [each.id for each in alice.tunnel.notices] == [NO_CONNECTION]


async def run_within(life: trio.CancelScope, partner: Partner) -> None:
    with life:
        await partner.run()


async def test_who_left_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, bob, nursery):
        for station in (alice, bob):
            nursery.start_soon(station.partner.run)
        await settle()
        before = alice.peer
        alice.enter(PeerState.FAILED, FailureReason.PEER_CLOSED)
        await settle(REVIVAL[1] + 1)
        assert alice.peer is before
        assert alice.notes() == []


async def test_who_is_missed_for_long_is_asked_after(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, _, nursery):
        nursery.start_soon(alice.partner.run)
        await settle()
        narrator = alice.tunnel.narrator
        narrator.connected.set()
        await settle()
        narrator.start_over()
        await settle(LOSS_REMINDER_AFTER - 1)
        assert alice.notes() == []
        await settle(2)
        assert ["nas for 10 s" in note for note in alice.notes()] == [True]
        narrator.lost = trio.Event()
        narrator.connected.set()
        await settle()
        assert list(alice.tunnel.notices) == []


async def test_news_are_said_while_there_is_no_path_and_not_too_many(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, bob, nursery):
        for station in (alice, bob):
            nursery.start_soon(station.partner.run)
        await settle()
        kind = kind_of(ALICE.public, BOB.public)
        said = alice.place.sides[side_token(static_secret(ALICE, BOB.public), kind)].sent
        before = len(said)
        for port in range(5000, 5060):
            alice.tunnel.node.add_local_address(Endpoint.of(ip_address("192.0.2.1"), port), trio.current_time())
            alice.tunnel.driver.flush()
            await settle(0.01)
        assert 2 <= len(said) - before <= 2 * LETTER_BURST
        await settle(60)
        told = {each.endpoint.port for each in bob.peer.agent.remote_candidates}
        assert 5059 in told or len(told) >= 16


async def test_nonsense_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stations() as (alice, bob, _):
        letters: list[bytes] = []
        monkeypatch.setattr(alice.partner._attendance, "say", lambda said: None)
        monkeypatch.setattr(bob.partner._attendance, "say", letters.append)
        for station in (alice, bob):
            station.partner.begin()
        alice.partner.listen(Heard(b""))
        for event in (Notice.JOINED, Met(bytes(8)), Confirmed()):
            alice.partner.listen(event)
            bob.partner.listen(event)
        whole = decode_letter(letters[0])
        another = replace(whole.description, session_id=bytes(range(8)))
        for said in (b"", b"\x01\x00", letters[0][:-1], encode_letter(Letter(another, whole.state))):
            alice.partner.listen(Heard(said))
        bob.partner.listen(Heard(letters[0]))  # his own
        assert alice.peer.link is bob.peer.link is None
        alice.partner.listen(Heard(letters[0]))
        assert alice.peer.link is not None


async def test_connections_are_renewed_when_the_path_goes_silent_or_the_network_changes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with stations() as (alice, _, nursery):
        nursery.start_soon(alice.partner.run)
        await settle(60)
        assert len(alice.place.entered) == 1
        for reason, count in ((RestartReason.PEER, 1), (RestartReason.NETWORK_CHANGED, 2)):
            alice.partner.follow(NodeEvent("nas", PeerRestarted(1, reason)))
            alice.partner.follow(NodeEvent("else", PeerRestarted(1, RestartReason.NETWORK_CHANGED)))
            await settle(60)
            assert len(alice.place.entered) == count
        alice.tunnel.narrator.move()
        await settle(60)
        assert len(alice.place.entered) == 3


async def test_new_credentials_are_fetched_when_the_old_ones_end(autojump_clock: trio.testing.MockClock) -> None:
    async with stations() as (alice, _, nursery):
        nursery.start_soon(alice.partner.run)
        await settle()
        ended = alice.tunnel.relays.borrowed_ended
        ended.set()
        await settle()
        assert alice.tunnel.relays.borrowed_ended is not ended


async def test_a_key_of_nobody_is_refused() -> None:
    with Underlay() as underlay, pytest.raises(ConfigError, match="nobody's key"):
        Station(underlay, ALICE, type(BOB)(bytes(32), bytes(32)), Place(""))
