"""aioice uses `p2ptun serve` as its TURN server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import Candidate, Connection, turn

from tests.server.serving import ADDRESS, Serving
from tests.server.turn_client import USERS, peer_socket

TIMEOUT = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path, "--allow-peer", "127.0.0.0/8", has_tls=True) as serving:
        yield serving


class Collector(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_over = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over.set()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_data_goes_both_ways(server: Serving, transport: str) -> None:
    async def talk() -> None:
        context: bool | ssl.SSLContext = False
        if transport == "tls":
            assert server.certificate
            context = ssl.create_default_context(cafile=str(server.certificate[0]))
        endpoint, protocol = await turn.create_turn_endpoint(
            Collector,
            server_addr=(ADDRESS, server.tls_port if transport == "tls" else server.port),
            username="alice",
            password=USERS["alice"],
            ssl=context,
            transport="udp" if transport == "udp" else "tcp",
        )
        with peer_socket() as peer:
            for number in range(10):
                endpoint.sendto(b"to peer %d" % number, peer.getsockname())
                data, relayed = await asyncio.to_thread(peer.recvfrom, 1000)
                assert data == b"to peer %d" % number
                peer.sendto(b"to client %d" % number, relayed)
                assert await protocol.received.get() == b"to client %d" % number
        endpoint.close()
        await protocol.is_over.wait()

    asyncio.run(asyncio.wait_for(talk(), TIMEOUT))
    assert server.expect("allocation", state="ended", transport=transport)["packets"] == 20


def test_two_agents_connect_over_their_relays(server: Serving) -> None:
    """Both offer what they got from the server, and nothing else."""

    def agent(is_controlling: bool, name: str) -> Connection:
        return Connection(
            ice_controlling=is_controlling,
            turn_server=(ADDRESS, server.port),
            turn_username=name,
            turn_password=USERS[name],
            use_ipv6=False,
        )

    def relayed(connection: Connection) -> list[Candidate]:
        return [each for each in connection.local_candidates if each.type == "relay"]

    async def talk() -> None:
        one, two = agent(True, "alice"), agent(False, "bob")
        for mine, theirs in ((one, two), (two, one)):
            await mine.gather_candidates()
            theirs.remote_username, theirs.remote_password = mine.local_username, mine.local_password
        for mine, theirs in ((one, two), (two, one)):
            assert relayed(mine)
            for candidate in relayed(mine):
                await theirs.add_remote_candidate(candidate)
            await theirs.add_remote_candidate(None)
        await asyncio.gather(one.connect(), two.connect())
        await one.send(b"hello")
        assert await two.recv() == b"hello"
        await two.send(b"and back")
        assert await one.recv() == b"and back"
        await asyncio.gather(one.close(), two.close())

    asyncio.run(asyncio.wait_for(talk(), TIMEOUT))
    assert server.stop()["packets"] > 0
