"""Port mapping for a node: candidates come and go with what the gateway on loopback maps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address

import pytest
import trio
import trio.testing

from p2ptun.daemon.portmapping import RELEASE_PATIENCE, SETTLING_PATIENCE, PortMapping
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.role import Role
from p2ptun.io.tcp import TcpBase
from p2ptun.io.udp import UdpSocket
from p2ptun.node.event import NodeEvent, PeerHeard, PeerState, PeerStateChanged
from p2ptun.types import Endpoint
from tests.io.gateway import HERE, OUTSIDE, LoopbackGateway, network
from tests.io.machine import Machine

PATIENCE = 10


class Side:
    """A machine with one UDP and one TCP base behind the gateway, and its port mapping."""

    def __init__(self, is_wanted: bool = True) -> None:
        self.machine = Machine(Role.CONTROLLING)
        self.mapping = PortMapping(is_wanted)

    @property
    def reflexive(self) -> set[Endpoint]:
        candidates = self.machine.peer.agent.local_candidates
        return {each.endpoint for each in candidates if each.type is CandidateType.SERVER_REFLEXIVE}


def run(body: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await body(nursery)
                nursery.cancel_scope.cancel()

    trio.run(main)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.testing.wait_all_tasks_blocked(0.005)


async def bind(address: IPv4Address = HERE) -> UdpSocket:
    return await UdpSocket.bind(Endpoint(address, 0))


def external(base: Endpoint) -> Endpoint:
    return Endpoint(OUTSIDE, 1024 + base.port % 1024)


def test_the_udp_base_becomes_a_candidate_and_the_mapping_is_given_back() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side()
        await nursery.start(gateway.run)
        with await bind() as udp:
            tcp = TcpBase.active(HERE)
            async with trio.open_nursery() as inner:
                side.machine.driver.start(inner, [udp, tcp])
                await inner.start(side.mapping.run, side.machine.driver, network())
                await side.mapping.settle()
                assert side.reflexive == {external(udp.local)}
                assert gateway.mappings == {(str(HERE), udp.local.port): external(udp.local).port}
                inner.cancel_scope.cancel()
            assert gateway.mappings == {}
            tcp.close()
        assert side.mapping.drops == {}

    run(body)


def test_ports_follow_the_sockets_and_gateways_the_network() -> None:
    async def body(nursery: trio.Nursery) -> None:
        other = IPv4Address("127.0.53.2")
        gateway, second, side = LoopbackGateway(), LoopbackGateway(other), Side()
        for each in (gateway, second):
            await nursery.start(each.run)
        driver = side.machine.driver
        with await bind() as old, await bind() as new:
            driver.start(nursery, [old])
            await nursery.start(side.mapping.run, driver, network())
            await until(lambda: len(gateway.mappings) == 1)
            driver.remove_socket(old.local)
            driver.add_socket(new)
            side.mapping.follow(network())
            await until(lambda: gateway.mappings.keys() == {(str(HERE), new.local.port)})
            await until(lambda: side.reflexive == {external(new.local)})
            side.mapping.follow(network(gateway=other))
            await until(lambda: gateway.mappings == {} and len(second.mappings) == 1)
            side.mapping.follow(network(gateway=None))
            await until(lambda: second.mappings == {})

    run(body)


def test_another_address_outside_replaces_the_candidate() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side()
        await nursery.start(gateway.run)
        with await bind() as udp:
            side.machine.driver.start(nursery, [udp])
            await nursery.start(side.mapping.run, side.machine.driver, network())
            await until(lambda: side.reflexive == {external(udp.local)})
            gateway.external = IPv4Address("198.51.100.9")
            side.mapping.renew()
            await until(lambda: {each.address for each in side.reflexive} == {gateway.external})

    run(body)


def test_behind_another_nat_there_is_no_candidate() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(external=IPv4Address("100.64.0.9")), Side()
        await nursery.start(gateway.run)
        with await bind() as udp:
            side.machine.driver.start(nursery, [udp])
            await nursery.start(side.mapping.run, side.machine.driver, network())
            await side.mapping.settle()
            assert len(gateway.mappings) == 1
            assert side.reflexive == set()

    run(body)


def test_a_path_that_is_lost_lets_it_ask_again() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side()
        await nursery.start(gateway.run)
        with await bind() as udp:
            side.machine.driver.start(nursery, [udp])
            await nursery.start(side.mapping.run, side.machine.driver, network())
            await side.mapping.settle()
            asked = len(gateway.requests)
            for event in (PeerHeard(), PeerStateChanged(PeerState.CONNECTED)):
                side.mapping.handle(NodeEvent("peer", event))
            side.mapping.handle(NodeEvent("peer", PeerStateChanged(PeerState.CONNECTING)))
            await until(lambda: len(gateway.requests) == asked + 1)

    run(body)


def test_a_silent_gateway_is_waited_for_a_moment_only() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side()
        gateway.is_silent = True
        await nursery.start(gateway.run)
        with await bind() as udp:
            async with trio.open_nursery() as inner:
                side.machine.driver.start(inner, [udp])
                await inner.start(side.mapping.run, side.machine.driver, network())
                began = trio.current_time()
                await side.mapping.settle()
                assert SETTLING_PATIENCE <= trio.current_time() - began < SETTLING_PATIENCE + 1
                inner.cancel_scope.cancel()

    run(body)


def test_a_gateway_that_falls_silent_holds_nobody_up_at_the_end() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side()
        await nursery.start(gateway.run)
        with await bind() as udp:
            async with trio.open_nursery() as inner:
                side.machine.driver.start(inner, [udp])
                await inner.start(side.mapping.run, side.machine.driver, network())
                await side.mapping.settle()
                gateway.is_silent = True
                began = trio.current_time()
                inner.cancel_scope.cancel()
            assert trio.current_time() - began < RELEASE_PATIENCE + 1
            assert len(gateway.mappings) == 1

    run(body)


def test_who_doesnt_want_it_asks_nobody() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway, side = LoopbackGateway(), Side(is_wanted=False)
        await nursery.start(gateway.run)
        with await bind() as udp:
            side.machine.driver.start(nursery, [udp])
            await nursery.start(side.mapping.run, side.machine.driver, network())
            side.mapping.follow(network())
            side.mapping.renew()
            await side.mapping.settle()
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert gateway.requests == []

    run(body)


def test_an_address_without_a_socket_to_its_gateway_goes_without(caplog: pytest.LogCaptureFixture) -> None:
    async def body(nursery: trio.Nursery) -> None:
        side = Side()
        with await bind() as udp:
            side.machine.driver.start(nursery, [udp])
            with caplog.at_level("INFO"):
                gone = network(IPv4Address("10.255.53.10"))
                await nursery.start(side.mapping.run, side.machine.driver, gone)
        assert "no port mapping for 10.255.53.10" in caplog.text

    run(body)
