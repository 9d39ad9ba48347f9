"""The driver and TURN servers: sockets are opened and closed as ordered, in step with what goes through them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.ice.role import Role
from p2ptun.io.address import LocalAddress
from p2ptun.io.driver import Driver
from p2ptun.io.network import Network
from p2ptun.io.server_socket import ServerUdp
from p2ptun.io.server_stream import ServerStream
from p2ptun.io.udp import UdpSocket
from p2ptun.io.underlay import Underlay
from p2ptun.node.node import Node
from p2ptun.turn.order import CloseSocket, OpenSocket, Order
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transmit, Transport
from tests.io.machine import FakeTun, Machine
from tests.io.test_driver import until
from tests.io.test_server_stream import echo, request, serving
from tests.io.test_udp import IPV4, receive
from tests.stun.vectors import RESPONSE_IPV4

pytestmark = pytest.mark.trio

HERE = LocalAddress(ip_address("127.0.0.1"), 8, "lo", 1, "", True)


def token(number: int, transport: Transport = Transport.UDP) -> Endpoint:
    return Endpoint.of("0.0.0.0", number, transport)  # noqa: S104 (a token)


class Ordering(Node):
    """A node that orders what a test wants, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(lambda size: bytes(size))
        self.orders: deque[Order] = deque()
        self.waiting: deque[Transmit] = deque()
        self.heard: list[tuple[bytes, Endpoint, Endpoint]] = []
        self.errors: list[tuple[Endpoint, Endpoint, SendError]] = []
        self.plan: dict[Endpoint, tuple[Order, Transmit]] = {}

    def next_order(self) -> Order | None:
        return self.orders.popleft() if self.orders else None

    def next_transmit(self) -> Transmit | None:
        return self.waiting.popleft() if self.waiting else None

    def receive_datagrams(self, datagrams: Batch, sources: Sequence[Endpoint], local: Endpoint, now: float) -> Batch:
        for datagram, source in zip(datagrams, sources, strict=True):
            self.heard.append((bytes(datagram), source, local))
        return Batch(0)

    def record_send_error(self, source: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
        self.errors.append((source, destination, error))
        if source in self.plan:
            order, transmit = self.plan[source]
            self.orders.append(order)
            self.waiting.append(transmit)


@asynccontextmanager
async def driving(node: Ordering) -> AsyncIterator[tuple[Driver, Underlay]]:
    """Run a driver over an underlay on loopback that has no sockets but those to servers."""
    with Underlay() as underlay:
        underlay.learn(Network((HERE,), (HERE,), links={1: False}))
        driver = Driver(node, FakeTun(), lambda _: None, underlay)
        async with trio.open_nursery() as nursery:
            driver.start(nursery, [])
            yield driver, underlay
            nursery.cancel_scope.cancel()


async def test_what_is_sent_with_the_order_goes_and_answers_come_back() -> None:
    node, first = Ordering(), token(1)
    with await UdpSocket.bind(IPV4) as server:
        async with driving(node) as (driver, _):
            node.orders.append(OpenSocket(first, Server(server.local, "turn.example")))
            node.waiting.append(Transmit(request(), first, server.local))
            driver.flush()
            opened = driver.sockets[first]
            assert isinstance(opened, ServerUdp)
            assert opened.is_confined, "to the interface of the route"
            _, [source] = await receive(server, 1)
            server.send(RESPONSE_IPV4, source)
            await until(lambda: node.heard == [(RESPONSE_IPV4, server.local, first)])
    assert node.errors == []
    assert opened.is_closed, "by the underlay, which owns it"


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_what_is_to_be_sent_before_closing_goes_first(transport: Transport) -> None:
    node, first, said = Ordering(), token(1, transport), request()
    with await UdpSocket.bind(IPV4) as udp:
        async with serving(echo) as port, driving(node) as (driver, _):
            endpoint = udp.local if transport is Transport.UDP else Endpoint.of("127.0.0.1", port, transport)
            node.orders.append(OpenSocket(first, Server(endpoint, "turn.example")))
            node.waiting.append(Transmit(said, first, endpoint))
            driver.flush()
            if transport is Transport.TCP:
                await until(lambda: [each[0] for each in node.heard] == [said])
            opened = driver.sockets[first]
            opened.receive_errors["truncated"] += 3
            tasks = len(driver._nursery.child_tasks) if driver._nursery else 0
            node.orders.append(CloseSocket(first))
            node.waiting.append(Transmit(request(), first, endpoint))
            driver.flush()
            assert first not in driver.sockets
            assert isinstance(opened, (ServerUdp, ServerStream))
            assert opened.is_closed
            assert node.errors == []
            await trio.testing.wait_all_tasks_blocked()
            assert driver._nursery is not None
            assert len(driver._nursery.child_tasks) == tasks - 1, "nobody reads it any more"
            if transport is Transport.UDP:
                assert len((await receive(udp, 2))[0]) == 2
            assert driver.drops["receive: truncated"] == 3


async def test_one_that_is_opened_and_closed_at_once_or_never_was_there() -> None:
    node = Ordering()
    async with driving(node) as (driver, _):
        node.orders += [OpenSocket(token(1), Server(Endpoint.of("127.0.0.1", 9), "turn.example"))]
        node.orders += [CloseSocket(token(1)), CloseSocket(token(2))]
        driver.flush()
        assert driver.sockets == {}


async def test_when_one_cant_be_opened_what_follows_still_goes() -> None:
    """The core hears of it at once, orders the next, and what goes there comes right behind."""
    node, nowhere = Ordering(), Endpoint.of("255.255.255.255", 9)
    with await UdpSocket.bind(IPV4) as server:
        node.plan[token(1)] = (
            OpenSocket(token(2), Server(server.local, "b.example")),
            Transmit(b"\0", token(2), server.local),
        )
        async with driving(node) as (driver, _):
            node.orders.append(OpenSocket(token(1), Server(nowhere, "a.example")))
            driver.flush()
            assert (await receive(server, 1))[0] == [b"\0"]
            assert list(driver.sockets) == [token(2)]
    [(source, destination, _)] = node.errors
    assert (source, destination) == (token(1), nowhere)


async def test_a_send_that_fails_may_open_the_next() -> None:
    node = Ordering()
    with await UdpSocket.bind(IPV4) as server:
        node.plan[token(1)] = (
            OpenSocket(token(2), Server(server.local, "b.example")),
            Transmit(b"\0", token(2), server.local),
        )
        async with driving(node) as (driver, _):
            node.waiting.append(Transmit(b"x", token(1), server.local))  # there is no such socket
            driver.flush()
            assert (await receive(server, 1))[0] == [b"\0"]
    assert node.errors == [(token(1), server.local, SendError.SOURCE_GONE)]


async def test_a_connection_that_fails_later_is_reported_by_its_token() -> None:
    node, first = Ordering(), token(1, Transport.TCP)
    async with serving(echo) as port:
        endpoint = Endpoint.of("127.0.0.1", port, Transport.TCP)
    async with driving(node) as (driver, _):
        node.orders.append(OpenSocket(first, Server(endpoint, "turn.example")))
        node.waiting.append(Transmit(request(), first, endpoint))
        driver.flush()
        await until(lambda: node.errors == [(first, endpoint, SendError.REFUSED)])


async def test_orders_wait_for_the_start() -> None:
    node = Ordering()
    driver = Driver(node, FakeTun(), lambda _: None)
    node.orders.append(OpenSocket(token(1), Server(IPV4, "turn.example")))
    driver.flush()
    assert node.errors == []
    async with trio.open_nursery() as nursery:
        driver.start(nursery, [])
        nursery.cancel_scope.cancel()
    assert node.errors == [(token(1), IPV4, SendError.UNREACHABLE)], "and it has nobody to open sockets"


async def test_a_node_asks_a_server_for_an_address() -> None:
    """With nothing between it and the kernel: what comes out first is an Allocate request."""
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(IPV4) as server, Underlay() as underlay:
        underlay.learn(Network((HERE,), (HERE,), links={1: False}))
        driver = Driver(machine.node, machine.tun, machine.events.append, underlay)
        async with trio.open_nursery() as nursery:
            driver.start(nursery, [])
            machine.node.add_turn_server(Server(server.local, "turn.example"), None, None, trio.current_time())
            driver.flush()
            [asked, *_], _ = await receive(server, 1)
            nursery.cancel_scope.cancel()
    assert asked[:2] == b"\0\3"
