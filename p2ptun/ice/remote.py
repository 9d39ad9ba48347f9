"""The peer's candidates: signalled ones, and those learnt from its checks (RFC 8445 5.3 and 7.3.1.3)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.scope import is_refused, signalled
from p2ptun.types import Endpoint, IPNetwork

FIRST_PORT = 1024
"""Below it are the services of RFC 6335 6: whoever is let into a tunnel can't make us knock at mail servers' doors."""

_LISTENING = (TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN)


class RemoteCandidates:
    """The remote candidates of one generation; signalled and peer-reflexive ones are bounded apart."""

    def __init__(self, max_candidates: int, refused_networks: tuple[IPNetwork, ...] = ()) -> None:
        self.refused_networks = refused_networks
        self._max_candidates = max_candidates
        self._candidates: dict[Endpoint, Candidate] = {}
        self._learnt = 0

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._candidates.values()))

    def is_refused(self, candidate: Candidate) -> bool:
        """Tell whether nothing may ever be sent to it. A listener on a well-known port is a service, no tunnel."""
        is_service = candidate.tcp_type in _LISTENING and candidate.endpoint.port < FIRST_PORT
        return is_service or is_refused(candidate.endpoint, self.refused_networks)

    def find(self, endpoint: Endpoint) -> Candidate | None:
        """Give the candidate with this transport address."""
        return self._candidates.get(signalled(endpoint))

    def add(self, candidate: Candidate) -> Candidate | None:
        """Take in a new signalled candidate, normalised; None when there are too many."""
        if self._count(learnt=False) >= self._max_candidates:
            return None
        endpoint = signalled(candidate.endpoint)
        foundation = candidate.foundation or self._own_foundation()
        return self._store(replace(candidate, endpoint=endpoint, base=endpoint, foundation=foundation))

    def learn(self, endpoint: Endpoint, priority: int, tcp_type: TcpType | None = None) -> Candidate | None:
        """Make the peer-reflexive candidate that an authenticated check came from; None when there are too many."""
        if self._count(learnt=True) >= self._max_candidates:
            return None
        seen = signalled(endpoint)
        return self._store(
            Candidate(
                type=CandidateType.PEER_REFLEXIVE,
                endpoint=seen,
                priority=priority,
                foundation=self._own_foundation(),
                base=seen,
                tcp_type=tcp_type,
                is_at_relay=self._has_relay_at(seen),
            )
        )

    def upgrade(self, learnt: Candidate, told: Candidate) -> Candidate:
        """Give a peer-reflexive candidate what signalling tells of it (RFC 8838 11, step 4); give the new one."""
        foundation = told.foundation or learnt.foundation
        return self._store(replace(told, endpoint=learnt.endpoint, base=learnt.base, foundation=foundation))

    def remove(self, endpoint: Endpoint) -> Candidate | None:
        """Forget the candidate with this transport address; give it."""
        return self._candidates.pop(signalled(endpoint), None)

    def forget_one(self, useless: Container[Candidate], *, learnt: bool) -> bool:
        """Make room when one kind is full: drop the oldest of it that is `useless`. False when nothing was done."""
        if self._count(learnt=learnt) < self._max_candidates:
            return False
        for key, candidate in self._candidates.items():
            if (candidate.type is CandidateType.PEER_REFLEXIVE) is learnt and candidate in useless:
                del self._candidates[key]
                return True
        return False

    def _store(self, candidate: Candidate) -> Candidate:
        self._candidates[candidate.endpoint] = candidate
        return candidate

    def _has_relay_at(self, seen: Endpoint) -> bool:
        """Tell whether a relayed candidate has the same address: what comes from another port there is relayed, too."""
        return any(each.is_relayed and each.endpoint.address == seen.address for each in self)

    def _own_foundation(self) -> str:
        """Give a foundation that no other remote candidate has (RFC 8445 7.3.1.3)."""
        taken = {candidate.foundation for candidate in self}
        while (foundation := f"learnt{self._learnt}") in taken:
            self._learnt += 1
        self._learnt += 1
        return foundation

    def _count(self, *, learnt: bool) -> int:
        return sum((candidate.type is CandidateType.PEER_REFLEXIVE) is learnt for candidate in self)
