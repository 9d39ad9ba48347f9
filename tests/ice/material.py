"""Candidates and pairs for tests, from a few words."""

from __future__ import annotations

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.priority import candidate_priority
from p2ptun.types import Transport

from .network import at


def candidate(
    kind: CandidateType, endpoint: str, base: str = "", priority: int | None = None, foundation: str = ""
) -> Candidate:
    """Make one; the foundation is its own unless told."""
    where = at(base or endpoint)
    worth = candidate_priority(kind, 65535) if priority is None else priority
    return Candidate(kind, Transport.UDP, at(endpoint), worth, foundation or f"{kind.value}{where}", where)


def host(endpoint: str, priority: int | None = None, foundation: str = "") -> Candidate:
    return candidate(CandidateType.HOST, endpoint, "", priority, foundation)


def reflexive(endpoint: str, base: str) -> Candidate:
    return candidate(CandidateType.SERVER_REFLEXIVE, endpoint, base)


def pair(
    local: str, remote: str, priority: int | None = None, foundation: str = "", kind: CandidateType = CandidateType.HOST
) -> CandidatePair:
    """Make a pair; `priority` and `foundation` are the remote candidate's."""
    there = candidate(kind, remote, "", priority, foundation)
    return CandidatePair(host(local), there, there.endpoint)
