from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType, TcpType


def test_values_are_the_names_in_signalling() -> None:
    assert [kind.value for kind in CandidateType] == ["host", "srflx", "prflx", "relay"]  # RFC 8839 5.1
    assert [kind.value for kind in TcpType] == ["active", "passive", "so"]  # RFC 6544 4.5
