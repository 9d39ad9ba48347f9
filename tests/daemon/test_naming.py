"""Names on real links of a namespace: whose are answered for, whose are looked up, and when port 5353 is open."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from random import Random

import pytest
import trio
import trio.testing

from p2ptun.daemon.naming import Naming
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.named import NamedCandidate
from p2ptun.ice.role import Role
from p2ptun.io.address import LocalAddress
from p2ptun.io.multicast import Multicast
from p2ptun.io.network import Network
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.event import LossReason, MdnsEvent, NameLost, NameResolved
from p2ptun.node.event import NodeEvent, RemoteCandidateRemoved, RemoteNameFound
from p2ptun.node.names import HostNames
from p2ptun.node.parameters import IceParameters
from p2ptun.types import IPAddress, Transport
from tests.io.machine import Machine
from tests.io.namespace import in_namespace, shell

pytestmark = pytest.mark.root

HERE, THERE = ip_address("10.9.0.1"), ip_address("10.9.0.2")
LINK = """
ip link add here0 type veth peer there0
ip address add 10.9.0.1/24 dev here0
ip address add 10.9.0.2/24 dev there0
ip link set here0 up
ip link set there0 up
"""
# both ends are in one namespace, where the kernel takes what comes from an own address for forged
ACCEPT_OWN = "for end in here0 there0; do echo 1 > /proc/sys/net/ipv4/conf/$end/accept_local; done"


def network(interface: str, *addresses: IPAddress) -> Network:
    index = socket.if_nametoindex(interface)
    candidates = tuple(LocalAddress(address, 24, interface, index, "veth", True) for address in addresses)
    return Network(candidates, candidates)


def told(name: str, port: int = 9) -> NamedCandidate:
    return NamedCandidate(name, port, CandidateType.HOST, Transport.UDP, 5, "1")


class Side:
    """One machine with a peer that has been met, and its naming."""

    def __init__(self, names: HostNames | None = None) -> None:
        self.machine = Machine(Role.CONTROLLING)
        self.naming = Naming(names)

    def tell(self, *candidates: NamedCandidate) -> None:
        """Let the other side's description have candidates with names."""
        machine = self.machine
        credentials = Credentials.generate(Random(7).randbytes)
        other = Machine(Role.CONTROLLED)
        machine.meet(other, "10.9.0.2/32")
        machine.peer.connect(machine.peer.link, IceParameters(credentials, candidates), trio.current_time())  # type: ignore[arg-type]
        machine.driver.flush()
        for event in machine.events:
            self.naming.handle(event)

    @property
    def remote(self) -> set[str]:
        return {str(each.endpoint) for each in self.machine.peer.agent.remote_candidates}

    @property
    def is_listening(self) -> bool:
        return "5353" in shell("ss -Hlun sport = :5353")


def run(body: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await body(nursery)
                nursery.cancel_scope.cancel()

    shell(LINK + ACCEPT_OWN)
    trio.run(main)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.testing.wait_all_tasks_blocked(0.01)


@in_namespace
def test_who_hides_answers_for_the_addresses_that_it_has() -> None:
    async def body(nursery: trio.Nursery) -> None:
        names, events = HostNames(Random(1).randbytes), list[MdnsEvent]()
        side, asker = Side(names), Multicast(MdnsAgent(), events.append)
        asker.start(nursery, network("there0", THERE))
        side.naming.start(nursery, side.machine.driver, network("here0", HERE))
        asker.agent.resolve([names.name_of(HERE)], trio.current_time())
        asker.flush()
        await until(lambda: bool(events))
        assert events.pop() == NameResolved(names.name_of(HERE), HERE)
        new = IPv4Address("10.9.0.7")
        side.naming.follow(network("here0", new))
        asker.agent.resolve([names.name_of(new), names.name_of(HERE)], trio.current_time())
        asker.flush()
        await until(lambda: len(events) == 2)
        assert events == [
            NameResolved(names.name_of(new), new),
            NameLost(names.name_of(HERE), LossReason.TIMEOUT),
        ]
        side.naming.close()
        asker.close()
        assert not side.is_listening

    run(body)


@in_namespace
def test_the_other_sides_names_become_candidates_and_the_port_is_closed_again() -> None:
    async def body(nursery: trio.Nursery) -> None:
        names = HostNames(Random(2).randbytes)
        other = Multicast(MdnsAgent(), lambda _: None)
        side = Side()
        side.naming.start(nursery, side.machine.driver, network("here0", HERE))
        assert not side.is_listening
        other.start(nursery, network("there0", THERE))
        other.agent.register(names.name_of(THERE), THERE, "there0", trio.current_time())
        other.flush()
        name = names.name_of(THERE)
        side.tell(told(name, 1001), told(name, 1002))
        assert side.remote == set()
        await until(lambda: side.remote == {"10.9.0.2:1001", "10.9.0.2:1002"})
        other.close()
        assert not side.is_listening

    run(body)


@in_namespace
def test_a_name_that_nobody_has_is_asked_for_in_the_next_network() -> None:
    async def body(nursery: trio.Nursery) -> None:
        names = HostNames(Random(3).randbytes)
        name, gone = names.name_of(THERE), names.name_of(HERE)
        side = Side()
        side.naming.start(nursery, side.machine.driver, network("here0", HERE))
        side.tell(told(name), told(gone))
        assert side.is_listening
        await until(lambda: not side.is_listening)
        assert side.remote == set()
        side.naming.handle(NodeEvent("peer", RemoteCandidateRemoved(told(gone))))
        other = Multicast(MdnsAgent(), lambda _: None)
        other.start(nursery, network("there0", THERE))
        for each in (name, gone):
            other.agent.register(each, THERE, "there0", trio.current_time())
        other.flush()
        side.naming.follow(network("here0", HERE))
        await until(lambda: side.remote == {"10.9.0.2:9"})
        other.close()
        side.naming.close()

    run(body)


@in_namespace
def test_what_is_dropped_is_counted_but_for_what_concerns_others() -> None:
    async def body(nursery: trio.Nursery) -> None:
        side = Side(HostNames(Random(4).randbytes))
        side.naming.start(nursery, side.machine.driver, network("here0", HERE))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((str(THERE), 0))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, THERE.packed)
            for message in (bytes(12), b"no message", bytes(4) + b"\xff" * 8):
                sender.sendto(message, ("224.0.0.251", 5353))
        await until(lambda: side.naming.drops == {"mdns: malformed": 2})
        side.naming.close()

    run(body)


@in_namespace
def test_a_foreign_name_is_not_even_asked_for() -> None:
    async def body(nursery: trio.Nursery) -> None:
        side = Side()
        side.naming.start(nursery, side.machine.driver, network("here0", HERE))
        side.naming.handle(NodeEvent("peer", RemoteNameFound(told("printer.local"))))
        assert not side.is_listening
        side.naming.close()

    run(body)
