"""Finding peers: by name, by what we are called, by where they are, by who is due."""

from __future__ import annotations

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.node.roster import Roster
from p2ptun.types import Endpoint
from tests.node.star import HUB_SOCKET, Star, outer
from tests.sim.network import START, Network, at
from tests.sim.node import NodeHost


def host_at(endpoint: Endpoint) -> Candidate:
    return Candidate(
        foundation="1",
        priority=2130706431,
        endpoint=endpoint,
        type=CandidateType.HOST,
        base=endpoint,
    )


def roster_of(star: Star) -> Roster:
    roster = star.hub.node._roster
    roster.take_touched()
    return roster


def test_an_empty_roster() -> None:
    roster = Roster()
    assert roster.first is None
    assert roster.next_due is None
    assert roster.find(None) is roster.find("a") is None
    assert roster.take_touched() == []
    assert roster.take_due(START) == list(roster) == []
    assert roster.find_by_ufrag("abcd") == roster.find_by_place(at("192.0.2.1:1")) == []
    with pytest.raises(LocalProtocolError, match="no peer is called a"):
        roster.get("a")
    with pytest.raises(LocalProtocolError, match="no peer is called a"):
        roster.remove("a")


def test_each_is_found_by_what_is_its_own() -> None:
    star = Star(3)
    roster = roster_of(star)
    assert roster.first is star.hub.peer("spoke0")
    for number, peer in enumerate(roster):
        assert roster.get(peer.name) is roster.find(peer.name) is peer
        assert roster.find_by_ufrag(peer.agent.local_credentials.ufrag) == [peer]
        assert roster.find_by_place(at(outer(number))) == [peer]
    with pytest.raises(LocalProtocolError, match="spoke0 already"):
        roster.add(star.hub.peer("spoke0"), START)


def test_what_a_touched_peer_is_found_by_is_read_anew() -> None:
    star = Star(2)
    roster = roster_of(star)
    place = at("203.0.113.7:7")
    assert roster.find_by_place(place) == []
    peer = star.hub.peer("spoke1")
    peer.agent.add_remote_candidate(host_at(place), START)
    assert roster.find_by_place(place) == []  # nobody told
    peer.end_of_candidates(START)
    assert roster.find_by_place(place) == [peer]
    assert roster.take_touched() == [(peer, START)]
    assert roster.take_touched() == []
    assert roster.find_by_place(place) == [peer]


def test_a_place_has_no_zone() -> None:
    network = Network(1)
    hub = NodeHost(network, "hub", "[fe80::1%eth0]:1001")
    spoke = NodeHost(network, "spoke0", "[fe80::2%eth0]:1002")
    star = Star(0)
    star.network, star.hub = network, hub
    peer = hub.add_peer("one")
    peer.agent.add_remote_candidate(host_at(at("[fe80::2]:1002")), START)
    peer.agent.set_remote_credentials(spoke.add_peer("hub").agent.local_credentials, START)
    peer.end_of_candidates(START)
    assert roster_of(star).find_by_place(at("[fe80::2%eth0]:1002")) == [peer]


def test_those_whose_path_leads_there_come_first() -> None:
    """Two peers said that they are at one private address; one of them is."""
    star = Star(2).connect()
    roster = roster_of(star)
    place = at(outer(1))
    liar, real = star.hub.peer("spoke0"), star.hub.peer("spoke1")
    assert roster.find_by_place(place) == [real]
    liar.agent.add_remote_candidate(host_at(place), star.network.now)
    liar.end_of_candidates(star.network.now)
    assert roster.find_by_place(place) == [real, liar]


def test_a_path_outlives_its_candidate() -> None:
    star = Star(1).connect()
    peer = star.hub.peer("spoke0")
    assert peer.path is not None
    assert (peer.path.base, peer.path.destination) == (at(HUB_SOCKET), at(outer(0)))
    assert roster_of(star).find_by_place(peer.path.destination) == [peer]


def test_who_is_due_counts_as_touched() -> None:
    star = Star(3)
    roster = roster_of(star)
    due = roster.next_due
    assert due is not None
    at_that_time = [peer for peer in roster if (peer.next_timeout() or 1e9) <= due[0]]
    assert due[1] in at_that_time
    assert roster.take_due(due[0] - 0.001) == []
    assert roster.take_touched() == []
    assert roster.take_due(due[0]) == at_that_time
    assert roster.take_touched() == [(peer, due[0]) for peer in at_that_time]


def test_a_peer_that_was_removed_touches_nobody() -> None:
    star = Star(2)
    roster = roster_of(star)
    gone = roster.get("spoke0")
    gone.end_of_candidates(START)
    roster.remove("spoke0")
    gone.end_of_candidates(START)
    assert roster.take_touched() == []
    assert list(roster) == [star.hub.peer("spoke1")]
    assert roster.next_due is not None
    assert roster.next_due[1] is star.hub.peer("spoke1")
