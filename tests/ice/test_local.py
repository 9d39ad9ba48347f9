from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import CandidateChanged, CandidateGathered
from p2ptun.ice.gathering import Mapping
from p2ptun.ice.local import LocalCandidates
from tests.sim.network import at

FIRST, SECOND, SIXTH = at("10.0.0.1:1"), at("10.0.0.2:1"), at("[2001:db8::1]:1")
SERVER, OTHER_SERVER = at("203.0.113.1:3478"), at("203.0.113.2:3478")
SEEN, SEEN_ANEW = at("198.51.100.1:7"), at("198.51.100.1:8")


def make(*bases: str, limit: int = 32) -> LocalCandidates:
    local = LocalCandidates(Credentials("abcd", "p" * 22, 3), limit)
    for base in bases:
        local.add_host(at(base))
    return local


def test_host_candidate_is_its_own_base_and_carries_the_generation() -> None:
    local = make()
    candidate = local.add_host(FIRST)
    assert candidate is not None
    assert (candidate.endpoint, candidate.base, candidate.related) == (FIRST, FIRST, None)
    assert (candidate.type, candidate.generation, candidate.ufrag) == (CandidateType.HOST, 3, "abcd")
    assert local.host(FIRST) is candidate
    assert local.hosts == (candidate,)
    assert local.add_host(FIRST) is None


def test_number_of_hosts_is_bounded() -> None:
    local = make("10.0.0.1:1", limit=1)
    assert local.add_host(SECOND) is None


def test_pitfall_12_preferences_are_unique_and_families_interleave() -> None:
    local = make("10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1")
    ranked = sorted(local, key=lambda candidate: -candidate.priority)
    assert [candidate.endpoint.address.version for candidate in ranked] == [6, 4, 6, 4]
    assert len({candidate.priority for candidate in local}) == 4


def test_freed_rank_is_given_again() -> None:
    local = make("10.0.0.1:1", "10.0.0.2:1")
    before = local.check_priority(FIRST)
    local.remove_host(FIRST)
    local.add_host(at("10.0.0.3:1"))
    assert local.check_priority(at("10.0.0.3:1")) == before


def test_pitfall_13_reflexive_foundation_follows_base_and_server() -> None:
    local = make("10.0.0.1:1", "10.0.0.2:1")
    local.add_host(at("10.0.0.1:2"))
    for number, (base, server) in enumerate([(FIRST, SERVER), (FIRST, OTHER_SERVER), (SECOND, SERVER)]):
        local.record_mapping(Mapping(base, server, number, at(f"198.51.100.1:{number + 1}")))
    foundations = [candidate.foundation for candidate in local]
    assert foundations[0] == foundations[2]  # two ports of one address
    assert len(set(foundations)) == 5


def test_what_several_servers_see_of_one_base_has_several_priorities() -> None:
    local = make("10.0.0.1:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    local.record_mapping(Mapping(FIRST, OTHER_SERVER, 1, SEEN_ANEW))
    assert len({candidate.priority for candidate in local}) == 3


def test_same_address_from_two_servers_and_an_address_without_nat_are_redundant() -> None:
    local = make("10.0.0.1:1")
    event = local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    assert isinstance(event, CandidateGathered)
    assert (event.candidate.endpoint, event.candidate.base, event.candidate.related) == (SEEN, FIRST, FIRST)
    assert local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN)) is None
    assert local.record_mapping(Mapping(FIRST, OTHER_SERVER, 1, SEEN)) is None
    assert local.record_mapping(Mapping(FIRST, OTHER_SERVER, 1, FIRST)) is None
    assert len(list(local)) == 2


def test_changed_mapping_replaces_its_candidate() -> None:
    local = make("10.0.0.1:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    event = local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN_ANEW))
    assert isinstance(event, CandidateChanged)
    assert (event.old.endpoint, event.new.endpoint) == (SEEN, SEEN_ANEW)
    assert [candidate.endpoint for candidate in local] == [FIRST, SEEN_ANEW]


def test_mapping_that_turns_into_a_known_one_points_there() -> None:
    local = make("10.0.0.1:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    twin = local.record_mapping(Mapping(FIRST, OTHER_SERVER, 1, SEEN_ANEW))
    event = local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN_ANEW))
    assert isinstance(twin, CandidateGathered)
    assert isinstance(event, CandidateChanged)
    assert event.new is twin.candidate
    assert list(local) == [local.host(FIRST), twin.candidate]


def test_pitfall_8_unknown_address_seen_by_the_peer_is_peer_reflexive() -> None:
    local = make("10.0.0.1:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    assert local.seen_as(FIRST, FIRST).type is CandidateType.HOST
    assert local.seen_as(FIRST, SEEN).type is CandidateType.SERVER_REFLEXIVE
    learnt = local.seen_as(FIRST, SEEN_ANEW)
    assert (learnt.type, learnt.base, learnt.priority) == (
        CandidateType.PEER_REFLEXIVE,
        FIRST,
        local.check_priority(FIRST),
    )
    assert local.seen_as(FIRST, SEEN_ANEW) == learnt


def test_pitfall_22_zones_do_not_matter_when_the_peer_tells_what_it_saw() -> None:
    local = make("[fe80::1%eth0]:1")
    assert local.seen_as(at("[fe80::1%eth0]:1"), at("[fe80::1]:1")).type is CandidateType.HOST


def test_removed_socket_takes_its_candidates_along() -> None:
    local = make("10.0.0.1:1", "10.0.0.2:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    local.remove_host(FIRST)
    assert list(local) == [local.host(SECOND)]
    assert local.host(FIRST) is None
    local.remove_host(FIRST)
