"""Places to meet, for tests: a rendezvous server in this very process, and servers that do what a test says."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext

import h11
import msgspec
import trio

from p2ptun.rendezvous.base import Context
from p2ptun.rendezvous.line import LineReader
from p2ptun.server.http.ice import IceOffer
from p2ptun.server.http.options import HttpOptions
from p2ptun.server.http.serving import HttpServer
from p2ptun.server.rooms import Rooms
from p2ptun.server.store.choice import open_store
from p2ptun.stun.uri import parse_uri
from p2ptun.types import Endpoint, Transport

TOKEN_SECRET = "s" * 43
NAME = "0123456789abcdef" * 4
LOCALHOST = Endpoint.of(ip_address("127.0.0.1"), 0, Transport.TCP)


@asynccontextmanager
async def rendezvous_server() -> AsyncIterator[str]:
    """Run p2ptun's own server on a port of its choice; yield its URL."""
    options = HttpOptions(listen=(LOCALHOST,))
    offer = IceOffer((parse_uri("stun:192.0.2.1"), parse_uri("turn:192.0.2.1")), "shared", lambda: 1_000_000.0)
    server = HttpServer(options, Rooms(open_store("memory")), offer)
    try:
        port = server.open(LOCALHOST, None).local.port
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield f"http://127.0.0.1:{port}/"
            nursery.cancel_scope.cancel()
    finally:
        server.close()


@dataclass
class Surroundings:
    """A context, and what a person was told in it."""

    told: list[str] = field(default_factory=list)
    ca_file: Path | None = None

    @property
    def context(self) -> Context:
        return Context(self.told.append, LineReader(0), self.ca_file, self._warn, lambda: self.told.append("recovered"))

    def _warn(self, message: str, remedy: str) -> None:
        assert message.endswith(".")
        assert remedy
        self.told.append(message)


@dataclass(frozen=True)
class Request:
    """What a client asked for, and over which of its connections."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


Answer = Callable[[Request], Awaitable[bytes | None]]
"""Gives the bytes of an answer; None cuts the connection with a reset. No bytes at all close it."""


class StandIn:
    """A server that answers as a test says, byte for byte. It counts connections from 1."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""

    @property
    def asked(self) -> list[str]:
        """What was asked for, but for how the server is."""
        return [str(each) for each in self.requests if each.path != "/healthz"]

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        number = self.connections
        parser = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            while (request := await self._read(stream, parser, number)) is not None:
                self.requests.append(request)
                answer = await self._answer(request)
                if answer is None:
                    reset(stream)
                    return
                await stream.send_all(answer)
                if not answer or b"Connection: close" in answer:
                    return
                parser = h11.Connection(h11.SERVER)

    async def _read(self, stream: trio.abc.Stream, parser: h11.Connection, number: int) -> Request | None:
        head, body = None, bytearray()
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                await stream.send_all(response(400))
                raise
            if event is h11.NEED_DATA:
                data = await stream.receive_some()
                if not data:
                    return None
                parser.receive_data(bytes(data))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {key.decode(): value.decode() for key, value in head.headers}
                return Request(number, head.method.decode(), head.target.decode(), headers, bytes(body))
            else:
                return None


@asynccontextmanager
async def stand_in(reply: Answer, tls: SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[StandIn]:
    """Run a server of the test's own; cut what is open at the end."""
    server = StandIn(reply)

    async def serve(stream: trio.SocketStream) -> None:
        if tls is None:
            await server.serve(stream)
        else:
            await server.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True))

    async with listening(serve, host) as port:
        shown = f"[{host}]" if ":" in host else host
        server.url = f"{'https' if tls else 'http'}://{shown}:{port}/"
        yield server


@asynccontextmanager
async def listening(
    serve: Callable[[trio.SocketStream], Awaitable[None]], host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Accept connections and serve each until it ends or we do; yield the port."""
    async with trio.open_nursery() as nursery:
        serve_tcp = partial(trio.serve_tcp, host=host)
        listeners: list[trio.SocketListener] = await nursery.start(serve_tcp, serve, port)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def reset(stream: trio.abc.Stream) -> None:
    """Cut a connection without a goodbye."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def response(status: int, body: bytes = b"", media_type: str = "application/json", **headers: str) -> bytes:
    """Write an answer of HTTP."""
    fields = {"Content-Type": media_type, "Content-Length": str(len(body))}
    fields |= {key.replace("_", "-"): value for key, value in headers.items()}
    head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    return head.encode() + b"\r\n" + body


def answer(status: int, document: object, **headers: str) -> bytes:
    """Write an answer with JSON."""
    return response(status, msgspec.json.encode(document), **headers)


def problem(status: int, slug: str, **members: str) -> bytes:
    """Write a refusal, as p2ptun's server writes it."""
    headers = {key: members.pop(key) for key in list(members) if key[0].isupper()}
    document = {"type": f"urn:p2ptun:problem:{slug}", "title": "No", "status": status, **members}
    return response(status, msgspec.json.encode(document), "application/problem+json", **headers)


def seat(room: str = "42", messages: tuple[object, ...] = (), **other: object) -> dict[str, object]:
    """Write the answer to opening, joining or entering."""
    document = {"room": room, "side_token": f"{room}.{TOKEN_SECRET}", "ttl": 3600, "messages": messages}
    return {**document, "ice": {"servers": [], "ttl": None}, **other}


def mail(*messages: object) -> bytes:
    """Write what a mailbox holds."""
    return answer(200, {"messages": messages})


HEALTHY = answer(200, {"status": "ok"})
EMPTY = mail()
