"""Two machines in two sites meet as people let them: one line carried over, another one back."""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.role import Role
from tests.ice.side import Side, connect, make_side

from .host import Count
from .network import Network
from .node import NodeHost, description_of, ip_packet
from .relay import RelayServer
from .site import Site, Way, bases

LATENCY = 0.025
RTT = 2 * LATENCY
SERVERS = ("203.0.113.1:3478", "203.0.113.2:3478")
RELAY = "203.0.113.11"
GATHERED, CARRIED, SETTLED = 1.0, 10.0, 2.0  # seconds: for STUN, for a person with a line of text, for the nomination
PATIENCE = 60.0
CARRYING_PATIENCE = 24 * 3600.0
"""How long the side that joins goes on checking while a person carries its answer over, as in the product."""

BOTH_CONTROLLING = (Role.CONTROLLING, Role.CONTROLLING)


@dataclass(frozen=True, slots=True)
class Meeting:
    """How it went, from the moment at which the second line arrived.

    Attributes:
        way: The path, None for none.
        seconds: Until an IP packet had come through in each direction.
        checks: What both sides sent until then and until they had settled on the path.
        octets: Everything that both sides sent meanwhile, as payload of UDP and TCP.
    """

    way: Way | None
    seconds: float
    checks: int
    octets: int


def way_of(left: Side, right: Side) -> Way | None:
    """Read from two agents how they met."""
    here, there = left.agent.selected, right.agent.selected
    if here is None or there is None:
        return None
    return Way(here.local.type, there.local.type, here.base.transport)


def agents_meet(left: Site, right: Site, seed: int = 1, roles: tuple[Role, Role] = BOTH_CONTROLLING) -> Way | None:
    """Let two agents meet."""
    network = Network(seed, latency=LATENCY)
    servers = [network.add_stun_server(server) for server in SERVERS]
    sides = []
    for number, site in enumerate((left, right), 1):
        side = make_side(seed=2 * seed + number, role=roles[number - 1])
        side.bases = bases(site.build(network, number))
        sides.append(side)
    connect(network, sides[0], sides[1], *servers, seconds=PATIENCE)
    return way_of(sides[0], sides[1])


class NodeMeeting:
    """Alice shares, Bob joins; each is a whole node. With a relay both use the same one."""

    def __init__(self, left: Site, right: Site, seed: int = 1, *, has_relay: bool = False) -> None:
        self.network = Network(seed, latency=LATENCY)
        servers = [self.network.add_stun_server(server) for server in SERVERS]
        self.alice, self.bob = (self._host(name, site) for name, site in (("alice", left), ("bob", right)))
        self.to_bob = self.alice.add_peer("bob", Role.CONTROLLING)
        self.to_alice = self.bob.add_peer("alice", Role.CONTROLLED)
        relays = [RelayServer(self.network, RELAY)] if has_relay else []
        for host in (self.alice, self.bob):
            for server in servers:
                host.node.add_stun_server(server, host.now)
            for relay in relays:
                host.use_relay(relay)
            host.node.end_of_servers(host.now)
        self.network.run(GATHERED)

    def meet(self) -> Meeting:
        """Carry the two lines, and look what comes of it."""
        self.bob.learn("alice", self.alice, description_of(self.to_bob), ["10.77.0.1/32"])
        self.network.run(GATHERED)
        answer = description_of(self.to_alice)
        self.network.run(CARRIED)
        before, began_at = self._counted(), self.network.now
        self.alice.learn("bob", self.bob, answer, ["10.77.0.2/32"])
        self.alice.send(ip_packet("10.77.0.1", "10.77.0.2"))
        self.bob.send(ip_packet("10.77.0.2", "10.77.0.1"))
        has_met = self.network.run(PATIENCE, lambda: bool(self.alice.received and self.bob.received))
        seconds = self.network.now - began_at
        self.network.run(SETTLED)
        after = self._counted()
        way = self._way() if has_met else None
        return Meeting(way, seconds, after.checks - before.checks, after.octets - before.octets)

    def _host(self, name: str, site: Site) -> NodeHost:
        number = 1 if name == "alice" else 2
        config = AgentConfig() if name == "alice" else AgentConfig(pac_timeout=CARRYING_PATIENCE)
        return NodeHost(self.network, name, *(bases(site.build(self.network, number))), config=config)

    def _counted(self) -> Count:
        total = Count()
        for count in (self.network.counts[self.alice], self.network.counts[self.bob]):
            total = Count(0, total.octets + count.octets, total.checks + count.checks)
        return total

    def _way(self) -> Way | None:
        here, there = self.to_bob.path, self.to_alice.path
        if here is None or there is None:
            return None
        return Way(here.local.type, there.local.type, here.base.transport)
