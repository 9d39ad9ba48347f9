from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import CandidateChanged, CandidateGathered
from p2ptun.ice.gathering import Mapping
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.tcp import active_base
from p2ptun.types import Endpoint, Transport
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
    assert local.at(FIRST) is candidate
    assert local.bases == (candidate,)
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
    local.remove(FIRST)
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


def test_an_address_that_a_server_sees_as_it_is_is_public() -> None:
    local = make("10.0.0.1:1", "10.0.0.2:1")
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    assert local.public_addresses == frozenset()
    local.record_mapping(Mapping(SECOND, SERVER, 0, SECOND))
    assert local.public_addresses == {SECOND.address}
    local.remove(SECOND)
    assert local.public_addresses == frozenset()


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
    assert list(local) == [local.at(FIRST), twin.candidate]


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
    local.remove(FIRST)
    assert list(local) == [local.at(SECOND)]
    assert local.at(FIRST) is None
    local.remove(FIRST)


def tcp(text: str) -> Endpoint:
    return replace(at(text), transport=Transport.TCP)


PASSIVE, ACTIVE = tcp("10.0.0.1:1"), active_base(FIRST.address)
OPEN = tcp("10.0.0.1:2")


def make_over_tcp() -> LocalCandidates:
    local = make("10.0.0.1:1")
    local.add_host(PASSIVE)
    local.add_host(ACTIVE)
    local.add_host(OPEN, TcpType.SIMULTANEOUS_OPEN)
    return local


def test_tcp_bases_have_their_types_and_differ_from_a_udp_base_of_the_same_port() -> None:
    kinds = [(host.endpoint, host.tcp_type) for host in make_over_tcp().bases]
    assert kinds == [
        (FIRST, None),
        (PASSIVE, TcpType.PASSIVE),
        (ACTIVE, TcpType.ACTIVE),
        (OPEN, TcpType.SIMULTANEOUS_OPEN),
    ]


def test_every_udp_candidate_is_above_every_tcp_candidate() -> None:
    local = make_over_tcp()
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    least = min(each.priority for each in local if each.transport is Transport.UDP)
    assert least > max(each.priority for each in local if each.transport is Transport.TCP)


def test_candidates_of_all_kinds_have_unique_priorities_in_the_order_of_rfc_6544() -> None:
    local = make_over_tcp()
    for address in ("10.0.0.2", "2001:db8::1", "2001:db8::2"):
        local.add_host(Endpoint.of(address, 1))
        local.add_host(Endpoint.of(address, 1, Transport.TCP))
        local.add_host(active_base(Endpoint.of(address, 1).address))
    assert len({host.priority for host in local.bases}) == len(local.bases) == 13
    ranked = sorted(local.bases, key=lambda host: -host.priority)
    order = [None] * 4 + [TcpType.ACTIVE] * 4 + [TcpType.PASSIVE] * 4 + [TcpType.SIMULTANEOUS_OPEN]
    assert [host.tcp_type for host in ranked] == order
    assert [host.endpoint.address.version for host in ranked] == [6, 4, 6, 4] * 3 + [4]


def test_tcp_bases_take_no_place_from_udp() -> None:
    local = make("10.0.0.1:1", limit=1)
    assert local.add_host(PASSIVE) is not None
    assert local.add_host(ACTIVE) is not None
    assert local.add_host(tcp("10.0.0.2:1")) is None


def test_active_and_passive_share_a_foundation_that_udp_and_simultaneous_open_do_not() -> None:
    udp, passive, active, both = make_over_tcp().bases
    assert passive.foundation == active.foundation
    assert len({udp.foundation, passive.foundation, both.foundation}) == 3


@pytest.mark.parametrize("base", [PASSIVE, ACTIVE, OPEN])
def test_what_the_peer_saw_takes_over_the_transport_of_the_base(base: Endpoint) -> None:
    local = make_over_tcp()
    host = local.at(base)
    assert host is not None
    assert local.seen_as(base, at(str(base))) is host
    learnt = local.seen_as(base, SEEN)
    assert learnt.endpoint == replace(SEEN, transport=Transport.TCP)
    assert (learnt.type, learnt.tcp_type) == (CandidateType.PEER_REFLEXIVE, host.tcp_type)
    assert learnt.priority == local.check_priority(base) < host.priority


def test_what_a_server_saw_over_tcp_is_a_tcp_candidate() -> None:
    local = make_over_tcp()
    event = local.record_mapping(Mapping(OPEN, SERVER, 0, SEEN))
    assert isinstance(event, CandidateGathered)
    assert event.candidate.endpoint == replace(SEEN, transport=Transport.TCP)
    assert event.candidate.tcp_type is TcpType.SIMULTANEOUS_OPEN
    assert local.record_mapping(Mapping(OPEN, OTHER_SERVER, 1, SEEN)) is None


def test_a_restart_stamps_every_candidate_anew_and_changes_nothing_else() -> None:
    local = make_over_tcp()
    local.record_mapping(Mapping(FIRST, SERVER, 0, SEEN))
    before = list(local)
    local.restamp(Credentials("wxyz", "q" * 22, 4))
    assert list(local) == [replace(each, generation=4, ufrag="wxyz") for each in before]
    later = local.add_host(SECOND)
    assert later is not None
    assert (later.generation, later.ufrag) == (4, "wxyz")
