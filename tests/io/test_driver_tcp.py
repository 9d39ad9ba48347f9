"""The driver over TCP on loopback: packets both ways, and a connection that ends under them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio

from p2ptun.ice.role import Role
from p2ptun.io.base import Socket
from p2ptun.io.tcp import TcpBase
from p2ptun.types import Endpoint, SendError, Transport

from .machine import Machine
from .test_driver import ping, pong, until, until_written

pytestmark = pytest.mark.trio

LOOPBACK = Endpoint.of("127.0.0.1", 0, Transport.TCP)


async def open_bases(stack: ExitStack) -> list[Socket]:
    active = stack.enter_context(TcpBase.active(LOOPBACK.address))
    return [active, stack.enter_context(await TcpBase.listen(LOOPBACK))]


@asynccontextmanager
async def two_machines() -> AsyncIterator[tuple[Machine, Machine]]:
    """Run two machines that have nothing but TCP."""
    left, right = Machine(Role.CONTROLLING), Machine(Role.CONTROLLED)
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for machine in (left, right):
                machine.driver.start(nursery, await open_bases(stack))
                nursery.start_soon(machine.driver.carry)
            left.meet(right, "10.9.0.2/32")
            right.meet(left, "10.9.0.1/32")
            yield left, right
            nursery.cancel_scope.cancel()


async def test_packets_go_both_ways_over_tcp() -> None:
    async with two_machines() as (left, right):
        left.tun.give(*(ping(number) for number in range(200)))
        right.tun.give(*(pong(number) for number in range(200)))
        await until_written(right, 200)
        await until_written(left, 200)
        assert right.tun.written == [ping(number) for number in range(200)]
        assert left.tun.written == [pong(number) for number in range(200)]
        for machine in (left, right):
            assert machine.peer.path is not None
            assert machine.peer.path.base.transport is Transport.TCP


async def test_a_connection_that_breaks_is_replaced_under_the_tunnel() -> None:
    async with two_machines() as (left, right):
        left.tun.give(ping(0))
        await until_written(right, 1)
        for base in left.driver.sockets.values():
            assert isinstance(base, TcpBase)
            for connection in list(base._connections.values()):
                connection.socket.shutdown(socket.SHUT_RDWR)
        with trio.fail_after(20):
            while len(right.tun.written) < 10:
                left.tun.give(ping(1))
                await trio.sleep(0.05)


async def test_a_refused_connection_reaches_the_agent() -> None:
    machine = Machine(Role.CONTROLLING)
    seen: list[tuple[Endpoint, Endpoint, SendError]] = []
    with ExitStack() as stack:
        with await TcpBase.listen(LOOPBACK) as gone:
            nobody = gone.local
        async with trio.open_nursery() as nursery:
            active, passive = await open_bases(stack)
            machine.driver.start(nursery, [active, passive])

            def record(source: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
                seen.append((source, destination, error))

            machine.node.record_send_error = record  # type: ignore[method-assign]
            active.send(bytes(20), nobody)
            await until(lambda: seen == [(active.local, nobody, SendError.REFUSED)])
            nursery.cancel_scope.cancel()
