"""A node as a host of the network: real ICE agents, real sessions, inner packets in and out."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Batch
from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import RestartReason
from p2ptun.ice.role import Role
from p2ptun.io.monitor import LOOK_INTERVAL, QUIET
from p2ptun.node.event import FailureReason, PeerEvent, PeerState, PeerStateChanged, RelayEvent
from p2ptun.node.flight import Flight
from p2ptun.node.link import BATCH_SIZE, Identity
from p2ptun.node.node import Node
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair
from p2ptun.stun.credential import LongTermCredential
from p2ptun.tunnel.psk import NO_PSK
from p2ptun.types import Endpoint, IPNetwork, SendError, Transmit

from .nat import Gateway
from .network import Network, at
from .relay import CREDENTIAL, RelayServer
from .sockets import OrderedSockets

MTU = 1400


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and when it came."""

    at: float
    peer: str
    event: PeerEvent | RelayEvent


def ip_packet(source: str, destination: str, payload: bytes = b"") -> bytes:
    """Build an inner packet with no transport in it (protocol 253 and 59: none)."""
    here, there = ip_address(source), ip_address(destination)
    if isinstance(here, IPv6Address):
        return b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + b"\x3b\x40" + here.packed + there.packed + payload
    assert isinstance(there, IPv4Address)
    size = (20 + len(payload)).to_bytes(2, "big")
    return b"\x45\0" + size + bytes(4) + b"\x40\xfd\0\0" + here.packed + there.packed + payload


def batch_of(packets: Iterable[bytes], size: int = BATCH_SIZE) -> Batch:
    """Put packets into a batch."""
    batch = Batch(size)
    for packet in packets:
        assert batch.append(packet)
    return batch


def description_of(peer: Peer) -> IceParameters:
    """Say what the other side is told at first, by a line of text or a rendezvous."""
    agent = peer.agent
    return IceParameters(agent.local_credentials, peer.describe(), nat=agent.nat_hint)


