"""Servers that can't be found in one network are looked for in the next."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from p2ptun.daemon.event import ErrorEvent, Event, GatheredEvent, GatheringEvent
from p2ptun.daemon.gathering import MAX_OFFERED, Gathering, seen_from_outside
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.relays import Relays
from p2ptun.daemon.turn_credentials import SharedSecret, TurnCredentials
from p2ptun.ice.config import PathPolicy
from p2ptun.ice.role import Role
from p2ptun.io.udp import UdpSocket
from p2ptun.rendezvous.base import IceServer, IceServers
from p2ptun.stun.binding import answer_binding
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.message import is_stun
from p2ptun.stun.uri import parse_uri
from tests.io.machine import LOOPBACK, Machine
from tests.io.test_resolver import use_hosts
from tests.io.test_udp import receive

pytestmark = pytest.mark.trio


async def test_a_server_that_is_not_found_is_looked_up_again_in_the_next_network() -> None:
    told: list[Event] = []
    narrator, notices, machine = Narrator(told.append), Notices(told.append), Machine(Role.CONTROLLING)
    hosts = use_hosts(stun_example=socket.gaierror(socket.EAI_NONAME, "unknown"))
    with await UdpSocket.bind(LOOPBACK) as server, await UdpSocket.bind(LOOPBACK) as own:
        options = AdhocOptions(stun=(parse_uri(f"stun:stun.example:{server.local.port}"),))
        relays = Relays(options, machine.node, narrator, notices)
        gathering = Gathering(options, narrator, notices, relays)
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [own])
            nursery.start_soon(gathering.find_servers, machine.driver)
            await trio.testing.wait_all_tasks_blocked()
            assert [type(event) for event in told] == [ErrorEvent]
            assert [health.id for health in notices] == ["server-stun.example"]
            hosts.answers["stun.example"] = [str(server.local.address)]
            narrator.move()
            (question,), (source,) = await receive(server, 1)
            assert is_stun(question)
            assert source == own.local
            assert list(notices) == []
            asked = len(hosts.asked)
            narrator.move()
            await trio.testing.wait_all_tasks_blocked()
            assert len(hosts.asked) == asked, "it is known by now"
            nursery.cancel_scope.cancel()


async def test_a_public_address_is_seen_as_it_is() -> None:
    """A server that sees the very address of the socket has answered, too, though it adds no candidate."""
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as server, await UdpSocket.bind(LOOPBACK) as own:
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [own])
            machine.node.add_stun_server(server.local, trio.current_time())
            machine.driver.flush()
            (question,), (source,) = await receive(server, 1)
            assert seen_from_outside(machine.peer) == []
            answer = answer_binding(question, source)
            assert answer is not None
            server.send(answer, source)
            with trio.fail_after(5):
                while not seen_from_outside(machine.peer):
                    await trio.testing.wait_all_tasks_blocked(0.001)
            assert seen_from_outside(machine.peer) == [str(own.local)]
            nursery.cancel_scope.cancel()


async def test_what_a_rendezvous_offers_is_asked_as_well() -> None:
    told: list[Event] = []
    narrator, notices, machine = Narrator(told.append), Notices(told.append), Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as server, await UdpSocket.bind(LOOPBACK) as own:
        relays = Relays(AdhocOptions(), machine.node, narrator, notices)
        gathering = Gathering(AdhocOptions(), narrator, notices, relays)
        gathering.expects_offer = True
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [own])
            nursery.start_soon(gathering.find_servers, machine.driver)
            await trio.testing.wait_all_tasks_blocked()
            assert not machine.node.relays.is_settled, "somebody may still be named"
            uri = parse_uri(f"stun:127.0.0.1:{server.local.port}")
            gathering.offer(IceServers((IceServer(uri),)))
            (question,), (source,) = await receive(server, 1)
            assert is_stun(question)
            answer = answer_binding(question, source)
            assert answer is not None
            server.send(answer, source)
            with trio.fail_after(5):
                await gathering.gather(machine.peer)
            gathering.offer(IceServers((IceServer(uri),)))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    [asking, gathered] = [event for event in told if isinstance(event, GatheringEvent | GatheredEvent)]
    assert asking == GatheringEvent(1)
    assert isinstance(gathered, GatheredEvent)
    assert gathered.servers == 1


async def test_a_path_policy_decides_what_of_an_offer_is_used() -> None:
    uris = [parse_uri("stun:192.0.2.1"), parse_uri("turn:192.0.2.1"), parse_uri("turns:192.0.2.1")]
    assert AdhocOptions(path_policy=PathPolicy.DIRECT).offered(uris).relays == ()
    assert AdhocOptions(path_policy=PathPolicy.RELAY).offered(uris).reflectors == ()
    assert AdhocOptions().offered(uris).relays == tuple(uris[1:])
    assert AdhocOptions().offered(uris).reflectors[0] == uris[0]


async def test_a_rendezvous_that_names_others_each_time_is_believed_only_so_often() -> None:
    told: list[Event] = []
    narrator, notices, machine = Narrator(told.append), Notices(told.append), Machine(Role.CONTROLLING)
    gathering = Gathering(AdhocOptions(), narrator, notices, Relays(AdhocOptions(), machine.node, narrator, notices))
    first = IceServer(parse_uri("turn:first.example"), LongTermCredential("user", "password"))
    gathering.offer(IceServers((first,)))
    for number in range(2 * MAX_OFFERED):
        gathering.offer(IceServers((IceServer(parse_uri(f"stun:host-{number}.example")), first)))
    assert len(gathering.reflectors) == MAX_OFFERED
    assert list(gathering.relay_uris) == [first.uri]


async def test_own_credentials_go_only_where_the_person_said() -> None:
    told: list[Event] = []
    narrator, notices, machine = Narrator(told.append), Notices(told.append), Machine(Role.CONTROLLING)
    own, other = parse_uri("turns:relay.example"), parse_uri("turn:other.example")
    options = AdhocOptions(turn=(own,), relay_credentials={own.host: TurnCredentials(SharedSecret("secret"))})
    gathering = Gathering(options, narrator, notices, Relays(options, machine.node, narrator, notices))
    lent = LongTermCredential("user", "password")
    offered = (IceServer(parse_uri("turn:relay.example:6666"), lent), IceServer(other, lent))
    gathering.offer(IceServers(offered))
    assert list(gathering.relay_uris) == [own, other]
