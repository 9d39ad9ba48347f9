"""Paths in words."""

from __future__ import annotations

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.node.path import Path, PathKind
from tests.sim.network import at


def path(local: CandidateType, remote: CandidateType, destination: str = "198.51.100.2:2") -> Path:
    here, there = at("192.0.2.1:1"), at(destination)
    ours = Candidate(local, here, 1, "1", here)
    theirs = Candidate(remote, there, 1, "2", there)
    return Path(here, there, ours, theirs, 0.04)


@pytest.mark.parametrize("other", list(CandidateType))
def test_a_relay_at_either_end_makes_a_relayed_path(other: CandidateType) -> None:
    expected = PathKind.RELAY if other is CandidateType.RELAYED else PathKind.DIRECT
    assert path(CandidateType.HOST, other).kind is expected
    assert path(other, CandidateType.HOST).kind is expected
    assert path(CandidateType.RELAYED, other).kind is PathKind.RELAY


def test_a_path_reads_as_status_shows_it() -> None:
    assert str(path(CandidateType.SERVER_REFLEXIVE, CandidateType.HOST)) == "direct 198.51.100.2:2 (srflx/host)"
    relayed = path(CandidateType.HOST, CandidateType.RELAYED, "[2001:db8::1]:3")
    assert str(relayed) == "relay [2001:db8::1]:3 (host/relay)"


def test_a_way_is_where_datagrams_leave_and_where_they_go() -> None:
    plain, learnt = path(CandidateType.HOST, CandidateType.HOST), path(CandidateType.HOST, CandidateType.PEER_REFLEXIVE)
    assert plain.is_same_way(learnt)
    assert not plain.is_same_way(path(CandidateType.HOST, CandidateType.HOST, "198.51.100.2:3"))