class NodeHost:
    """A machine that runs a node. What its TUN device would get stands in `received`."""

    def __init__(
        self, network: Network, name: str, *sockets: str | Endpoint, config: AgentConfig | None = None
    ) -> None:
        self.network = network
        self.name = name
        self.random_bytes = random.Random(f"{network.seed} {name}").randbytes
        self.keys = KeyPair.generate(self.random_bytes)
        self.node = Node(self.random_bytes)
        self.config = config or AgentConfig()
        self.sockets = [at(socket) if isinstance(socket, str) else socket for socket in sockets]
        self.ordered = OrderedSockets(network, self, self.node, lambda: self.sockets)
        self.log: list[Happened] = []
        self.received: list[bytes] = []
        self.received_at: list[float] = []
        self._outgoing: list[Transmit] = []
        network.plug(self, *self.sockets)
        for socket in self.sockets:
            self.node.add_local_address(socket, self.now)

    def __repr__(self) -> str:
        return f"{self.name} awake for {self.node.why_awake()}"

    @property
    def now(self) -> float:
        """What this machine's clock says."""
        return self.network.time_of(self)

    # Setting up

    def add_peer(self, name: str, role: Role = Role.CONTROLLING) -> Peer:
        """Add a peer that gathers on every socket; nothing is known of it yet."""
        tie_breaker = int.from_bytes(self.random_bytes(8), "big")
        credentials, pacer = Credentials.generate(self.random_bytes), self.node.pacer
        agent = Agent(self.config, credentials, role, tie_breaker, self.random_bytes, pacer)
        peer = Peer(name, agent)
        self.node.add_peer(peer, self.now)
        return peer

    def learn(
        self,
        peer: str,
        other: NodeHost,
        remote: IceParameters,
        allowed: Iterable[str],
        psk: bytes = NO_PSK,
        rekey_interval: float = 120.0,
        mtu: int = MTU,
    ) -> None:
        """Take what signalling tells of `other`, which is called `peer` here."""
        networks: tuple[IPNetwork, ...] = tuple(ip_network(each) for each in allowed)
        algorithms = (Algorithm.CHACHA20_POLY1305,)
        identity = Identity(other.keys.public, networks, psk, algorithms, rekey_interval)
        self.node.connect(peer, identity, self.keys, mtu, remote, self.now)
        self.take()

    def use_relay(
        self, relay: RelayServer, credential: LongTermCredential = CREDENTIAL, expires_at: float | None = None
    ) -> None:
        """Let a server relay for the node."""
        for server in relay.servers:
            self.node.add_turn_server(server, credential, expires_at, self.now)

    # What happens to a machine, and what the layer around the node makes of it

    def move(self, new: str, *, behind: Gateway | None = None) -> None:
        """Put the machine into another network: it has one new address and none of the old ones."""
        old, self.sockets = self.sockets, [at(new)]
        self._unplug(old)
        self.network.plug(self, *self.sockets, behind=behind)
        self.network.later(QUIET, partial(self._follow, self.sockets, old))

    def gain(self, new: str, *, behind: Gateway | None = None) -> None:
        """Give the machine one more address."""
        self.network.plug(self, at(new), behind=behind)
        self.sockets.append(at(new))
        self.network.later(QUIET, partial(self._follow, [at(new)], []))

    def lose(self, old: str) -> None:
        """Take an address away."""
        self._unplug([at(old)])
        self.sockets.remove(at(old))
        self.network.later(QUIET, partial(self._follow, [], [at(old)]))

    def sleep(self) -> None:
        """Close the lid."""
        self.network.suspend(self)

    def wake(self) -> None:
        """Open it. The daemon looks at its clocks once a second, so it may take that long to see that it slept."""
        self.network.resume(self)
        self.network.later(LOOK_INTERVAL, partial(self._restart, RestartReason.RESUMED))

    def _unplug(self, lost: list[Endpoint]) -> None:
        self.network.unplug(*lost)
        for socket in lost:
            self.ordered.leave(socket.address)

    def _follow(self, gained: list[Endpoint], lost: list[Endpoint]) -> None:
        for base in gained:
            self.node.add_local_address(base, self.now)
        for base in lost:
            self.node.remove_local_address(base, self.now)
            self.ordered.report_left(base.address)
        if self.sockets:
            self._restart(RestartReason.NETWORK_CHANGED)

    def _restart(self, reason: RestartReason) -> None:
        self.node.restart(reason, self.now)
        self.take()
        self.network.flush()

    # What a test does and looks at

    def send(self, *packets: bytes) -> list[Flight]:
        """Let the TUN device give packets to the node."""
        flights = self.node.send_packets(batch_of(packets), self.now)
        for flight in flights:
            for datagram in flight.datagrams:
                self._outgoing.append(Transmit(bytes(datagram), flight.source, flight.destination))
        self.take()
        self.network.flush()
        return flights

    def peer(self, name: str) -> Peer:
        return self.node.peer(name)

    def events(self, peer: str = "") -> list[PeerEvent | RelayEvent]:
        """Give the events of a peer, or of the relays."""
        return [each.event for each in self.log if each.peer == peer]

    def states(self, peer: str) -> list[PeerState]:
        return [event.state for event in self.events(peer) if isinstance(event, PeerStateChanged)]

    def failure(self, peer: str) -> FailureReason | None:
        return self.peer(peer).reason

    def when(self, state: PeerState) -> float:
        """Tell when a peer entered a state last."""
        times = [each.at for each in self.log if isinstance(each.event, PeerStateChanged) and each.event.state is state]
        return times[-1]

    def take(self) -> None:
        """Take the node's events, as its owner does."""
        while (event := self.node.next_event()) is not None:
            self.log.append(Happened(self.network.now, event.peer, event.event))

    # The host's doors

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take one datagram, as a batch of one."""
        batch = batch_of([data], max(len(data), 1))
        packets = self.node.receive_datagrams(batch, [source], self.ordered.name_of(local), now)
        self.received.extend(bytes(packet) for packet in packets)
        self.received_at.extend([self.network.now] * len(packets))
        self.take()

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        """Take what the kernel refused to send."""
        self.node.record_send_error(self.ordered.name_of(base), remote, error, now)
        self.take()

    def handle_timeout(self, now: float) -> None:
        """Let the node act."""
        self.node.handle_timeout(now)
        self.take()

    def next_transmit(self) -> Transmit | None:
        """Give what the node wants sent; what it sealed before comes first. With the last of it sockets are closed."""
        self.ordered.obey()
        packet = self._outgoing.pop(0) if self._outgoing else self.node.next_transmit()
        if packet is not None:
            return self.ordered.addressed(packet)
        self.ordered.close_outdated()
        return None

    def next_timeout(self) -> float | None:
        """Tell when the node wants to act."""
        return self.node.next_timeout()
