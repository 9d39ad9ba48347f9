"""What of this machine's network matters to sockets and paths. Values only: `netlink.read_network` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2ptun.io.address import LocalAddress
from p2ptun.types import IPAddress, IPNetwork, without_zone


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A way to everywhere; `gateway` is None where the link itself is the way, as on a point-to-point line."""

    version: int
    interface: str
    index: int
    gateway: IPAddress | None

    def __str__(self) -> str:
        via = "" if self.gateway is None else f" by {without_zone(self.gateway)}"
        return f"{self.interface}{via}"


@dataclass(frozen=True, slots=True)
class Network:
    """The network as it was when it was read.

    Attributes:
        candidates: Addresses fit for host candidates, best first.
        present: All addresses that could be sent from: one that is on its way out still carries what it carries.
        default_routes: Through no tunnel, most preferred first.
        tunnel_networks: What lies on the links of tunnels, ours and others', but for what lies on another link too.
        links: The index of each interface, and whether it leads through a tunnel.
    """

    candidates: tuple[LocalAddress, ...]
    present: tuple[LocalAddress, ...]
    default_routes: tuple[DefaultRoute, ...] = ()
    tunnel_networks: tuple[IPNetwork, ...] = ()
    links: Mapping[int, bool] = field(default_factory=dict)

    @property
    def fingerprint(self) -> object:
        """Return what differs when candidates or paths do, and only then.

        Addresses and interfaces of tunnels aren't in it, nor are other routes, lifetimes, or metrics but for the order
        that they make.
        """
        places = {(each.address, each.prefix, each.interface, each.index, each.kind) for each in self.candidates}
        return frozenset(places), self.default_routes
