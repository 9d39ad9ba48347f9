"""A network with a virtual clock for two agents: latency, loss, NATs in the words of RFC 4787, STUN servers."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, Event, PairSelected, StateChanged
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, encode_message, success_response
from p2ptun.types import Endpoint, IPAddress, Transmit

START = 1000.0
STEPS = 200_000  # a run that needs more is a busy loop


def at(text: str) -> Endpoint:
    """Read `address:port`, IPv6 in brackets."""
    address, _, port = text.rpartition(":")
    return Endpoint.of(address.strip("[]"), int(port))


class Mapping(Enum):
    """RFC 4787 section 4.1."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Nat:
    """A NAT with address-and-port-dependent filtering (RFC 4787 section 5), as most home routers have."""

    def __init__(self, public: str, inside: list[str], mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT) -> None:
        self.address = at(f"{public}:1").address
        self.inside = [at(f"{address}:1").address for address in inside]
        self._mapping = mapping
        self._ports = count(40000)
        self._bindings: dict[tuple[Endpoint, Endpoint | None], int] = {}
        self._owners: dict[int, Endpoint] = {}
        self._allowed: set[tuple[int, Endpoint]] = set()

    def reboot(self) -> None:
        """Forget every binding; later ones get other ports."""
        self._bindings.clear()
        self._owners.clear()
        self._allowed.clear()

    def outbound(self, source: Endpoint, destination: Endpoint) -> Endpoint:
        """Translate the source of a packet that leaves."""
        key = source, None if self._mapping is Mapping.ENDPOINT_INDEPENDENT else destination
        if key not in self._bindings:
            self._bindings[key] = next(self._ports)
        port = self._bindings[key]
        self._owners[port] = source
        self._allowed.add((port, destination))
        return Endpoint(self.address, port)

    def inbound(self, port: int, source: Endpoint) -> Endpoint | None:
        """Translate the destination of a packet that arrives; None when it is filtered."""
        return self._owners.get(port) if (port, source) in self._allowed else None


