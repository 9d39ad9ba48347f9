"""Two nodes in homes between which ordinary checks find nothing, and relays that they may use."""

from __future__ import annotations

from p2ptun.ice.config import AgentConfig
from p2ptun.node.path import PathKind
from p2ptun.types import Endpoint, Transport

from .nat import Behaviour, Habit, Nat, Ports
from .network import Network
from .relay import RelayServer
from .scene import LATENCY, Scene

HARD, EASY = Behaviour.ADDRESS_AND_PORT_DEPENDENT, Behaviour.ENDPOINT_INDEPENDENT
BOTH_EASY = (EASY, EASY)
HOMES = ("10.0.1.2", "10.0.2.2")
PUBLIC = ("198.51.100.1", "198.51.100.2")
SERVERS = ("203.0.113.1:3478", "203.0.113.2:3478")
RELAYS = ("203.0.113.11", "203.0.113.12")


class RelayedScene(Scene):
    """Both sides are behind NATs that filter by port. `uses` says which relays each of them uses, by number."""

    def __init__(
        self,
        seed: int = 1,
        mappings: tuple[Behaviour, Behaviour] = (HARD, HARD),
        uses: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0,)),
        config: AgentConfig | None = None,
        transports: tuple[Transport, ...] = (Transport.UDP, Transport.TCP),
        users: dict[str, str] | None = None,
    ) -> None:
        network = Network(seed, latency=LATENCY)
        network.has_log = False
        self.all_relays = [
            RelayServer(network, address, transports=transports, users=users)
            for address in RELAYS[: 1 + max(uses[0] + uses[1])]
        ]
        for public, home, mapping in zip(PUBLIC, HOMES, mappings, strict=True):
            inside = home.rpartition(".")[0] + ".0/24"
            network.add_nat(Nat(public, inside, mapping, habit=Habit(Ports.RANDOM, seed=seed)))
        sockets = [(f"{home}:5000",) for home in HOMES]
        relays = tuple(tuple(self.all_relays[number] for number in numbers) for numbers in uses)
        super().__init__(*sockets, network=network, servers=SERVERS, config=config, relays=(relays[0], relays[1]))

    @property
    def used(self) -> list[RelayServer]:
        """The relays on the path as Alice and Bob know it."""
        ends: set[Endpoint] = set()
        for peer in self.peers:
            if peer.path is not None:
                ends |= {peer.path.base, peer.path.destination}
        return [relay for relay in self.all_relays if ends & relay.relayed]

    @property
    def is_relayed(self) -> bool:
        """Whether both sides send over a relay."""
        return self.kinds() == {PathKind.RELAY}

    def kinds(self) -> set[PathKind | None]:
        """Tell which kinds of paths the two sides send over: one, or two while they change."""
        return {None if peer.path is None else peer.path.kind for peer in self.peers}

    def block_direct(self) -> None:
        """Swallow whatever goes from one home to the other without a relay."""
        self.network.is_cut = lambda packet: (
            str(packet.source.address) in HOMES and (str(packet.destination.address) in PUBLIC)
        )
