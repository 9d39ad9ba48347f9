"""Priorities of candidates and pairs (RFC 8445 5.1.2 and 6.1.2.3, RFC 6544 4.2, RFC 8421 4)."""

from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.types import Transport

TYPE_PREFERENCES = {  # RFC 8445 5.1.2.2
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
TCP_TYPE_PREFERENCES = {  # our choice, RFC 6544 4.2 leaves it open: under any UDP candidate that isn't relayed
    CandidateType.HOST: 90,
    CandidateType.PEER_REFLEXIVE: 80,
    CandidateType.SERVER_REFLEXIVE: 70,
    CandidateType.RELAYED: 0,
}
DIRECTION_PREFERENCES = {  # RFC 6544 4.2, for host and relayed candidates
    TcpType.ACTIVE: 6,
    TcpType.PASSIVE: 4,
    TcpType.SIMULTANEOUS_OPEN: 2,
}
REFLEXIVE_DIRECTION_PREFERENCES = {  # RFC 6544 4.2: through a NAT it is the other way round
    TcpType.SIMULTANEOUS_OPEN: 6,
    TcpType.ACTIVE: 4,
    TcpType.PASSIVE: 2,
}
COMPONENT = 1  # RFC 8839 5.1: they count from 1; a tunnel has one
MAX_LOCAL_PREFERENCE = 65535  # RFC 8445 5.1.2.1
MAX_OTHER_PREFERENCE = 8191  # RFC 6544 4.2
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
    return max(0, MAX_LOCAL_PREFERENCE - _place(rank, version, alternative))


def tcp_local_preference(
    candidate_type: CandidateType, tcp_type: TcpType, rank: int, version: int, alternative: int = 0
) -> int:
    """Give the local preference of a TCP candidate: direction in 3 bits, the rest as with UDP in 13 (RFC 6544 4.2).

    The arguments are those of `local_preference`; ranks count apart for each `tcp_type`.
    """
    is_reflexive = candidate_type in (CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE)
    direction = (REFLEXIVE_DIRECTION_PREFERENCES if is_reflexive else DIRECTION_PREFERENCES)[tcp_type]
    return direction << 13 | max(0, MAX_OTHER_PREFERENCE - _place(rank, version, alternative))


def passive_preference(candidate_type: CandidateType, preference: int) -> int:
    """Give the local preference of the passive TCP candidate of a UDP candidate's address, from the latter's."""
    direction = tcp_local_preference(candidate_type, TcpType.PASSIVE, 0, 6) - MAX_OTHER_PREFERENCE
    return direction + max(0, MAX_OTHER_PREFERENCE - (MAX_LOCAL_PREFERENCE - preference))


def candidate_priority(candidate_type: CandidateType, preference: int, transport: Transport = Transport.UDP) -> int:
    """Combine type preference, local preference and component: 8 + 16 + 8 bits (RFC 8445 5.1.2.1)."""
    preferences = TYPE_PREFERENCES if transport is Transport.UDP else TCP_TYPE_PREFERENCES
    return preferences[candidate_type] << 24 | preference << 8 | 256 - COMPONENT


def pair_priority(controlling: int, controlled: int) -> int:
    """Combine G, the priority on the controlling side, with D, the controlled side's (RFC 8445 6.1.2.3)."""
    low, high = sorted((controlling, controlled))
    return (low << 32) + 2 * high + (controlling > controlled)


def _place(rank: int, version: int, alternative: int) -> int:
    return (2 * rank + (version == 4)) * ALTERNATIVES + alternative
