"""Two agents over IPv4 and IPv6 that talk to each other through a tunnel of the test's making."""

from __future__ import annotations

from p2ptun.ice.config import AgentConfig, RemoteOptions
from p2ptun.ice.event import Restarted, RestartReason, StandbyChanged
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, Transmit
from tests.sim.network import Network, at

from .side import Side, connect, make_side

LEFT_BASES = ("192.0.2.1:1000", "[2001:db8::1]:1000")
RIGHT_BASES = ("192.0.2.2:2000", "[2001:db8::2]:2000")


class Couple:
    """Both sides, connected over IPv6 with IPv4 in reserve; `talk` lets packets flow both ways."""

    def __init__(
        self,
        is_prepared: bool = True,
        has_renomination: bool = True,
        seed: int = 1,
        config: AgentConfig | None = None,
        left: tuple[str, ...] = LEFT_BASES,
        right: tuple[str, ...] = RIGHT_BASES,
    ) -> None:
        self.network = Network(seed)
        self.left = make_side(*left, seed=seed, config=config)
        self.right = make_side(*right, role=Role.CONTROLLED, seed=seed + 1, config=config)
        self.sides = (self.left, self.right)
        assert connect(self.network, self.left, self.right)
        for side in self.sides:
            side.agent.set_remote_options(RemoteOptions(has_renomination=has_renomination), self.network.now)
        if is_prepared:
            self.prepare()

    def prepare(self) -> None:
        """Tell each side the other's credentials, those of the next generation too, as the tunnel does."""
        for side, other in self._both_ways():
            if other.agent.generation >= side.agent.generation:
                side.agent.set_remote_credentials(other.agent.local_credentials, self.network.now)
            side.agent.set_next_remote_credentials(other.agent.next_credentials, self.network.now)

    def signal(self, teller: Side) -> None:
        """Tell the other side what it must know after a restart, as a rendezvous does."""
        listener = self.right if teller is self.left else self.left
        listener.agent.set_remote_credentials(teller.agent.local_credentials, self.network.now)
        for candidate in teller.agent.local_candidates:
            listener.agent.add_remote_candidate(candidate, self.network.now)

    def talk(self, seconds: float, interval: float = 0.05) -> None:
        """Let both send a packet every `interval`."""
        end = self.network.now + seconds
        while self.network.now < end - 1e-9:
            for side in self.sides:
                if side.agent.may_send(self.network.now):
                    side.agent.record_sent(self.network.now)
            self.network.run(min(interval, end - self.network.now))
            for side, other in self._both_ways():
                self._receive(side, other)

    def talk_until_moved(self, side: Side, limit: float = 30.0) -> float:
        """Talk until a side sends over another pair; give the seconds that took."""
        began, before = self.network.now, path_of(side)
        while path_of(side) in (before, None):
            self.talk(0.02, 0.02)
            assert self.network.now < began + limit, f"still at {before}, seed {self.network.seed}"
        return self.network.now - began

    def cut(self, *versions: int) -> None:
        """Swallow all packets of these families from now on."""
        self.network.is_cut = lambda packet: packet.source.address.version in versions

    def add_base(self, side: Side, base: str) -> None:
        """Give a side one more address."""
        self.network.plug(side, at(base))
        side.agent.add_local_address(at(base), self.network.now)

    def remove_base(self, side: Side, base: str) -> None:
        """Take an address away from a side."""
        self.network.unplug(at(base))
        side.agent.remove_local_address(at(base), self.network.now)

    def _receive(self, side: Side, other: Side) -> None:
        """Let the packets that the other side sent come in, if the network lets them through."""
        there = other.agent.selected
        if there is None or not other.agent.may_send(self.network.now):
            return
        if self.network.is_cut(Transmit(b"", there.base, there.destination)) or there.destination not in side_bases(
            side
        ):
            return
        if path_of(side) == (there.destination, there.base):
            side.agent.record_authenticated(self.network.now)
        else:
            side.agent.vouch(there.destination, there.base, self.network.now)

    def _both_ways(self) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
        return (self.left, self.right), (self.right, self.left)


def path_of(side: Side) -> tuple[Endpoint, Endpoint] | None:
    """Give base and destination of the selected pair."""
    selected = side.agent.selected
    return None if selected is None else (selected.base, selected.destination)


def side_bases(side: Side) -> list[Endpoint]:
    """Give the addresses that a side has now."""
    return [candidate.base for candidate in side.agent.local_candidates]


def restarts(side: Side) -> list[RestartReason]:
    """Tell why a side has restarted so far."""
    return [event.reason for event in side.events if isinstance(event, Restarted)]


def standbys(side: Side) -> list[Endpoint | None]:
    """Tell where the pairs that stood ready led to."""
    changes = [event.standby for event in side.events if isinstance(event, StandbyChanged)]
    return [standby.destination if standby else None for standby in changes]
