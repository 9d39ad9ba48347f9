from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.priority import (
    ALTERNATIVES,
    MAX_LOCAL_PREFERENCE,
    candidate_priority,
    local_preference,
    pair_priority,
    passive_preference,
    tcp_local_preference,
)
from p2ptun.types import Transport


def test_priority_follows_the_formula_of_rfc_8445() -> None:
    assert candidate_priority(CandidateType.HOST, 65535) == 2130706431  # known from every SDP
    assert candidate_priority(CandidateType.SERVER_REFLEXIVE, 65535) == 1694498815
    assert candidate_priority(CandidateType.RELAYED, 0) == 255


def test_types_order_before_preferences() -> None:
    order = (CandidateType.HOST, CandidateType.PEER_REFLEXIVE, CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED)
    priorities = [candidate_priority(kind, preference) for kind in order for preference in (65535, 0)]
    assert priorities == sorted(priorities, reverse=True)


def test_pair_priority_is_that_of_rfc_8445_section_6_1_2_3() -> None:
    assert pair_priority(7, 3) == 3 * 2**32 + 2 * 7 + 1
    assert pair_priority(3, 7) == 3 * 2**32 + 2 * 7
    assert pair_priority(5, 5) == 5 * 2**32 + 2 * 5


def test_families_interleave_and_no_preference_occurs_twice() -> None:
    ranked = [(rank, version) for rank in range(4) for version in (6, 4)]
    preferences = [local_preference(rank, version) for rank, version in ranked]
    assert preferences == sorted(preferences, reverse=True)
    everything = {local_preference(rank, version, other) for rank, version in ranked for other in range(ALTERNATIVES)}
    assert len(everything) == len(ranked) * ALTERNATIVES


def test_preference_never_turns_negative() -> None:
    assert local_preference(10_000, 4) == 0
    assert tcp_local_preference(CandidateType.HOST, TcpType.PASSIVE, 10_000, 4) == 4 << 13


def test_direction_comes_first_in_the_preference_of_rfc_6544() -> None:
    host = [tcp_local_preference(CandidateType.HOST, kind, 0, 6) for kind in TcpType]
    assert host == [6 * 8192 + 8191, 4 * 8192 + 8191, 2 * 8192 + 8191]
    reflexive = [tcp_local_preference(CandidateType.SERVER_REFLEXIVE, kind, 0, 6) for kind in TcpType]
    assert reflexive == [4 * 8192 + 8191, 2 * 8192 + 8191, 6 * 8192 + 8191]
    learnt = [tcp_local_preference(CandidateType.PEER_REFLEXIVE, kind, 0, 6) for kind in TcpType]
    assert learnt == reflexive
    relayed = [tcp_local_preference(CandidateType.RELAYED, kind, 0, 6) for kind in TcpType]
    assert relayed == host


def test_no_tcp_preference_occurs_twice_among_the_hosts_that_an_agent_has() -> None:
    everything = {
        tcp_local_preference(CandidateType.HOST, kind, rank, version, other)
        for kind in TcpType
        for rank in range(32)
        for version in (4, 6)
        for other in range(ALTERNATIVES)
    }
    assert len(everything) == 3 * 32 * 2 * ALTERNATIVES


def test_tcp_is_below_udp_of_any_type_but_relayed() -> None:
    direct = (CandidateType.HOST, CandidateType.PEER_REFLEXIVE, CandidateType.SERVER_REFLEXIVE)
    over_tcp = [candidate_priority(kind, MAX_LOCAL_PREFERENCE, Transport.TCP) for kind in direct]
    assert over_tcp == sorted(over_tcp, reverse=True)
    assert over_tcp[0] < candidate_priority(CandidateType.SERVER_REFLEXIVE, 0)
    assert over_tcp[-1] > candidate_priority(CandidateType.RELAYED, MAX_LOCAL_PREFERENCE)
    best = tcp_local_preference(CandidateType.RELAYED, TcpType.ACTIVE, 0, 6)
    relayed = candidate_priority(CandidateType.RELAYED, best, Transport.TCP)
    assert relayed < candidate_priority(CandidateType.RELAYED, local_preference(31, 4))


def test_preference_of_a_passive_candidate_follows_from_that_of_its_udp_twin() -> None:
    for kind in CandidateType:
        for rank in range(40):
            udp = local_preference(rank, 4, 1)
            assert passive_preference(kind, udp) == tcp_local_preference(kind, TcpType.PASSIVE, rank, 4, 1)
    assert passive_preference(CandidateType.HOST, 0) == 4 << 13
