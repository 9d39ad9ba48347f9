"""Our own candidates: one for each base, and what servers, gateways and the peer see of it (RFC 8445 5.1.1).

A base is a socket of ours, whose candidate is a host candidate, or a relayed address, which is its own base (RFC 8445
5.1.1.2). Pairs are made of bases only.

Addresses that others saw come in as STUN has them, without a transport, which decodes as UDP: here they take over the
transport of their base (RFC 6544 7.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import CandidateChanged, CandidateGathered
from p2ptun.ice.gathering import Mapping
from p2ptun.ice.priority import candidate_priority, local_preference, tcp_local_preference
from p2ptun.ice.scope import signalled
from p2ptun.ice.tcp import base_type
from p2ptun.types import Endpoint, IPAddress, Transport

_FoundationKey: TypeAlias = tuple[CandidateType, IPAddress, IPAddress | None, Transport, bool]


class LocalCandidates:
    """The local candidates of one agent, with their priorities and foundations."""

    def __init__(self, credentials: Credentials, max_hosts: int) -> None:
        self._credentials = credentials
        self._max_hosts = max_hosts
        self._bases: dict[Endpoint, Candidate] = {}
        self._spares: dict[Endpoint, Candidate] = {}
        self._kept: dict[Endpoint, None] = {}
        self._ranks: dict[Endpoint, int] = {}
        self._reflexive: dict[tuple[Endpoint, Endpoint], Candidate] = {}
        self._foundations: dict[_FoundationKey, str] = {}
        self._public: set[Endpoint] = set()

    @property
    def bases(self) -> tuple[Candidate, ...]:
        """The host and relayed candidates: what pairs are made of."""
        return tuple(self._bases.values())

    @property
    def spares(self) -> tuple[Endpoint, ...]:
        """The sockets of a port search: nobody is told of them, and only the peer's checks make pairs of them."""
        return tuple(self._spares)

    @property
    def kept(self) -> tuple[Endpoint, ...]:
        """Those that have become hosts, and are nobody else's."""
        return tuple(self._kept)

    @property
    def public_addresses(self) -> frozenset[IPAddress]:
        """Addresses that servers see as they are: no NAT stands before them."""
        return frozenset(base.address for base in self._public)

    def __iter__(self) -> Iterator[Candidate]:
        yield from self._bases.values()
        yield from self._reflexive.values()

    def at(self, base: Endpoint) -> Candidate | None:
        """Give the candidate that is a base of ours; None for anything else."""
        return self._bases.get(base) or self._spares.get(base)

    def find(self, base: Endpoint, endpoint: Endpoint) -> Candidate | None:
        """Give the candidate of `base` which others see at `endpoint`."""
        seen = signalled(_over(base, endpoint))
        return next((item for item in self if item.base == base and signalled(item.endpoint) == seen), None)

    def add_host(self, base: Endpoint, tcp_type: TcpType | None = None) -> Candidate | None:
        """Make the host candidate of a new socket; None when it is known or there are too many of its kind.

        `tcp_type` says what a TCP base is for where `base_type` would guess wrong.
        """
        tcp_type = tcp_type or base_type(base)
        if base in self._bases or self._count(tcp_type) >= self._max_hosts:
            return None
        self._ranks[base] = self._free_rank(base, tcp_type)
        priority = self._priority(CandidateType.HOST, base, tcp_type)
        self._bases[base] = self._make(CandidateType.HOST, base, base, priority, tcp_type)
        return self._bases[base]

    def add_relayed(self, relayed: Endpoint, server: Endpoint, mapped: Endpoint | None) -> Candidate | None:
        """Make the candidate of an address on a relay; None when it is known or there are too many.

        `mapped` is where the server sees us. It ranks behind every host: the priority of a check from here is computed
        as from anywhere else (RFC 8445 7.1.1), and the peer may take it for a better way than it is.
        """
        if relayed in self._bases or self._count(None, CandidateType.RELAYED) >= self._max_hosts:
            return None
        self._ranks[relayed] = self._max_hosts + self._free_rank(relayed, None, self._max_hosts)
        priority = self._priority(CandidateType.RELAYED, relayed, None)
        made = self._make(CandidateType.RELAYED, relayed, relayed, priority, None, server)
        self._bases[relayed] = replace(made, related=mapped)
        return self._bases[relayed]

    def add_spare(self, base: Endpoint, limit: int) -> bool:
        """Take a socket for a port search; False when it is known or there are `limit` of them."""
        if self.at(base) is not None or len(self._spares) >= limit:
            return False
        first = 2 * self._max_hosts
        taken = {self._ranks[other] for other in self._spares}
        self._ranks[base] = next(rank for rank in range(first, first + limit) if rank not in taken)
        priority = self._priority(CandidateType.HOST, base, None)
        self._spares[base] = self._make(CandidateType.HOST, base, base, priority, None)
        return True

    def keep_spare(self, base: Endpoint) -> Candidate | None:
        """Let a spare socket become one of the hosts; None when there are too many."""
        if self._count(None) >= self._max_hosts:
            return None
        self._ranks[base] = self._free_rank(base, None)
        del self._spares[base]
        self._kept[base] = None
        return self.add_host(base)

    def restamp(self, credentials: Credentials) -> None:
        """Let every candidate belong to the generation of `credentials`: a restart tells them all anew."""
        self._credentials = credentials
        self._bases = {base: self._stamped(each) for base, each in self._bases.items()}
        self._spares = {base: self._stamped(each) for base, each in self._spares.items()}
        self._reflexive = {key: self._stamped(candidate) for key, candidate in self._reflexive.items()}

    def remove(self, base: Endpoint) -> None:
        """Drop a base with everything that was seen of it."""
        self._bases.pop(base, None)
        self._spares.pop(base, None)
        self._kept.pop(base, None)
        self._ranks.pop(base, None)
        self._public.discard(base)
        for key in [key for key in self._reflexive if key[0] == base]:
            del self._reflexive[key]

    def record_mapping(self, mapping: Mapping) -> CandidateGathered | CandidateChanged | None:
        """Note what a server saw; None when that is nothing new (RFC 8445 5.1.3: redundant candidates)."""
        key = mapping.base, mapping.server
        old = self._reflexive.get(key)
        if old is not None and old.endpoint == mapping.endpoint:
            return None
        twin = self.find(mapping.base, mapping.endpoint)
        if twin is not None and twin.type is CandidateType.HOST:
            self._public.add(mapping.base)
        new = twin or self._make_reflexive(mapping)
        self._reflexive.pop(key, None)
        if twin is None:
            self._reflexive[key] = new
        if old is not None:
            return CandidateChanged(old, new)
        return CandidateGathered(new) if twin is None else None

    def remove_mapping(self, base: Endpoint, server: Endpoint) -> Candidate | None:
        """Forget what one server or gateway told of a base; give the candidate that is gone with it."""
        return self._reflexive.pop((base, server), None)

    def check_priority(self, base: Endpoint) -> int:
        """Give the PRIORITY of a check: that of a peer-reflexive candidate of `base` (RFC 8445 7.1.1)."""
        return self._priority(CandidateType.PEER_REFLEXIVE, base, self._tcp_type(base))

    def seen_as(self, base: Endpoint, endpoint: Endpoint) -> Candidate:
        """Give the local candidate of a valid pair: known, or peer-reflexive (RFC 8445 7.2.5.3.1)."""
        known = self.find(base, endpoint)
        kind, seen = CandidateType.PEER_REFLEXIVE, _over(base, endpoint)
        return known or self._make(kind, seen, base, self.check_priority(base), self._tcp_type(base))

    def _stamped(self, candidate: Candidate) -> Candidate:
        return replace(candidate, generation=self._credentials.generation, ufrag=self._credentials.ufrag)

    def _make_reflexive(self, mapping: Mapping) -> Candidate:
        kind, base, tcp_type = CandidateType.SERVER_REFLEXIVE, mapping.base, self._tcp_type(mapping.base)
        priority = self._priority(kind, base, tcp_type, mapping.alternative)
        return self._make(kind, _over(base, mapping.endpoint), base, priority, tcp_type, mapping.server)

    def _make(
        self,
        kind: CandidateType,
        endpoint: Endpoint,
        base: Endpoint,
        priority: int,
        tcp_type: TcpType | None,
        server: Endpoint | None = None,
    ) -> Candidate:
        seen_by, is_open = server.address if server else None, tcp_type is TcpType.SIMULTANEOUS_OPEN
        transport = server.transport if server and kind is CandidateType.RELAYED else base.transport
        return Candidate(
            type=kind,
            endpoint=endpoint,
            priority=priority,
            foundation=self._foundation((kind, base.address, seen_by, transport, is_open)),
            base=base,
            related=None if kind is CandidateType.HOST else base,
            generation=self._credentials.generation,
            ufrag=self._credentials.ufrag,
            tcp_type=tcp_type,
        )

    def _foundation(self, key: _FoundationKey) -> str:
        """Number the kinds of fate: type, base address, server address, transport (RFC 8445 5.1.1.3).

        The transport of a relayed candidate is that to its server.
        Our addition: whether a connection is opened from both sides. That passes firewalls which stop the other kind,
        and frozen behind it, it would wait until the kernel gives that up.
        """
        return self._foundations.setdefault(key, str(len(self._foundations) + 1))

    def _priority(self, kind: CandidateType, base: Endpoint, tcp_type: TcpType | None, alternative: int = 0) -> int:
        rank, version = self._ranks[base], base.address.version
        if tcp_type is None:
            return candidate_priority(kind, local_preference(rank, version, alternative))
        preference = tcp_local_preference(kind, tcp_type, rank, version, alternative)
        return candidate_priority(kind, preference, Transport.TCP)

    def _tcp_type(self, base: Endpoint) -> TcpType | None:
        candidate = self.at(base)
        return None if candidate is None else candidate.tcp_type

    def _count(self, tcp_type: TcpType | None, kind: CandidateType = CandidateType.HOST) -> int:
        return sum(each.tcp_type is tcp_type and each.type is kind for each in self._bases.values())

    def _free_rank(self, base: Endpoint, tcp_type: TcpType | None, first: int = 0) -> int:
        """Count from `first` to a rank of family and kind that nobody has; who comes back may take its old one."""
        version = base.address.version
        taken = {
            self._ranks[other.base]
            for other in self._bases.values()
            if other.tcp_type is tcp_type and other.base.address.version == version
        }
        return next(rank for rank in range(len(taken) + 1) if first + rank not in taken)


def _over(base: Endpoint, endpoint: Endpoint) -> Endpoint:
    """Give an address that somebody saw of `base` the transport over which it was seen."""
    return endpoint if endpoint.transport is base.transport else replace(endpoint, transport=base.transport)
