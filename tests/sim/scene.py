"""Two whole nodes that are connected, talk, and have things happen to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.role import Role
from p2ptun.node.event import PeerState
from p2ptun.node.peer import Peer

from .network import Network, at
from .node import NodeHost, description_of, ip_packet
from .relay import RelayServer

A, B = "10.77.0.1", "10.77.0.2"
LATENCY = 0.025
PUBLIC_A, PUBLIC_B = "192.0.2.1:5000", "192.0.2.2:5000"
NO_PROMISE = 3600.0

SceneT = TypeVar("SceneT", bound="Scene")


def packet_number(packet: bytes) -> int:
    """Read the number that `Scene.talk` put into a packet."""
    return int.from_bytes(packet[-8:], "big")


class Scene:
    """Alice shares, Bob joins. Packets are numbered, and it is known when each was sent and arrived."""

    def __init__(
        self,
        alice: tuple[str, ...] = (PUBLIC_A,),
        bob: tuple[str, ...] = (PUBLIC_B,),
        *,
        network: Network | None = None,
        servers: tuple[str, ...] = (),
        roles: tuple[Role, Role] = (Role.CONTROLLING, Role.CONTROLLED),
        config: AgentConfig | None = None,
        relays: tuple[tuple[RelayServer, ...], tuple[RelayServer, ...]] = ((), ()),
    ) -> None:
        """Put both into a network. `relays` are those that Alice uses, and those that Bob uses."""
        self.network = network or Network(latency=LATENCY)
        self.alice = NodeHost(self.network, "alice", *alice, config=config)
        self.bob = NodeHost(self.network, "bob", *bob, config=config)
        self.to_bob = self.alice.add_peer("bob", roles[0])
        self.to_alice = self.bob.add_peer("alice", roles[1])
        self.sent_at: dict[int, float] = {}
        for server in servers:
            self.network.add_stun_server(server)
        for host, own_relays in zip(self.hosts, relays, strict=True):
            for server in servers:
                host.node.add_stun_server(at(server), host.now)
            for relay in own_relays:
                host.use_relay(relay)
            host.node.end_of_servers(host.now)
        self.network.run(0.5)

    @property
    def hosts(self) -> tuple[NodeHost, NodeHost]:
        return self.alice, self.bob

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return self.to_bob, self.to_alice

    @property
    def generations(self) -> tuple[int, int]:
        return self.to_bob.agent.generation, self.to_alice.agent.generation

    # What happens

    def introduce(self) -> None:
        """Carry the offer, then the answer."""
        offer = description_of(self.to_bob)
        self.bob.learn("alice", self.alice, offer, [f"{A}/32"])
        answer = description_of(self.to_alice)
        self.alice.learn("bob", self.bob, answer, [f"{B}/32"])

    def connect(self: SceneT, seconds: float = 30.0) -> SceneT:
        """Introduce the two, and wait until both sides are connected."""
        self.introduce()
        assert self.network.run(seconds, self.is_connected), self.describe()
        return self

    def is_connected(self) -> bool:
        """Tell whether both sides say so."""
        return {peer.state for peer in self.peers} == {PeerState.CONNECTED}

    def say(self) -> None:
        """Let both sides send a packet."""
        number = len(self.sent_at) + 1
        self.sent_at[number] = self.network.now
        self.alice.send(ip_packet(A, B, number.to_bytes(8, "big")))
        self.bob.send(ip_packet(B, A, number.to_bytes(8, "big")))

    def talk(self, seconds: float, interval: float = 0.05, until: Callable[[], bool] = lambda: False) -> float:
        """Let both sides send a packet every `interval` until something holds; return the seconds that took."""
        began_at = self.network.now
        while self.network.now < began_at + seconds - 1e-9 and not until():
            self.say()
            self.network.run(interval)
        return self.network.now - began_at

    # What a test looks at

    def gap_since(self, moment: float, limit: float = 60.0) -> float:
        """Talk until a packet sent after `moment` came through each way; return how long after it the later one came.

        What is lost in between doesn't count, what waited in a queue and came late does.
        """
        self.talk(limit, until=lambda: all(self._first_after(host, moment) is not None for host in self.hosts))
        times = [self._first_after(host, moment) for host in self.hosts]
        return max(NO_PROMISE if at is None else at - moment for at in times)

    def _first_after(self, host: NodeHost, moment: float) -> float | None:
        came = zip(host.received, host.received_at, strict=True)
        fresh = (at for packet, at in came if at >= moment and self.sent_at[packet_number(packet)] >= moment)
        return next(fresh, None)

    def troubles(self) -> list[PeerState]:
        """Give the states besides connecting and connected that people of either side have seen."""
        seen = [state for host, name in zip(self.hosts, ("bob", "alice"), strict=True) for state in host.states(name)]
        return [state for state in seen if state not in (PeerState.CONNECTING, PeerState.CONNECTED)]

    def describe(self) -> str:
        """Say where everybody stands, for assertion messages."""
        stands = [
            f"{host.name} {peer.state.value} {peer.reason} generation {peer.agent.generation} path {peer.path}"
            for host, peer in zip(self.hosts, self.peers, strict=True)
        ]
        return f"seed {self.network.seed}, now {self.network.now:.3f}: {stands}, lost {dict(self.network.lost)}"
