from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.priority import ALTERNATIVES, candidate_priority, local_preference, pair_priority


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
