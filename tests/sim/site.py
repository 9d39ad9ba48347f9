"""The kinds of networks that a machine may be in, and what theory says about two of them.

The theory is derived from the words of RFC 4787 alone and shares no line with the simulator or the product.

Let A and B know each other's mapped address, as a STUN server saw it. A datagram from A comes from the binding that A
has for its destination. So a path exists exactly if there is a binding R of B and a binding X of A such that A sends to
R from X and B sends to X from R, and if each side can learn of the other's: from signalling, where it is the mapped
address, or by getting a datagram from it, where a filter lets that in.

* Both map independently: R and X are the mapped addresses. What one side sends opens its filter for the other.
* One does, A: X is its mapped address, and R is what B uses for X. A learns R from B's datagram unless A's filter wants
  the port: A has sent to B's address, but not from there.
* Neither does: somebody must get a datagram at a mapped address that is meant for the server, which takes a filter that
  is independent, and the other side's must not want the port. If both map by port there is none: each binding would
  have to be there before the other.

Who sends to ports that nobody told finds more. Where one side alone maps by destination, it makes many bindings for the
other's mapped address, and one of them is what the other hits by chance: it may come in, for it is what the binding was
made for. Where both do, each must know which binding the other will make next, which takes NATs that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.types import Endpoint, Transport

from .nat import Behaviour, Firewall, Habit, Nat, Ports
from .network import Network, at

SHORT = {
    Behaviour.ENDPOINT_INDEPENDENT: "EI",
    Behaviour.ADDRESS_DEPENDENT: "AD",
    Behaviour.ADDRESS_AND_PORT_DEPENDENT: "APD",
}
INDEPENDENT, BY_ADDRESS, BY_PORT = Behaviour
STRICTNESS = list(Behaviour)


class Kind(Enum):
    """What stands between a machine and the internet."""

    NOTHING = "public address"
    FIREWALL = "public address behind a firewall"
    NAT = "NAT"
    DOUBLE_NAT = "NAT behind a carrier's"
    UDP_BLOCKED = "NAT, UDP blocked"


@dataclass(frozen=True, slots=True)
class Site:
    """One side's network: `mapping` and `filtering` are what the world sees, `outer_mapping` a carrier's."""

    kind: Kind
    mapping: Behaviour = INDEPENDENT
    filtering: Behaviour = INDEPENDENT
    outer_mapping: Behaviour = INDEPENDENT
    ports: Ports = Ports.SEQUENTIAL

    def __str__(self) -> str:
        if self.kind in (Kind.NOTHING, Kind.FIREWALL, Kind.UDP_BLOCKED):
            return str(self.kind.value)
        ports = {Ports.SEQUENTIAL: "", Ports.PRESERVED: ", ports preserved", Ports.RANDOM: ", random ports"}[self.ports]
        outer = f" behind {SHORT[self.outer_mapping]}M/APDF" if self.kind is Kind.DOUBLE_NAT else ""
        return f"{SHORT[self.mapping]}M/{SHORT[self.filtering]}F{outer}{ports}"

    # What theory needs to know

    @property
    def has_udp(self) -> bool:
        return self.kind is not Kind.UDP_BLOCKED

    @property
    def seen_mapping(self) -> Behaviour:
        """The mapping as a whole: the worst on the way. One that preserves the port looks the same to everybody."""
        if self.ports is Ports.PRESERVED or self.kind in (Kind.NOTHING, Kind.FIREWALL):
            return INDEPENDENT
        return max(self.mapping, self.outer_mapping, key=STRICTNESS.index)

    @property
    def seen_filtering(self) -> Behaviour:
        """The filtering as a whole; a carrier's NAT and a firewall want the port."""
        return BY_PORT if self.kind in (Kind.DOUBLE_NAT, Kind.FIREWALL) else self.filtering

    # What the simulator needs

    def build(self, network: Network, number: int) -> str:
        """Build it as the site with that number, and give the address of the machine in it."""
        match self.kind:
            case Kind.NOTHING:
                return f"198.51.100.{number}"
            case Kind.FIREWALL:
                network.add_nat(Firewall(f"198.51.100.{number}/32"))
                return f"198.51.100.{number}"
            case Kind.DOUBLE_NAT:
                network.add_nat(Nat(f"198.51.100.{number}", f"100.{63 + number}.0.0/16", self.outer_mapping))
                public = f"100.{63 + number}.0.2"
            case _:
                public = f"198.51.100.{number}"
        blocked = () if self.has_udp else (Transport.UDP,)
        habit = Habit(self.ports, blocked=blocked)
        network.add_nat(Nat(public, f"10.0.{number}.0/24", self.mapping, self.filtering, habit=habit))
        return f"10.0.{number}.2"


