"""An agent as a host of the simulated network, and what its owner does with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, Event, PairSelected, StateChanged
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, SendError, Transmit
from tests.sim.network import Network, at

from .material import random_bytes_from


@dataclass(eq=False)
class Side:
    """An agent with its sockets and what it said so far."""

    agent: Agent
    bases: list[Endpoint]
    events: list[Event] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"{self.bases} awake for {self.agent.next_timer}"

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

    # The host's doors

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a datagram."""
        self.agent.receive_datagram(data, source, local, now)

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        """Take what the kernel refused to send."""
        self.agent.record_send_error(base, remote, error, now)

    def handle_timeout(self, now: float) -> None:
        """Let the agent act."""
        self.agent.handle_timeout(now)

    def next_transmit(self) -> Transmit | None:
        """Give what the agent wants sent; after the last of it take the events, as an owner does."""
        packet = self.agent.next_transmit()
        if packet is None:
            while (event := self.agent.next_event()) is not None:
                self.events.append(event)
        return packet

    def next_timeout(self) -> float | None:
        """Tell when the agent wants to act."""
        return self.agent.next_timeout()


def make_side(
    *bases: str,
    role: Role = Role.CONTROLLING,
    seed: int = 1,
    tie_breaker: int | None = None,
    config: AgentConfig | None = None,
) -> Side:
    """Make an agent that knows nothing yet; `gather` gives it its sockets."""
    draw = random_bytes_from(seed)
    breaker = int.from_bytes(draw(8), "big") if tie_breaker is None else tie_breaker
    agent = Agent(config or AgentConfig(), Credentials.generate(draw), role, breaker, draw)
    return Side(agent, [at(base) for base in bases])


def plug(network: Network, *sides: Side) -> None:
    """Connect all sockets of sides."""
    for side in sides:
        network.plug(side, *side.bases)


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
    plug(network, left, right)
    for side in (left, right):
        gather(network, side, *servers)
    network.run(45.0, lambda: all(is_gathered(side) for side in (left, right)))
    signal(network, left, right)
    signal(network, right, left)
    return network.run(seconds, lambda: is_settled(left) and is_settled(right))


def is_gathered(side: Side) -> bool:
    return side.agent.bindings[0] == side.agent.bindings[1]


def is_settled(side: Side) -> bool:
    return side.agent.selected is not None and side.agent.selected.is_nominated


def talk(network: Network, seconds: float, *sides: Side, interval: float = 0.5) -> None:
    """Let sides send traffic that isn't answered by itself, one packet every `interval`."""
    end = network.now + seconds
    while network.now < end:
        for side in sides:
            side.agent.record_sent(network.now)
        network.run(min(interval, end - network.now))
