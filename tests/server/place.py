"""A server in the test's own process: its exchange in the loop of the test, its clients in threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TypeVar

import trio

from p2ptun.relay.config import Limits, ServerConfig
from p2ptun.relay.event import RelayEvent
from p2ptun.relay.server import Server
from p2ptun.server.admission import Admission
from p2ptun.server.certificate import Certificate
from p2ptun.server.exchange import Exchange
from p2ptun.server.port import UdpPort, open_port
from p2ptun.server.stream_listener import StreamListener, open_listener
from p2ptun.stun.credential import StaticCredentials
from p2ptun.types import Endpoint
from tests.server.turn_client import TIMEOUT, USERS, TurnClient, connect_udp, endpoint, peer_socket

ResultT = TypeVar("ResultT")

ADDRESS = "127.0.0.1"
ANY_PORT = Endpoint.of(ADDRESS, 0)
CONFIG = ServerConfig(relay_addresses=(ip_address(ADDRESS),), allowed_peers=(ip_network("127.0.0.0/8"),))
CHANNEL = 0x4001


@dataclass(frozen=True, slots=True)
class Place:
    """A running exchange with a UDP listener and a stream listener."""

    exchange: Exchange
    port: UdpPort
    listener: StreamListener
    admission: Admission
    events: list[RelayEvent]

    def udp(self) -> TurnClient:
        """Connect a client by UDP."""
        return TurnClient(connect_udp(self.port.local))


@asynccontextmanager
async def running(
    config: ServerConfig = CONFIG, certificate: Certificate | None = None, admission: Admission | None = None
) -> AsyncIterator[Place]:
    """Run an exchange for as long as the context lasts."""
    core = Server(config, StaticCredentials(USERS, config.realm), os.urandom)
    events: list[RelayEvent] = []
    exchange = Exchange(core, events.append)
    port = open_port(ANY_PORT, is_relay=False)
    exchange.add_listener(port)
    core.add_listener(port.local)
    admission = admission or Admission()
    listener = open_listener(ANY_PORT, exchange, admission, certificate)
    core.add_listener(listener.local)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run)
            nursery.start_soon(listener.run)
            yield Place(exchange, port, listener, admission, events)
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        exchange.close()


def limited(**limits: int) -> ServerConfig:
    """The configuration with some limits changed."""
    return replace(CONFIG, limits=replace(Limits(), **limits))


async def in_thread(work: Callable[[], ResultT]) -> ResultT:
    """Let a blocking client work while the server runs; it gives up by itself."""
    with trio.fail_after(6 * TIMEOUT):
        return await trio.to_thread.run_sync(work)


__all__ = ["CHANNEL", "Place", "endpoint", "in_thread", "limited", "peer_socket", "running"]
