"""Sockets to servers over UDP, and how sockets are opened, on loopback. Streams: test_server_stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from p2ptun.io.guard import RouteGuard
from p2ptun.io.server_socket import ServerSocket, ServerUdp, open_server_socket
from p2ptun.io.server_stream import ServerStream
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions
from p2ptun.io.tls import TlsStream, Trust
from p2ptun.io.udp import UdpSocket
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.test_driver import until
from tests.io.test_tcp import Reader, reading
from tests.io.test_turn_framing import channel_data
from tests.io.test_udp import IPV4, IPV6, batch_of, receive
from tests.stun.vectors import REQUEST, RESPONSE_IPV4

pytestmark = pytest.mark.trio

TOKEN = Endpoint.of("0.0.0.0", 1)  # noqa: S104 (a token)


def opening(endpoint: Endpoint, options: SocketOptions = DEFAULT_OPTIONS) -> ServerSocket | SendError:
    return open_server_socket(TOKEN, Server(endpoint, "turn.example"), options, Trust())


def open_udp(endpoint: Endpoint, options: SocketOptions = DEFAULT_OPTIONS) -> ServerUdp:
    opened = opening(endpoint, options)
    assert isinstance(opened, ServerUdp)
    return opened


@asynccontextmanager
async def with_server(local: Endpoint = IPV4) -> AsyncIterator[tuple[UdpSocket, Reader[ServerUdp]]]:
    with await UdpSocket.bind(local) as server:
        async with reading(open_udp(server.local)) as [reader]:
            yield server, reader


@pytest.mark.parametrize("local", [IPV4, IPV6])
async def test_datagrams_go_both_ways(local: Endpoint) -> None:
    async with with_server(local) as (server, reader):
        base = reader.base
        assert (base.local, base.tcp_type, base.problem) == (TOKEN, None, "")
        assert base.bound.address == server.local.address
        assert base.send(REQUEST, server.local) is None
        frames = [channel_data(bytes([number]) * 1200) for number in range(40)]
        assert base.send_batch(batch_of(*frames), server.local)
        received, sources = await receive(server, 41)
        assert received == [REQUEST, *frames]
        assert set(sources) == {base.bound}
        answer = channel_data(b"abc")
        for payload in (RESPONSE_IPV4, answer):
            assert server.send(payload, base.bound) is None
        await until(lambda: len(reader.datagrams) == 2)
        assert reader.datagrams == [RESPONSE_IPV4, answer]
        assert set(reader.sources) == {server.local}
        assert reader.failures == []


async def test_nobody_else_is_heard() -> None:
    async with with_server() as (server, reader):
        with await UdpSocket.bind(IPV4) as stranger:
            stranger.send(b"from a stranger", reader.base.bound)
            server.send(RESPONSE_IPV4, reader.base.bound)
            await until(lambda: reader.datagrams != [])
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert reader.datagrams == [RESPONSE_IPV4]


async def test_a_port_that_nobody_listens_on_is_a_hint_and_no_end() -> None:
    with await UdpSocket.bind(IPV4) as gone:
        endpoint = gone.local
    async with reading(open_udp(endpoint)) as [reader]:
        for count in (1, 2):
            assert reader.base.send(REQUEST, endpoint) is None
            await until(lambda: len(reader.failures) == count)  # noqa: B023 (awaited here)
        assert reader.failures == [(endpoint, SendError.REFUSED)] * 2
        assert reader.base.receive_errors == {"ECONNREFUSED": 2}
        with await UdpSocket.bind(endpoint) as back:
            assert reader.base.send(REQUEST, endpoint) is None
            assert (await receive(back, 1))[0] == [REQUEST]


async def test_an_owner_gives_it_up() -> None:
    async with with_server() as (server, reader):
        await trio.testing.wait_all_tasks_blocked()
        reader.base.lose(SendError.SOURCE_GONE)
        await until(lambda: reader.failures == [(server.local, SendError.SOURCE_GONE)])
        wakes = reader.wakes
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert reader.wakes == wakes


async def test_it_can_be_given_up_before_anybody_reads_it() -> None:
    with await UdpSocket.bind(IPV4) as server:
        opened = open_udp(server.local)
        opened.lose(SendError.SOURCE_GONE)
        async with reading(opened) as [reader]:
            await until(lambda: reader.failures == [(server.local, SendError.SOURCE_GONE)])


async def test_closing() -> None:
    with await UdpSocket.bind(IPV4) as server:
        opened = open_udp(server.local)
        opened.close()
        opened.close()
        assert opened.is_closed
        with pytest.raises(trio.ClosedResourceError):
            await opened.wait_readable()
        assert opened.send(REQUEST, server.local) is SendError.SOURCE_GONE


async def test_a_route_that_comes_to_lead_into_a_tunnel() -> None:
    guard = RouteGuard()
    guard.learn({1: False})
    with await UdpSocket.bind(IPV4) as server:
        with open_udp(server.local, SocketOptions(guard=guard)) as opened:
            assert opened.send(REQUEST, server.local) is None
            guard.learn({1: True})
            opened.forget_routes()
            assert opened.send(REQUEST, server.local) is SendError.THROUGH_TUNNEL
        with open_udp(server.local, SocketOptions("lo", guard=guard)) as confined:
            confined.forget_routes()
            assert confined.send(REQUEST, server.local) is None
    guard.close()


@pytest.mark.parametrize("transport", list(Transport))
async def test_no_way_but_through_a_tunnel(transport: Transport) -> None:
    guard = RouteGuard()
    guard.learn({1: True})
    assert opening(Endpoint.of("127.0.0.1", 9, transport), SocketOptions(guard=guard)) is SendError.THROUGH_TUNNEL
    guard.close()


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("255.255.255.255", {Transport.UDP: SendError.REFUSED_BY_FIREWALL}),  # SO_BROADCAST isn't set
        ("fe80::9%nowhere0", {}),
    ],
)
async def test_what_the_kernel_refuses(transport: Transport, address: str, error: dict[Transport, SendError]) -> None:
    refusal = opening(Endpoint.of(address, 9, transport))
    assert isinstance(refusal, SendError)
    assert refusal is error.get(transport, refusal)


async def test_each_transport_has_its_socket() -> None:
    for transport, stream in ((Transport.TCP, False), (Transport.TLS, True)):
        opened = opening(Endpoint.of("127.0.0.1", 9, transport))
        assert isinstance(opened, ServerStream)
        assert isinstance(opened._stream, TlsStream) is stream
        opened.close()
