"""Sockets of a port search: opened and closed as ordered, known to nobody but the peer that asked."""

from __future__ import annotations

from collections import deque
from ipaddress import ip_address

import pytest
import trio

from p2ptun.io.address import LocalAddress
from p2ptun.io.driver import Driver
from p2ptun.io.network import Network
from p2ptun.io.underlay import Underlay
from p2ptun.node.node import Node
from p2ptun.node.order import CloseSpares, OpenSpares, Order
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.machine import FakeTun
from tests.io.test_underlay import User

pytestmark = pytest.mark.trio

HERE = LocalAddress(ip_address("127.0.0.1"), 8, "lo", 1, "", True)
NETWORK = Network((HERE,), (HERE,), links={1: False})


class Ordering(Node):
    """A node that orders what a test wants, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(lambda size: bytes(size))
        self.orders: deque[Order] = deque()
        self.spares: list[tuple[str, Endpoint]] = []

    def next_order(self) -> Order | None:
        return self.orders.popleft() if self.orders else None

    def add_spare_address(self, name: str, base: Endpoint, now: float) -> None:
        self.spares.append((name, base))


async def test_spares_are_opened_beside_a_base_and_closed_again() -> None:
    node = Ordering()
    with Underlay() as underlay:
        await underlay.open(NETWORK)
        driver = Driver(node, FakeTun(), lambda _: None, underlay)
        async with trio.open_nursery() as nursery:
            driver.start(nursery, underlay.sockets)
            before = set(driver.sockets)
            base = underlay.sockets[0].local
            node.orders.append(OpenSpares("bob", base, 3))
            driver.flush()
            assert [name for name, _ in node.spares] == ["bob"] * 3
            bases = tuple(spare for _, spare in node.spares)
            assert len({base, *bases}) == 4
            assert {spare.address for spare in bases} == {base.address}
            assert set(driver.sockets) == before
            node.orders.append(CloseSpares(bases[:2]))
            driver.flush()
            with pytest.raises(OSError, match="in use"):
                await bound(bases[2])
            for spare in bases[:2]:
                (await bound(spare)).close()
            nursery.cancel_scope.cancel()


async def bound(endpoint: Endpoint) -> trio.socket.SocketType:
    """Bind a plain socket; that works only where nobody else is."""
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    try:
        await sock.bind((str(endpoint.address), endpoint.port))
    except OSError:
        sock.close()
        raise
    return sock


async def test_spare_that_cannot_be_opened_is_counted() -> None:
    node = Ordering()
    with Underlay() as underlay:
        await underlay.open(NETWORK)
        lonely, driver = Driver(node, FakeTun(), lambda _: None), Driver(node, FakeTun(), lambda _: None, underlay)
        nobody = Endpoint.of("127.0.0.1", 1)
        async with trio.open_nursery() as nursery:
            for each, reason in ((lonely, SendError.UNREACHABLE), (driver, SendError.SOURCE_GONE)):
                each.start(nursery, [])
                node.orders.append(OpenSpares("bob", nobody, 2))
                each.flush()
                assert each.drops[f"open: {reason.value}"] == 2
            nursery.cancel_scope.cancel()
    assert node.spares == []


async def test_only_a_udp_socket_of_ours_has_spares() -> None:
    with Underlay() as underlay:
        await underlay.open(NETWORK)
        for socket in underlay.sockets:
            spare = underlay.open_spare(socket.local)
            assert (spare is SendError.SOURCE_GONE) is (socket.local.transport is Transport.TCP)


async def test_spare_goes_with_its_address_and_with_the_underlay() -> None:
    with Underlay() as underlay:
        await underlay.open(NETWORK)
        user, base = User(underlay), underlay.sockets[0].local
        first, second = (underlay.open_spare(base) for _ in range(2))
        assert not isinstance(first, SendError)
        assert not isinstance(second, SendError)
        user.sockets |= {first.local: first, second.local: second}
        first.close()
        await underlay.follow(Network((), (), links={1: False}), user)
        assert second.is_closed
        assert second.local in user.removed
        assert first.local not in user.removed
    with Underlay() as underlay:
        await underlay.open(NETWORK)
        third = underlay.open_spare(underlay.sockets[0].local)
    assert not isinstance(third, SendError)
    assert third.is_closed
