"""What every peer of a node is told of this machine: sockets, servers, gateways. A new peer is told at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.ice.candidate_type import TcpType
from p2ptun.node.peer import Peer
from p2ptun.types import Endpoint


@dataclass(slots=True)
class Surroundings:
    """What there is by now.

    Attributes:
        bases: The sockets, with what those of TCP are for.
        servers: The STUN servers, in the order in which they came.
        mapped: What a gateway forwards, by socket and gateway.
        has_all_servers: Whether no more servers come.
        is_settled: Whether peers have been told so: when the relays are settled, too.
    """

    bases: dict[Endpoint, TcpType | None] = field(default_factory=dict)
    servers: dict[Endpoint, None] = field(default_factory=dict)
    mapped: dict[tuple[Endpoint, Endpoint], Endpoint] = field(default_factory=dict)
    has_all_servers: bool = False
    is_settled: bool = False

    def introduce(self, peer: Peer, now: float) -> None:
        """Tell a new peer."""
        for base, tcp_type in self.bases.items():
            peer.add_local_address(base, now, tcp_type)
        for server in self.servers:
            peer.add_stun_server(server, now)
        for (base, gateway), external in self.mapped.items():
            peer.add_mapped_address(base, external, gateway, now)
        if self.is_settled:
            peer.end_of_servers(now)

    def forget(self, base: Endpoint) -> None:
        """Forget a socket, with what gateways forward to it."""
        self.bases.pop(base, None)
        for key in [key for key in self.mapped if key[0] == base]:
            del self.mapped[key]