@dataclass(eq=False)
class Side:
    """An agent with its sockets and what it said so far."""

    agent: Agent
    bases: list[Endpoint]
    events: list[Event] = field(default_factory=list)

    def of(self, kind: type[Event]) -> list[Event]:
        """Give the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def state(self) -> AgentState:
        """Ask the agent anew: a call, so that no type checker believes it to stay the same."""
        return self.agent.state

    @property
    def states(self) -> list[AgentState]:
        return [event.state for event in self.events if isinstance(event, StateChanged)]

    @property
    def selections(self) -> list[PairSelected]:
        return [event for event in self.events if isinstance(event, PairSelected)]


Handler = Callable[[bytes, Endpoint, Endpoint], None]
"""Takes a packet: payload, source, destination as the receiver sees them."""


class Network:
    """Carries packets between public addresses and through NATs."""

    def __init__(self, latency: float = 0.02, loss: float = 0.0, seed: int = 1) -> None:
        self.now = START
        self.latency = latency
        self.loss = loss
        self.sent: list[tuple[float, Transmit]] = []
        self.is_cut: Callable[[Endpoint, Endpoint], bool] = lambda source, destination: False
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, Handler, bytes, Endpoint, Endpoint]] = []
        self._sequence = count()
        self._handlers: dict[Endpoint, Handler] = {}
        self._nats: list[Nat] = []
        self.sides: list[Side] = []

    def add_nat(self, nat: Nat) -> Nat:
        self._nats.append(nat)
        return nat

    def add_server(self, endpoint: str, delay: float = 0.0) -> Endpoint:
        """Run a STUN server; a slow one answers after `delay`."""

        def answer(data: bytes, source: Endpoint, destination: Endpoint) -> None:
            request = decode_message(data)
            reply = encode_message(success_response(request, (XOR_MAPPED_ADDRESS, source)))
            self.carry(Transmit(reply, destination, source), delay)

        server = at(endpoint)
        self._handlers[server] = answer
        return server

    def add_side(self, side: Side) -> Side:
        self.sides.append(side)
        for base in side.bases:
            self.plug(side, base)
        return side

    def plug(self, side: Side, base: Endpoint) -> None:
        """Connect a socket."""

        def deliver(data: bytes, source: Endpoint, destination: Endpoint) -> None:
            side.agent.receive_datagram(data, source, destination, self.now)

        self._handlers[base] = deliver

    def carry(self, packet: Transmit, delay: float = 0.0) -> None:
        """Put a packet on the wire: through the sender's NAT now, through the receiver's on arrival."""
        self.sent.append((self.now, packet))
        source, destination = packet.source, packet.destination
        here, there = self._nat_around(source.address), self._nat_around(destination.address)
        if here is not there and there is not None:
            return  # no route from outside to a private address
        if here is not there and here is not None:
            source = here.outbound(source, destination)
        if self.is_cut(packet.source, packet.destination) or self._random.random() < self.loss:
            return
        arrival = self.now + self.latency + delay
        heapq.heappush(self._queue, (arrival, next(self._sequence), self._arrive, packet.payload, source, destination))

    def run(self, until: Callable[[], bool] = lambda: False, seconds: float = 60.0) -> bool:
        """Advance the clock from event to event until `until` holds or `seconds` are over; tell whether it holds."""
        end = self.now + seconds
        self.flush()
        for _ in range(STEPS):
            if until():
                return True
            following = self._next_at()
            if following is None or following > end:
                self.now = end
                return until()
            self.now = max(self.now, following)
            self._step()
        raise AssertionError("busy loop")

    def flush(self) -> None:
        """Drain both agents as an owner does."""
        for side in self.sides:
            while (packet := side.agent.next_transmit()) is not None:
                self.carry(packet)
            while (event := side.agent.next_event()) is not None:
                side.events.append(event)

    def _step(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, handler, data, source, destination = heapq.heappop(self._queue)
            handler(data, source, destination)
            self.flush()
        for side in self.sides:
            timeout = side.agent.next_timeout()
            if timeout is not None and timeout <= self.now:
                side.agent.handle_timeout(self.now)
                self.flush()
                following = side.agent.next_timeout()
                assert following is None or following > self.now, side.agent.next_timer

    def _next_at(self) -> float | None:
        times = [side.agent.next_timeout() for side in self.sides]
        if self._queue:
            times.append(self._queue[0][0])
        return min((time for time in times if time is not None), default=None)

    def _nat_around(self, address: IPAddress) -> Nat | None:
        return next((nat for nat in self._nats if address in nat.inside), None)

    def _arrive(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        nat = next((nat for nat in self._nats if nat.address == destination.address), None)
        inner = destination if nat is None else nat.inbound(destination.port, source)
        handler = self._handlers.get(inner) if inner is not None else None
        if handler is not None and inner is not None:
            handler(data, source, inner)


def random_bytes_from(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def make_side(
    *bases: str,
    role: Role = Role.CONTROLLING,
    seed: int = 1,
    tie_breaker: int | None = None,
    config: AgentConfig | None = None,
) -> Side:
    """Make an agent that knows nothing yet; its sockets are for `start`."""
    draw = random_bytes_from(seed)
    breaker = int.from_bytes(draw(8), "big") if tie_breaker is None else tie_breaker
    agent = Agent(config or AgentConfig(), Credentials.generate(draw), role, breaker, draw)
    return Side(agent, [at(base) for base in bases])


def gather(network: Network, side: Side, *servers: Endpoint) -> None:
    """Give an agent its sockets and servers."""
    for base in side.bases:
        side.agent.add_local_address(base, network.now)
    for server in servers:
        side.agent.add_stun_server(server, network.now)
    side.agent.end_of_servers(network.now)


def signal(network: Network, teller: Side, listener: Side) -> None:
    """Carry one side's whole description to the other, as a paste does."""
    listener.agent.set_remote_credentials(teller.agent.local_credentials, network.now)
    for candidate in teller.agent.local_candidates:
        listener.agent.add_remote_candidate(candidate, network.now)
    listener.agent.end_of_remote_candidates(network.now)


def connect(network: Network, left: Side, right: Side, *servers: Endpoint, seconds: float = 60.0) -> bool:
    """Gather, exchange descriptions, and run until both sides have settled on a pair."""
    for side in (left, right):
        if side not in network.sides:
            network.add_side(side)
        gather(network, side, *servers)
    network.run(lambda: all(is_gathered(side) for side in (left, right)), 45.0)
    signal(network, left, right)
    signal(network, right, left)
    return network.run(lambda: is_settled(left) and is_settled(right), seconds)


def is_gathered(side: Side) -> bool:
    return side.agent.bindings[0] == side.agent.bindings[1]


def is_settled(side: Side) -> bool:
    return side.agent.selected is not None and side.agent.selected.nominated


def talk(network: Network, seconds: float, *sides: Side, interval: float = 0.5) -> None:
    """Let sides send traffic that isn't answered by itself, one packet every `interval`."""
    end = network.now + seconds
    while network.now < end:
        for side in sides:
            side.agent.record_sent(network.now)
        network.run(seconds=min(interval, end - network.now))
