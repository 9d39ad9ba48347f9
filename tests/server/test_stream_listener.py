"""Clients that come by TCP and TLS, to a server in the test's process."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from p2ptun.errors import DeviceError
from p2ptun.relay.event import AllocationEnded, AllocationMade, EndReason
from p2ptun.server.admission import Admission
from p2ptun.server.certificate import Certificate
from p2ptun.server.stream_listener import open_listener
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Transport
from tests.server.place import CHANNEL, Place, in_thread, running
from tests.server.serving import make_certificate
from tests.server.turn_client import TIMEOUT, TurnClient, endpoint, peer_socket


def connect(place: Place, authority: Path | None = None) -> TurnClient:
    """Connect a client, by TLS if there is an authority to check the certificate against."""
    sock = socket.create_connection((str(place.listener.local.address), place.listener.local.port), TIMEOUT)
    if authority is None:
        return TurnClient(sock)
    context = ssl.create_default_context(cafile=str(authority))
    return TurnClient(context.wrap_socket(sock, server_hostname="localhost"))


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():
            await trio.lowlevel.checkpoint()


@pytest.mark.trio
@pytest.mark.parametrize("has_tls", [False, True])
async def test_data_goes_both_ways(tmp_path: Path, has_tls: bool) -> None:
    files = make_certificate(tmp_path) if has_tls else None
    sent = [bytes([number]) * (number + 1) for number in range(40)]

    def work(place: Place) -> None:
        client = connect(place, files[0] if files else None)
        with peer_socket() as peer:
            relayed = client.allocate()
            client.bind(CHANNEL, endpoint(peer))
            for payload in sent:
                client.send(CHANNEL, payload)
            assert [peer.recv(100) for _ in sent] == sent
            for payload in sent:
                peer.sendto(payload, (str(relayed.address), relayed.port))
            assert [client.receive() for _ in sent] == [encode_channel_data(CHANNEL, each, True) for each in sent]
        client.socket.close()

    async with running(certificate=Certificate(*files) if files else None) as place:
        assert place.listener.local.transport is (Transport.TLS if has_tls else Transport.TCP)
        await in_thread(lambda: work(place))
        await until(lambda: len(place.events) == 2)
        made, ended = place.events
        assert isinstance(made, AllocationMade)
        assert isinstance(ended, AllocationEnded)
        assert ended.reason is EndReason.DISCONNECTED
        assert (made.client, made.local) == (ended.client, place.listener.local)
        assert place.exchange.connections == 0


@pytest.mark.trio
async def test_a_stream_lives_as_long_as_its_allocation(tmp_path: Path) -> None:
    async with running() as place:
        client = await in_thread(lambda: connect(place))
        await in_thread(client.allocate)
        (connection,) = place.exchange._connections.values()
        assert connection.has_allocation
        await in_thread(client.release)
        assert place.exchange.connections == 1
        assert not any(each.has_allocation for each in place.exchange._connections.values())
        client.socket.close()


@pytest.mark.trio
async def test_too_many_streams_are_refused() -> None:
    def work(place: Place) -> None:
        first = connect(place)
        first.allocate()
        second = connect(place)
        with pytest.raises(ConnectionError):
            second.receive()
        first.release()
        for client in (first, second):
            client.socket.close()

    async with running(admission=Admission(most_per_address=1)) as place:
        await in_thread(lambda: work(place))
        assert place.admission.refused == {"too many streams from one address": 1}


@pytest.mark.trio
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b""])
async def test_who_speaks_no_tls_is_let_go(tmp_path: Path, data: bytes) -> None:
    def work(place: Place) -> None:
        address = str(place.listener.local.address), place.listener.local.port
        with socket.create_connection(address, TIMEOUT) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            try:
                while sock.recv(1000):
                    pass
            except ConnectionError:
                pass

    async with running(certificate=Certificate(*make_certificate(tmp_path))) as place:
        await in_thread(lambda: work(place))
        await until(lambda: place.exchange.refused["TLS handshake failed"] == 1)
        assert place.exchange.connections == 0


@pytest.mark.trio
async def test_who_makes_room_goes_in_the_middle_of_the_handshake_too(tmp_path: Path) -> None:
    """Else it would keep its descriptor for as long as a handshake may take, and no longer be counted."""

    def work(place: Place) -> None:
        address = str(place.listener.local.address), place.listener.local.port
        first, second = (socket.create_connection(address, TIMEOUT) for _ in range(2))
        with first, second:
            with suppress(ConnectionError):
                assert first.recv(100) == b""
            second.shutdown(socket.SHUT_WR)

    async with running(certificate=Certificate(*make_certificate(tmp_path)), admission=Admission(most=1)) as place:
        await in_thread(lambda: work(place))
        await until(lambda: place.exchange.refused["TLS handshake failed"] == 2)


@pytest.mark.trio
async def test_garbage_is_counted() -> None:
    def work(place: Place) -> None:
        client = connect(place)
        client.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            client.receive()
        client.socket.close()

    async with running() as place:
        await in_thread(lambda: work(place))
        assert any(reason.startswith("stream: ") for reason in place.exchange.drops)


@pytest.mark.trio
async def test_a_port_in_use_is_explained() -> None:
    async with running() as place:
        with pytest.raises(DeviceError, match="already in use") as error:
            open_listener(place.listener.local, place.exchange, place.admission, None)
        assert error.value.remedy
