"""A discovery in the simulated network: behind gateways, before servers with one address or two."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from p2ptun.nat.behavior import NatBehavior
from p2ptun.nat.discovery import BASES, DEFAULT_PADDING, Discovery
from p2ptun.nat.event import BehaviorDiscovered, DiscoveryEvent
from p2ptun.nat.lifetime import LifetimeDiscovery
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.server import Server
from p2ptun.types import Endpoint, Transmit
from tests.sim.nat import Gateway
from tests.sim.network import Network

NOW = 1000.0
INSIDE, OUTSIDE = "192.168.1.0/24", "198.51.100.1"
LOCAL = "192.168.1.10"
A1, A2 = "203.0.113.2", "203.0.113.3"
SERVER, OTHER = Endpoint.of(A1, 3478), Endpoint.of(A2, 3479)
SECOND, THIRD = Endpoint.of("203.0.113.20", 3478), Endpoint.of("203.0.113.30", 3478)
SERVER6, OTHER6 = Endpoint.of("2001:db8::2", 3478), Endpoint.of("2001:db8::3", 3479)

Change = Callable[[Transmit], Transmit | None]


class Responder:
    """A server's host: our own server on one endpoint, or on the four that RFC 5780 wants.

    `change` may alter or swallow what it sends.
    """

    def __init__(self, server: Endpoint, other: Endpoint | None, change: Change | None = None) -> None:
        self._server = Server(ServerConfig(), None, random.Random(1).randbytes)
        self._transmits: deque[Transmit] = deque()
        self.change = change
        self.requests: list[Transmit] = []
        self.sockets: list[Endpoint] = [server]
        if other is not None:
            addresses, ports = (server.address, other.address), (server.port, other.port)
            self.sockets = [Endpoint(address, port) for address in addresses for port in ports]
        for sock in self.sockets:
            self._server.add_listener(sock, None if other is None else self._opposite(sock, server, other))

    @staticmethod
    def _opposite(sock: Endpoint, server: Endpoint, other: Endpoint) -> Endpoint:
        address = other.address if sock.address == server.address else server.address
        return Endpoint(address, other.port if sock.port == server.port else server.port)

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Answer."""
        self.requests.append(Transmit(data, source, local))
        self._server.receive_datagram(data, source, local, now)
        for answer in iter(self._server.next_transmit, None):
            changed = answer if self.change is None else self.change(answer)
            if changed is not None:
                self._transmits.append(changed)

    def handle_timeout(self, now: float) -> None:
        """Have nothing to do."""

    def next_transmit(self) -> Transmit | None:
        """Give an answer."""
        return self._transmits.popleft() if self._transmits else None

    def next_timeout(self) -> float | None:
        """Wait for nothing."""
        return None


class Explorer:
    """The host that explores."""

    def __init__(self, machine: Discovery | LifetimeDiscovery) -> None:
        self.machine = machine
        self.sent: list[Transmit] = []

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Hand it on."""
        self.machine.receive_datagram(data, source, local, now)

    def handle_timeout(self, now: float) -> None:
        """Hand it on."""
        self.machine.handle_timeout(now)

    def next_transmit(self) -> Transmit | None:
        """Give what is to be sent, and remember it."""
        transmit = self.machine.next_transmit()
        if transmit is not None:
            self.sent.append(transmit)
        return transmit

    def next_timeout(self) -> float | None:
        """Say when to wake."""
        return self.machine.next_timeout()


def sockets(address: str = LOCAL, count: int = BASES, seed: int = 1) -> list[Endpoint]:
    """Bind sockets to ports that a kernel might choose."""
    return [Endpoint.of(address, port) for port in random.Random(seed).sample(range(32768, 60999), count)]


class World:
    """One discovery, its network and its servers."""

    def __init__(
        self,
        *gateways: Gateway,
        seed: int = 1,
        loss: float = 0.0,
        local: str = LOCAL,
        padding: int = DEFAULT_PADDING,
        is_cut: Callable[[Transmit], bool] = lambda packet: False,
    ) -> None:
        self.network = Network(seed=seed, loss=loss)
        self.network.is_cut = is_cut
        for number, gateway in enumerate(gateways):
            self.network.add_nat(gateway, gateways[number + 1] if number + 1 < len(gateways) else None)
        self.bases = sockets(local, seed=seed)
        self.discovery = Discovery(self.bases, random.Random(seed).randbytes, padding)
        self.explorer = Explorer(self.discovery)
        self.network.plug(self.explorer, *self.bases)
        self.events: list[DiscoveryEvent] = []
        self.took = 0.0

    def serve(
        self, server: Endpoint = SERVER, other: Endpoint | None = OTHER, change: Change | None = None
    ) -> Responder:
        """Run a server."""
        responder = Responder(server, other, change)
        self.network.plug(responder, *responder.sockets)
        return responder

    def explore(self, *servers: Endpoint) -> NatBehavior:
        """Ask these servers until all is known."""
        began_at = self.network.now
        for server in servers or (SERVER,):
            self.discovery.add_server(server, self.network.now)
        self.discovery.end_of_servers(self.network.now)
        assert self.network.run(10, lambda: self.discovery.is_complete)
        self.took = self.network.now - began_at
        self.events = list(iter(self.discovery.next_event, None))
        last = self.events[-1]
        assert isinstance(last, BehaviorDiscovered)
        assert last.behavior == self.discovery.behavior
        return last.behavior
