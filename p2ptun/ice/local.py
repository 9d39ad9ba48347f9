"""Our own candidates: one host candidate for each socket, and what servers and the peer see of it (RFC 8445 5.1.1).

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
        self._hosts: dict[Endpoint, Candidate] = {}
        self._ranks: dict[Endpoint, int] = {}
        self._reflexive: dict[tuple[Endpoint, Endpoint], Candidate] = {}
        self._foundations: dict[_FoundationKey, str] = {}
        self._public: set[Endpoint] = set()

    @property
    def hosts(self) -> tuple[Candidate, ...]:
        """The host candidates: what pairs are made of."""
        return tuple(self._hosts.values())

    @property
    def public_addresses(self) -> frozenset[IPAddress]:
        """Addresses that servers see as they are: no NAT stands before them."""
        return frozenset(base.address for base in self._public)

    def __iter__(self) -> Iterator[Candidate]:
        yield from self._hosts.values()
        yield from self._reflexive.values()

    def host(self, base: Endpoint) -> Candidate | None:
        """Give the host candidate of a socket; None for a socket that isn't ours."""
        return self._hosts.get(base)

    def find(self, base: Endpoint, endpoint: Endpoint) -> Candidate | None:
        """Give the candidate of `base` which others see at `endpoint`."""
        seen = signalled(_over(base, endpoint))
        return next((item for item in self if item.base == base and signalled(item.endpoint) == seen), None)

    def add_host(self, base: Endpoint, tcp_type: TcpType | None = None) -> Candidate | None:
        """Make the host candidate of a new socket; None when it is known or there are too many of its kind.

        `tcp_type` says what a TCP base is for where `base_type` would guess wrong.
        """
        tcp_type = tcp_type or base_type(base)
        if base in self._hosts or self._count(tcp_type) >= self._max_hosts:
            return None
        self._ranks[base] = self._free_rank(base, tcp_type)
        priority = self._priority(CandidateType.HOST, base, tcp_type)
        self._hosts[base] = self._make(CandidateType.HOST, base, base, priority, tcp_type)
        return self._hosts[base]

    def restamp(self, credentials: Credentials) -> None:
        """Let every candidate belong to the generation of `credentials`: a restart tells them all anew."""
        self._credentials = credentials
        self._hosts = {base: self._stamped(host) for base, host in self._hosts.items()}
        self._reflexive = {key: self._stamped(candidate) for key, candidate in self._reflexive.items()}

    def remove_host(self, base: Endpoint) -> None:
        """Drop a socket with everything that was seen of it."""
        self._hosts.pop(base, None)
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

    def check_priority(self, base: Endpoint) -> int:
        """Give the PRIORITY of a check: that of a peer-reflexive candidate of `base` (RFC 8445 7.1.1)."""
        return self._priority(CandidateType.PEER_REFLEXIVE, base, self._hosts[base].tcp_type)

    def seen_as(self, base: Endpoint, endpoint: Endpoint) -> Candidate:
        """Give the local candidate of a valid pair: known, or peer-reflexive (RFC 8445 7.2.5.3.1)."""
        known = self.find(base, endpoint)
        kind, seen = CandidateType.PEER_REFLEXIVE, _over(base, endpoint)
        return known or self._make(kind, seen, base, self.check_priority(base), self._hosts[base].tcp_type)

    def _stamped(self, candidate: Candidate) -> Candidate:
        return replace(candidate, generation=self._credentials.generation, ufrag=self._credentials.ufrag)

    def _make_reflexive(self, mapping: Mapping) -> Candidate:
        kind, base, tcp_type = CandidateType.SERVER_REFLEXIVE, mapping.base, self._hosts[mapping.base].tcp_type
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
        return Candidate(
            type=kind,
            endpoint=endpoint,
            priority=priority,
            foundation=self._foundation((kind, base.address, seen_by, base.transport, is_open)),
            base=base,
            related=None if kind is CandidateType.HOST else base,
            generation=self._credentials.generation,
            ufrag=self._credentials.ufrag,
            tcp_type=tcp_type,
        )

    def _foundation(self, key: _FoundationKey) -> str:
        """Number the kinds of fate: type, base address, server address, transport (RFC 8445 5.1.1.3).

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

    def _count(self, tcp_type: TcpType | None) -> int:
        return sum(host.tcp_type is tcp_type for host in self._hosts.values())

    def _free_rank(self, base: Endpoint, tcp_type: TcpType | None) -> int:
        """Find the first rank of family and kind that nobody has; an address that comes back may take its old one."""
        version = base.address.version
        taken = {
            self._ranks[host.base]
            for host in self._hosts.values()
            if host.tcp_type is tcp_type and host.base.address.version == version
        }
        return next(rank for rank in range(len(taken) + 1) if rank not in taken)


def _over(base: Endpoint, endpoint: Endpoint) -> Endpoint:
    """Give an address that somebody saw of `base` the transport over which it was seen."""
    return endpoint if endpoint.transport is base.transport else replace(endpoint, transport=base.transport)
