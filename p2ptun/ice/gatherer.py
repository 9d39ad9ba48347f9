"""Our side of an agent: bases come and go, servers and gateways say how they look from outside, candidates result.

What it finds are events for the agent's owner; the pairs to be made of a base are the caller's business.
"""

from __future__ import annotations

from collections import deque

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import CandidateGathered, CandidateRemoved, Event, GatheringCompleted
from p2ptun.ice.gathering import Gathering, Mapping
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.nat_hint import NatHint, judge
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.priority import ALTERNATIVES
from p2ptun.types import Endpoint, IPAddress, RandomBytes, Transport


class Gatherer:
    """Keeps `candidates` in step with what is known of our addresses; adds to `events` what changes."""

    def __init__(
        self,
        config: AgentConfig,
        credentials: Credentials,
        random_bytes: RandomBytes,
        pacer: Pacer,
        events: deque[Event],
    ) -> None:
        self.candidates = LocalCandidates(credentials, config.max_candidates)
        self.bindings = Gathering(config, random_bytes, pacer)
        self._events = events
        self._policy = config.path_policy
        self._seen: dict[Endpoint, dict[int, Endpoint]] = {}
        self._is_told_complete = False
        self._generation = credentials.generation

    @property
    def is_complete(self) -> bool:
        """Whether no more candidates are to be expected."""
        return self.bindings.is_complete

    @property
    def public_addresses(self) -> frozenset[IPAddress]:
        """Addresses of ours that servers see as they are."""
        return self.candidates.public_addresses

    def nat_hint(self, has_search: bool) -> NatHint:
        """Say what is known of the NAT before us."""
        return judge(self._seen.values(), has_search)

    def add_socket(self, base: Endpoint, tcp_type: TcpType | None, now: float) -> Candidate | None:
        """Make the host candidate of a socket and ask the servers from it; None when that is nothing new or wanted."""
        if self._policy is PathPolicy.RELAY:
            return None
        host = self.candidates.add_host(base, tcp_type)
        if host is not None:
            self.bindings.add_base(base, now)
            self._announce(host)
        return host

    def add_relayed(self, relayed: Endpoint, server: Endpoint, mapped: Endpoint | None) -> Candidate | None:
        """Make the candidate of an address on a relay; None when that is nothing new or wanted.

        Who wants relayed paths only hides what is behind the relay (RFC 8839 5.1).
        """
        if self._policy is PathPolicy.DIRECT:
            return None
        told = None if self._policy is PathPolicy.RELAY else mapped
        candidate = self.candidates.add_relayed(relayed, server, told)
        if candidate is not None:
            self._announce(candidate)
        return candidate

    def keep_spare(self, base: Endpoint, now: float) -> None:
        """Make an ordinary host candidate of a spare socket, if there is room for it."""
        host = self.candidates.keep_spare(base)
        if host is not None:
            self.bindings.add_base(base, now)
            self._announce(host)

    def remove_base(self, base: Endpoint) -> bool:
        """Forget a base with all that was seen of it; False when it isn't known."""
        if self.candidates.at(base) is None:
            return False
        self.candidates.remove(base)
        self._seen.pop(base, None)
        self.bindings.remove_base(base)
        return True

    def add_mapping(self, base: Endpoint, external: Endpoint, gateway: Endpoint) -> None:
        """Know that a gateway forwards `external` to a socket of ours, by PCP or NAT-PMP."""
        if self.candidates.at(base) is not None:
            self._record(Mapping(base, gateway, ALTERNATIVES - 1, external))

    def remove_mapping(self, base: Endpoint, gateway: Endpoint) -> None:
        """Know that a gateway forwards nothing any more."""
        gone = self.candidates.remove_mapping(base, gateway)
        if gone is not None:
            self._events.append(CandidateRemoved(gone))

    def renew(self, now: float) -> None:
        """Ask every server again: a restart gathers anew (RFC 8445 9)."""
        self.bindings.renew(now)

    def follow(self, generation: int, now: float) -> None:
        """In a new generation ask the servers again, and tell its end apart."""
        if self._generation != generation:
            self._generation, self._is_told_complete = generation, False
            self.bindings.renew(now)
            self.collect()

    def collect(self) -> None:
        """Take in what servers said."""
        while (mapping := self.bindings.next_mapping()) is not None:
            if mapping.base.transport is Transport.UDP and mapping.base.address.version == 4:
                self._seen.setdefault(mapping.base, {})[mapping.alternative] = mapping.endpoint
            self._record(mapping)
        if self.bindings.is_complete and not self._is_told_complete:
            self._is_told_complete = True
            self._events.append(GatheringCompleted())

    def _announce(self, candidate: Candidate) -> None:
        self._events.append(CandidateGathered(candidate))
        self._is_told_complete = False

    def _record(self, mapping: Mapping) -> None:
        event = self.candidates.record_mapping(mapping)
        if event is not None:
            self._events.append(event)
