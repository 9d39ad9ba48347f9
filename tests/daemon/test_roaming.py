"""What a change of the network, or lost time, makes the tunnel do. The monitor itself: tests/io/test_monitor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
import trio
import trio.testing

from p2ptun.daemon.event import AddressPlace, ErrorEvent, Event, NetworkEvent, ResumedEvent
from p2ptun.daemon.naming import Naming
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.portmapping import PortMapping
from p2ptun.daemon.relays import Relays
from p2ptun.daemon.roaming import NO_NETWORK, NO_NETWORK_AFTER, Roaming, network_event
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.io.address import LocalAddress
from p2ptun.io.monitor import NetworkChanged, Resumed, RoutesChanged
from p2ptun.io.network import DefaultRoute, Network
from p2ptun.io.underlay import Underlay
from p2ptun.types import Endpoint, Transport
from tests.io.machine import Machine

pytestmark = pytest.mark.trio

FIRST = LocalAddress(ip_address("127.0.0.1"), 8, "lo", 1, "", True)
SECOND = LocalAddress(ip_address("127.0.0.2"), 8, "lo", 1, "", True)


def network(*candidates: LocalAddress) -> Network:
    return Network(candidates, candidates, links={1: False})


class Traveller:
    """A machine that roams, and what it has told."""

    def __init__(self, underlay: Underlay) -> None:
        self.told: list[Event] = []
        self.machine = Machine(Role.CONTROLLING)
        self.underlay = underlay
        self.narrator = Narrator(self.told.append)
        self.notices = Notices(self.told.append)
        driver = self.machine.driver
        self.relays = Relays(AdhocOptions(), self.machine.node, self.narrator, self.notices)
        naming = Naming(None)
        parts = (naming, self.narrator, self.notices, self.relays, PortMapping(is_wanted=False))
        self.roaming = Roaming(network(FIRST), underlay, driver, *parts)

    @property
    def addresses(self) -> list[str]:
        bases = (each.base for each in self.machine.peer.agent.local_candidates)
        return [str(base.address) for base in bases if base.transport is Transport.UDP]

    @property
    def generation(self) -> int:
        return self.machine.peer.agent.generation

    def knows(self, address: str) -> bool:
        """Let the other side tell a candidate; say whether it was taken."""
        endpoint = Endpoint.of(address, 9)
        agent = self.machine.peer.agent
        agent.add_remote_candidate(Candidate(CandidateType.HOST, endpoint, 1, "1", endpoint), trio.current_time())
        return endpoint in {each.endpoint for each in agent.remote_candidates}


@asynccontextmanager
async def travelling() -> AsyncIterator[Traveller]:
    with Underlay() as underlay:
        await underlay.open(network(FIRST))
        traveller = Traveller(underlay)
        async with trio.open_nursery() as nursery:
            traveller.machine.driver.start(nursery, underlay.sockets)
            yield traveller
            nursery.cancel_scope.cancel()


def moved(before: LocalAddress | None, now: LocalAddress | None) -> NetworkChanged:
    left, came = (() if each is None else (each,) for each in (before, now))
    return NetworkChanged(network(*came), gained=came, lost=left, interrupted=())


async def test_who_has_met_the_other_side_moves_and_restarts() -> None:
    async with travelling() as traveller:
        traveller.narrator.has_met = True
        to_move = traveller.narrator.moved
        await traveller.roaming.handle(moved(FIRST, SECOND))
        assert (to_move.is_set(), traveller.narrator.moved.is_set()) == (True, False)
        assert traveller.addresses == ["127.0.0.2"]
        assert traveller.generation == 1
        assert [type(event) for event in traveller.told] == [NetworkEvent]


async def test_who_has_not_met_it_moves_and_keeps_what_was_described() -> None:
    async with travelling() as traveller:
        await traveller.roaming.handle(moved(FIRST, SECOND))
        assert (traveller.addresses, traveller.generation) == (["127.0.0.2"], 0)
        assert not traveller.narrator.changed.is_set(), "nobody has been told the old addresses"
        traveller.narrator.is_described = True
        await traveller.roaming.handle(moved(SECOND, FIRST))
        assert traveller.narrator.changed.is_set()
        assert traveller.generation == 0
        note = traveller.told[-1]
        assert isinstance(note, ErrorEvent)
        assert "addresses" in note.message


async def test_without_any_network_it_says_so_and_waits_for_one(autojump_clock: trio.testing.MockClock) -> None:
    async with travelling() as traveller, trio.open_nursery() as nursery:
        nursery.start_soon(traveller.roaming.complain)
        traveller.narrator.has_met = True
        for _ in range(2):
            await traveller.roaming.handle(moved(FIRST, None))
            assert traveller.addresses == []
            generation = traveller.generation
            await trio.sleep(NO_NETWORK_AFTER + 0.1)
            assert [health.id for health in traveller.notices] == [NO_NETWORK]
            assert traveller.generation == generation, "there is nothing to look for a path with"
            await traveller.roaming.handle(moved(None, FIRST))
            await trio.testing.wait_all_tasks_blocked()
            assert traveller.addresses == ["127.0.0.1"]
            assert list(traveller.notices) == []
        assert traveller.generation > 0
        nursery.cancel_scope.cancel()


async def test_a_network_that_is_back_at_once_is_not_missed(autojump_clock: trio.testing.MockClock) -> None:
    async with travelling() as traveller, trio.open_nursery() as nursery:
        nursery.start_soon(traveller.roaming.complain)
        for _ in range(3):
            await traveller.roaming.handle(moved(FIRST, None))
            await traveller.roaming.handle(moved(None, FIRST))
        await trio.sleep(10)
        assert not [event for event in traveller.told if isinstance(event, ErrorEvent)]
        await traveller.roaming.handle(moved(FIRST, None))
        await trio.sleep(10)
        assert [health.id for health in traveller.notices] == [NO_NETWORK]
        nursery.cancel_scope.cancel()


async def test_lost_time_is_told_and_restarts() -> None:
    async with travelling() as traveller:
        await traveller.roaming.handle(Resumed(3600.1234))
        assert (traveller.told, traveller.generation) == ([ResumedEvent(3600.123)], 0)
        traveller.narrator.has_met = True
        await traveller.roaming.handle(Resumed(8.0))
        assert traveller.generation == 1
        assert traveller.addresses == ["127.0.0.1"]


async def test_other_routes_are_nothing_to_tell() -> None:
    async with travelling() as traveller:
        traveller.narrator.has_met = True
        await traveller.roaming.handle(RoutesChanged(network(FIRST)))
        assert (traveller.told, traveller.generation) == ([], 0)


async def test_what_lies_in_a_tunnel_is_no_candidate_of_the_other_side() -> None:
    async with travelling() as traveller:
        agent = traveller.machine.peer.agent
        agent.set_remote_credentials(Credentials.generate(os.urandom), trio.current_time())
        assert traveller.knows("10.8.0.1")
        assert traveller.knows("172.31.9.1")
        vpn = replace(network(FIRST), tunnel_networks=(ip_network("10.8.0.0/24"),))
        await traveller.roaming.handle(RoutesChanged(vpn))
        assert not traveller.knows("10.8.0.2")
        traveller.roaming.agree([ip_interface("172.31.9.2/30")])
        assert not traveller.knows("172.31.9.2")
        assert traveller.knows("172.31.9.3"), "only the address itself: the network may be the other side's own"
        await traveller.roaming.handle(moved(FIRST, SECOND))
        assert traveller.knows("10.8.0.3"), "the tunnel is gone"
        assert not traveller.knows("172.31.9.2")
        traveller.roaming.agree([ip_interface("172.31.9.2/30")], [ip_network("192.168.9.0/24")])
        assert not traveller.knows("192.168.9.1"), "what is led into the tunnel can't lead to its other end"


async def test_it_runs_beside_the_tunnel() -> None:
    async with travelling() as traveller, trio.open_nursery() as nursery:
        nursery.start_soon(traveller.roaming.run)
        with trio.fail_after(10):
            # the machine has no candidate on loopback: the first look says so
            while traveller.addresses == ["127.0.0.1"]:  # noqa: ASYNC110 (bounded by a deadline)
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_change_in_the_words_of_events() -> None:
    link_local = LocalAddress(ip_address("fe80::7%wlan0"), 64, "wlan0", 3, "", True)
    way = DefaultRoute(4, "lo", 1, ip_address("127.0.0.9"))
    now = replace(network(FIRST), default_routes=(way,))
    assert network_event(NetworkChanged(now, (link_local,), (FIRST,), (SECOND,))) == NetworkEvent(
        gained=[AddressPlace("wlan0", "fe80::7")],
        lost=[AddressPlace("lo", "127.0.0.1")],
        interrupted=[AddressPlace("lo", "127.0.0.2")],
        default_routes=["lo by 127.0.0.9"],
    )