PUBLIC, WALLED, BLOCKED = Site(Kind.NOTHING), Site(Kind.FIREWALL), Site(Kind.UDP_BLOCKED)
NATS = [Site(Kind.NAT, mapping, filtering) for mapping in Behaviour for filtering in Behaviour]
FULL_CONE, RESTRICTED, PORT_RESTRICTED, SYMMETRIC = NATS[0], NATS[1], NATS[2], NATS[8]
RANDOM = Site(Kind.NAT, BY_PORT, BY_PORT, ports=Ports.RANDOM)
PRESERVING = Site(Kind.NAT, BY_PORT, BY_PORT, ports=Ports.PRESERVED)
CARRIER = Site(Kind.DOUBLE_NAT, INDEPENDENT, BY_PORT)
SYMMETRIC_CARRIER = Site(Kind.DOUBLE_NAT, INDEPENDENT, INDEPENDENT, BY_PORT)

SITES = [PUBLIC, WALLED, *NATS, RANDOM, PRESERVING, CARRIER, SYMMETRIC_CARRIER, BLOCKED]
PAIRS = [(left, right) for index, left in enumerate(SITES) for right in SITES[index:]]


@dataclass(frozen=True, slots=True)
class Way:
    """How two sides meet: what each one's own address is, and what carries it."""

    left: CandidateType
    right: CandidateType
    transport: Transport = Transport.UDP

    @property
    def is_relayed(self) -> bool:
        """Whether a relay stands at either end."""
        return CandidateType.RELAYED in (self.left, self.right)

    def __str__(self) -> str:
        tcp = " over TCP" if self.transport is Transport.TCP else ""
        return f"{self.left.value}/{self.right.value}{tcp}"


def expected_way(left: Site, right: Site) -> Way | None:
    """Tell how two sites meet without a relay; None where they need one."""
    if left.has_udp and right.has_udp:
        return Way(_seen_as(left, right), _seen_as(right, left)) if _can_meet(left, right) else None
    if PUBLIC not in (left, right):
        return None  # somebody has to accept the connection
    return Way(_type_over_tcp(left), _type_over_tcp(right), Transport.TCP)


def can_search(left: Site, right: Site) -> bool:
    """Tell whether a port search finds a way where `expected_way` knows none."""
    if expected_way(left, right) is not None or not (left.has_udp and right.has_udp):
        return False
    dependent = [side for side in (left, right) if side.seen_mapping is not INDEPENDENT]
    return len(dependent) == 1 or all(side.ports is Ports.SEQUENTIAL for side in dependent)


def _can_meet(left: Site, right: Site) -> bool:
    independent = [side for side in (left, right) if side.seen_mapping is INDEPENDENT]
    if len(independent) == 2:
        return True
    if len(independent) == 1:
        return independent[0].seen_filtering is not BY_PORT
    if left.seen_mapping is right.seen_mapping is BY_PORT:
        return False
    filters = [side.seen_filtering for side in (left, right)]
    return INDEPENDENT in filters and BY_PORT not in filters


def _seen_as(side: Site, other: Site) -> CandidateType:
    if side.kind in (Kind.NOTHING, Kind.FIREWALL):
        return CandidateType.HOST
    is_as_told = side.seen_mapping is INDEPENDENT
    return CandidateType.SERVER_REFLEXIVE if is_as_told else CandidateType.PEER_REFLEXIVE


def _type_over_tcp(side: Site) -> CandidateType:
    return CandidateType.HOST if side is PUBLIC else CandidateType.PEER_REFLEXIVE


def bases(address: str) -> list[Endpoint]:
    """Give what a machine binds: UDP, and TCP to open and to accept connections."""
    return [at(f"{address}:5000"), at(f"{address}:9", Transport.TCP), at(f"{address}:5000", Transport.TCP)]
