"""Priorities of candidates and pairs (RFC 8445 5.1.2 and 6.1.2.3, RFC 8421 4)."""

from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType

TYPE_PREFERENCES = {  # RFC 8445 5.1.2.2
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
COMPONENT = 1  # RFC 8445 13: a tunnel has one component
MAX_LOCAL_PREFERENCE = 65535  # RFC 8445 5.1.2.1
ALTERNATIVES = 64  # our choice: candidates of one type that one base may have, one for each server


def local_preference(rank: int, version: int, alternative: int = 0) -> int:
    """Give the local preference of a candidate, unique among the candidates of its type (RFC 8445 5.1.2.1).

    Addresses of both families interleave, so that a broken family delays the other by one pair only
    (RFC 8421 4): first IPv6, first IPv4, second IPv6, and so on.

    Args:
        rank: 0 for the first address of its family, 1 for the second.
        version: 4 or 6, the family.
        alternative: Tells apart what different servers saw of the same base.
    """
    place = 2 * rank + (version == 4)
    return max(0, MAX_LOCAL_PREFERENCE - place * ALTERNATIVES - alternative)


def candidate_priority(candidate_type: CandidateType, preference: int) -> int:
    """Combine type preference, local preference and component: 8 + 16 + 8 bits (RFC 8445 5.1.2.1)."""
    return TYPE_PREFERENCES[candidate_type] << 24 | preference << 8 | 256 - COMPONENT


def pair_priority(controlling: int, controlled: int) -> int:
    """Combine G, the priority on the controlling side, with D, the controlled side's (RFC 8445 6.1.2.3)."""
    low, high = sorted((controlling, controlled))
    return (low << 32) + 2 * high + (controlling > controlled)
