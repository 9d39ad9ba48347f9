from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.remote import RemoteCandidates
from p2ptun.types import Endpoint, Transport
from tests.sim.network import at

from .material import host


def test_signalled_candidate_is_found_by_transport_and_address() -> None:
    remote = RemoteCandidates(2)
    stored = remote.add(host("192.0.2.1:1"))
    assert stored is not None
    assert remote.find(at("192.0.2.1:1")) is stored
    assert remote.find(Endpoint.of("192.0.2.1", 1, Transport.TCP)) is None
    assert remote.find(at("[fe80::1%eth0]:1")) is None


def test_zone_is_no_part_of_a_remote_candidate() -> None:
    remote = RemoteCandidates(2)
    stored = remote.learn(at("[fe80::1%eth0]:1"), 5)
    assert stored is not None
    assert stored.endpoint == at("[fe80::1]:1")
    assert remote.find(at("[fe80::1%eth1]:1")) is stored


def test_signalled_and_learnt_ones_are_bounded_apart() -> None:
    remote = RemoteCandidates(1)
    assert remote.add(host("192.0.2.1:1")) is not None
    assert remote.add(host("192.0.2.2:1")) is None
    assert remote.learn(at("192.0.2.3:1"), 5) is not None
    assert remote.learn(at("192.0.2.4:1"), 5) is None
    assert len(list(remote)) == 2


def test_full_kind_makes_room_by_its_oldest_useless_one() -> None:
    remote = RemoteCandidates(2)
    told, first = remote.add(host("192.0.2.9:1")), remote.learn(at("192.0.2.1:1"), 5)
    assert told is not None
    assert first is not None
    assert not remote.forget_one([told, first], learnt=True)  # there is room
    second = remote.learn(at("192.0.2.2:1"), 5)
    assert second is not None
    assert not remote.forget_one([told], learnt=True)
    assert remote.forget_one([told, second, first], learnt=True)
    assert list(remote) == [told, second]


def test_learnt_and_untold_foundations_are_like_no_other() -> None:
    remote = RemoteCandidates(9)
    remote.add(host("192.0.2.1:1", foundation="learnt0"))
    remote.learn(at("192.0.2.2:1"), 5)
    remote.learn(at("192.0.2.3:1"), 5)
    remote.add(replace(host("192.0.2.4:1"), foundation=""))
    remote.add(replace(host("192.0.2.5:1"), foundation=""))
    assert len({candidate.foundation for candidate in remote}) == 5


def test_learnt_candidate_is_peer_reflexive_with_the_priority_of_the_check() -> None:
    learnt = RemoteCandidates(9).learn(at("192.0.2.2:1"), 77)
    assert learnt is not None
    assert (learnt.type, learnt.priority, learnt.base) == (CandidateType.PEER_REFLEXIVE, 77, at("192.0.2.2:1"))


def test_pitfall_10_signalling_tells_more_of_a_learnt_candidate() -> None:
    remote = RemoteCandidates(9)
    learnt = remote.learn(at("192.0.2.2:1"), 77)
    assert learnt is not None
    told = remote.upgrade(learnt, host("192.0.2.2:1", priority=99, foundation="f"))
    assert (told.type, told.priority, told.foundation) == (CandidateType.HOST, 99, "f")
    assert list(remote) == [told]
    untold: Candidate = remote.upgrade(learnt, replace(host("192.0.2.2:1"), foundation=""))
    assert untold.foundation == learnt.foundation


@pytest.mark.parametrize(
    ("port", "kind", "is_refused"),
    [
        (25, TcpType.PASSIVE, True),
        (443, TcpType.SIMULTANEOUS_OPEN, True),
        (1024, TcpType.PASSIVE, False),
        (9, TcpType.ACTIVE, False),
    ],
)
def test_services_on_well_known_ports_are_no_candidates(port: int, kind: TcpType, is_refused: bool) -> None:
    """Else whoever is let into a tunnel could have us knock at any door of our network."""
    told = replace(host("192.0.2.1:1"), endpoint=Endpoint.of("192.0.2.1", port, Transport.TCP), tcp_type=kind)
    assert RemoteCandidates(2).is_refused(told) is is_refused
    assert not RemoteCandidates(2).is_refused(host("192.0.2.1:25")), "over UDP nothing is opened"


def test_what_comes_from_another_port_of_a_relay_is_relayed_too() -> None:
    remotes = RemoteCandidates(8)
    relay, direct = at("203.0.113.9:50000"), at("198.51.100.1:7")
    remotes.add(Candidate(CandidateType.RELAYED, relay, 1, "1", relay))
    again = remotes.learn(at("203.0.113.9:50001"), 99)
    third = remotes.learn(at("203.0.113.9:50002"), 99)
    other = remotes.learn(direct, 99)
    assert again is not None
    assert third is not None
    assert other is not None
    assert [(each.type, each.is_relayed) for each in (again, third, other)] == [
        (CandidateType.PEER_REFLEXIVE, True),
        (CandidateType.PEER_REFLEXIVE, True),
        (CandidateType.PEER_REFLEXIVE, False),
    ]
