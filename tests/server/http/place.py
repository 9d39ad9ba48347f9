"""A rendezvous server in the test's own process, and clients that speak to it over loopback."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import trio

from p2ptun.server.certificate import Certificate
from p2ptun.server.http.ice import IceOffer
from p2ptun.server.http.listener import HttpListener
from p2ptun.server.http.options import HttpLimits, HttpOptions
from p2ptun.server.http.serving import HTTP_PROTOCOLS, HttpServer
from p2ptun.server.rooms import RoomLimits, Rooms
from p2ptun.server.store.base import Store
from p2ptun.server.store.memory import MemoryStore
from p2ptun.stun.uri import parse_uri
from p2ptun.types import Endpoint

ADDRESS = "127.0.0.1"
PATIENCE = 10.0
OCTETS = {"Content-Type": "application/octet-stream"}
OFFER = IceOffer((parse_uri("stun:rv.example.net"), parse_uri("turn:rv.example.net")), "shared", time.time)
NAME = "5a" * 32


@dataclass(frozen=True, slots=True)
class Place:
    """A running server, and a client for it."""

    server: HttpServer
    listener: HttpListener
    client: httpx.AsyncClient
    rooms: Rooms

    async def connect(self) -> trio.SocketStream:
        """Open a connection."""
        return await trio.open_tcp_stream(ADDRESS, self.listener.local.port)

    async def exchange(self, request: bytes) -> bytes:
        """Send bytes, and read until the server closes."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await read_all(stream)

    async def open(self) -> dict[str, Any]:
        """Open a room."""
        answer = await self.client.post("/v1/rooms")
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def until(self, connections: int) -> None:
        """Wait until there are so many connections."""
        await until(lambda: len(self.server.reception) == connections)

    async def until_waiting(self) -> None:
        """Wait until a poll waits."""
        with trio.fail_after(PATIENCE):
            while not (await self.rooms.count()).waiting:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.001)


@asynccontextmanager
async def serving(
    limits: HttpLimits = HttpLimits(),  # noqa: B008  # it is frozen
    *,
    proxies: Sequence[str] = (),
    certificate: tuple[Path, Path] | None = None,
    store: Store | None = None,
) -> AsyncIterator[Place]:
    """Run a server for as long as the context lasts."""
    rooms = Rooms(store or MemoryStore(RoomLimits()))
    options = HttpOptions((), trusted_proxies=tuple(ip_network(each) for each in proxies), limits=limits)
    server = HttpServer(options, rooms, OFFER)
    listener = server.open(Endpoint.of(ADDRESS, 0), Certificate(*certificate, HTTP_PROTOCOLS) if certificate else None)
    url = f"{listener.scheme}://{ADDRESS}:{listener.local.port}"
    verify = str(certificate[0]) if certificate else True
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=_trust(verify)) as client:
                yield Place(server, listener, client, rooms)
            nursery.cancel_scope.cancel()
    finally:
        server.close()


def bearer(token: str) -> dict[str, str]:
    """Write the header that proves a side."""
    return {"Authorization": f"Bearer {token}"}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # that is what it is for
            await trio.sleep(0.001)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read until the other side closes, in whichever way."""
    found = b""
    with trio.fail_after(PATIENCE):
        try:
            while data := await stream.receive_some():
                found += data
        except trio.BrokenResourceError:
            pass
    return found


def problem_of(answer: httpx.Response) -> str:
    """Name the problem that an answer is, having seen that it is whole."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code
    assert found["title"]
    assert found["detail"].endswith(".")
    assert found["remedy"]
    return str(found["type"]).removeprefix("urn:p2ptun:problem:")


def _trust(verify: str | bool) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
