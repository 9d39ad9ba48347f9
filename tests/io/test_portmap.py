"""Port mapping over real sockets, with a gateway on loopback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
import trio.testing

from p2ptun.io.address import LocalAddress
from p2ptun.io.network import DefaultRoute, Network
from p2ptun.io.portmap import GatewayClient, GatewayPlace, GatewaySocket, places_of
from p2ptun.nat.portmap_event import PortMapEvent, PortMapped, PortRefused, Problem, Protocol
from p2ptun.types import Endpoint, IPAddress
from tests.io.gateway import HERE, OUTSIDE, THERE, LoopbackGateway

PLACE = GatewayPlace(HERE, "lo", THERE)
PORT = 40000
EXTERNAL = Endpoint(OUTSIDE, 1024 + PORT % 1024)
PATIENCE = 10


def run(body: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await body(nursery)
                nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_port_is_mapped_and_given_back(protocol: Protocol) -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway = LoopbackGateway(speaks_pcp=protocol is Protocol.PCP)
        await nursery.start(gateway.run)
        events: list[PortMapEvent] = []
        client = GatewayClient(PLACE, events.append)
        async with trio.open_nursery() as running:
            running.start_soon(client.run)
            client.mapper.add_port(PORT, trio.current_time())
            client.flush()
            await client.settle()
            running.cancel_scope.cancel()
        assert events == [PortMapped(PORT, EXTERNAL, 7200.0, protocol)]
        assert gateway.mappings == {(str(HERE), PORT): EXTERNAL.port}
        await client.release()
        assert gateway.mappings == {}
        client.close()
        client.close()

    run(body)


def test_what_is_lost_is_sent_again() -> None:
    async def body(nursery: trio.Nursery) -> None:
        gateway = LoopbackGateway()
        gateway.is_silent = True
        await nursery.start(gateway.run)
        client = GatewayClient(PLACE, lambda _: None)
        nursery.start_soon(client.run)
        client.mapper.add_port(PORT, trio.current_time())
        client.flush()
        while not gateway.requests:
            await trio.testing.wait_all_tasks_blocked(0.005)
        gateway.is_silent = False
        await client.settle()
        assert len(gateway.requests) >= 2
        client.close()

    run(body)


def test_a_gateway_that_maps_nothing_says_so_at_once() -> None:
    async def body(nursery: trio.Nursery) -> None:
        events: list[PortMapEvent] = []
        client = GatewayClient(PLACE, events.append)
        nursery.start_soon(client.run)
        client.mapper.add_port(PORT, trio.current_time())
        began = trio.current_time()
        client.flush()
        await client.settle()
        assert trio.current_time() - began < 0.25
        assert events == [PortRefused(PORT, Problem.NOT_OFFERED)]
        await trio.testing.wait_all_tasks_blocked()
        client.mapper.renew(trio.current_time())
        client.flush()  # the kernel tells of the first refusal when the next request is sent
        client.close()

    run(body)


def test_a_flood_keeps_nobody_from_work() -> None:
    async def body(nursery: trio.Nursery) -> None:
        client = GatewayClient(PLACE, lambda _: None)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as gateway:
            await gateway.bind((str(THERE), 5351))
            client.mapper.add_port(PORT, trio.current_time())
            client.flush()
            _, source = await gateway.recvfrom(100)
            for _ in range(40):
                await gateway.sendto(b"nothing", source)
            nursery.start_soon(client.run)
            while sum(client.mapper.drops.values()) < 40:
                await trio.testing.wait_all_tasks_blocked(0.005)
        client.close()

    run(body)


def test_only_the_gateway_gets_in() -> None:
    async def body(nursery: trio.Nursery) -> None:
        sock = GatewaySocket(PLACE)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as stranger:
            await stranger.bind(("127.0.53.2", 5351))
            await stranger.sendto(b"\0\0", (str(HERE), sock.local.port))
        assert sock.receive() is None
        sock.close()
        with pytest.raises(trio.ClosedResourceError):
            sock.receive()
        with pytest.raises(trio.ClosedResourceError):
            await sock.wait_readable()

    run(body)


def test_an_address_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match=r"."):
        GatewaySocket(GatewayPlace(IPv4Address("203.0.113.77"), "lo", THERE))
    with pytest.raises(OSError, match=r"."):
        GatewaySocket(GatewayPlace(HERE, "lo", IPv6Address("fe80::1%nothing0")))


# Whom to ask


def local(address: str, index: int = 2, kind: str = "") -> LocalAddress:
    parsed: IPAddress = IPv6Address(address) if ":" in address else IPv4Address(address)
    return LocalAddress(parsed, 24, f"eth{index}", index, kind, True)


def route(gateway: str | None, index: int = 2, version: int = 4) -> DefaultRoute:
    parsed: IPAddress | None = None
    if gateway is not None:
        parsed = IPv6Address(gateway) if ":" in gateway else IPv4Address(gateway)
    return DefaultRoute(version, f"eth{index}", index, parsed)


def places(*addresses: LocalAddress, routes: tuple[DefaultRoute, ...]) -> list[GatewayPlace]:
    return list(places_of(Network(addresses, addresses, routes)))


def test_each_address_behind_a_gateway_asks_its_own() -> None:
    home, mobile = local("192.168.1.10"), local("10.0.0.5", index=3)
    routes = (route("192.168.1.1"), route("10.0.0.1", index=3), route("10.0.0.2", index=3))
    assert places(home, mobile, routes=routes) == [
        GatewayPlace(home.address, "eth2", IPv4Address("192.168.1.1")),
        GatewayPlace(mobile.address, "eth3", IPv4Address("10.0.0.1")),
    ]


def test_in_ipv6_public_addresses_ask_for_holes_in_the_firewall() -> None:
    public, unique = local("2001:db8::5"), local("fd00::5")
    routes = (route("fe80::1", version=6),)
    wanted = GatewayPlace(public.address, "eth2", IPv6Address("fe80::1%eth2"))
    assert places(public, unique, local("fe80::5%eth2"), routes=routes) == [wanted]
    named = (route("fe80::1%eth2", version=6),)
    assert places(public, routes=named) == [wanted]
    assert places(public, routes=(route("2001:db8::1", version=6),)) == [
        replace(wanted, gateway=IPv6Address("2001:db8::1"))
    ]


@pytest.mark.parametrize(
    ("address", "gateway"),
    [
        (local("203.0.113.5"), route("203.0.113.1")),  # nobody translates it
        (local("192.168.1.10"), route(None)),
        (local("192.168.1.10"), route("192.168.2.1", index=3)),
        (local("192.168.1.10"), route("fe80::1", version=6)),
        (local("192.168.1.10"), route("fe80::1", version=4)),  # RFC 5549
        (local("169.254.1.1"), route("169.254.1.2")),
        (local("192.168.1.10", kind="dummy"), route("192.168.1.1")),
    ],
)
def test_nobody_is_asked_where_there_is_no_gateway(address: LocalAddress, gateway: DefaultRoute) -> None:
    assert places(address, routes=(gateway,)) == []
