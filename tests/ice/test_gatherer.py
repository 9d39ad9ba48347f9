from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import CandidateGathered, CandidateRemoved, Event, GatheringCompleted
from p2ptun.ice.gatherer import Gatherer
from p2ptun.ice.nat_hint import NO_HINT
from p2ptun.ice.pacer import Pacer
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, encode_message, success_response
from p2ptun.types import Transport
from tests.sim.network import START, at

from .material import random_bytes_from

BASE, RELAYED, OTHER_RELAYED = at("10.0.0.1:1"), at("203.0.113.9:50000"), at("203.0.113.10:50000")
SERVER, OTHER_SERVER, MAPPED = at("203.0.113.2:3478"), at("203.0.113.3:3478"), at("198.51.100.1:7")
GATEWAY, EXTERNAL = at("10.0.0.254:5351"), at("198.51.100.1:1000")


def make(policy: PathPolicy = PathPolicy.ANY, limit: int = 32) -> tuple[Gatherer, deque[Event]]:
    events: deque[Event] = deque()
    config = AgentConfig(path_policy=policy, max_candidates=limit)
    draw = random_bytes_from(1)
    return Gatherer(config, Credentials("abcd", "p" * 22, 3), draw, Pacer(), events), events


def test_relayed_candidate_is_its_own_base_and_names_what_is_behind() -> None:
    gatherer, events = make()
    candidate = gatherer.add_relayed(RELAYED, SERVER, MAPPED)
    assert candidate is not None
    assert (candidate.type, candidate.endpoint, candidate.base) == (CandidateType.RELAYED, RELAYED, RELAYED)
    assert (candidate.related, candidate.generation, candidate.ufrag) == (MAPPED, 3, "abcd")
    assert candidate.to_sdp().endswith("typ relay raddr 198.51.100.1 rport 7 generation 3 ufrag abcd")
    assert list(events) == [CandidateGathered(candidate)]
    assert gatherer.add_relayed(RELAYED, SERVER, MAPPED) is None
    assert gatherer.candidates.bases == (candidate,)


def test_relayed_candidates_are_bounded_and_leave_room_for_hosts() -> None:
    gatherer, _ = make(limit=1)
    assert gatherer.add_relayed(RELAYED, SERVER, None) is not None
    assert gatherer.add_relayed(OTHER_RELAYED, SERVER, None) is None
    assert gatherer.add_socket(BASE, None, START) is not None


def test_pitfall_13_relayed_foundations_follow_relayed_address_and_server() -> None:
    gatherer, _ = make()
    relays = [
        gatherer.add_relayed(RELAYED, SERVER, None),
        gatherer.add_relayed(at("203.0.113.9:50001"), SERVER, None),
        gatherer.add_relayed(at("203.0.113.9:50002"), OTHER_SERVER, None),
        gatherer.add_relayed(OTHER_RELAYED, SERVER, None),
    ]
    first, same, other_server, other_address = [each.foundation for each in relays if each is not None]
    assert first == same
    assert len({first, other_server, other_address}) == 3


def test_relays_of_one_server_over_udp_and_tcp_have_foundations_of_their_own() -> None:
    gatherer, _ = make()
    ports = (50000, 50001)
    servers = (SERVER, replace(SERVER, transport=Transport.TCP))
    made = [
        gatherer.add_relayed(replace(RELAYED, port=port), server, None)
        for port, server in zip(ports, servers, strict=True)
    ]
    assert len({each.foundation for each in made if each is not None}) == 2


def test_who_wants_relayed_paths_only_tells_nothing_of_what_is_behind_the_relay() -> None:
    gatherer, _ = make(PathPolicy.RELAY)
    candidate = gatherer.add_relayed(RELAYED, SERVER, MAPPED)
    assert candidate is not None
    assert " raddr 0.0.0.0 rport 9 " in candidate.to_sdp()


def test_pitfall_12_priorities_of_relays_and_of_checks_from_them_are_unique_and_below_all_hosts() -> None:
    gatherer, _ = make()
    hosts = [gatherer.add_socket(at(text), None, START) for text in ("10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1")]
    relays = [gatherer.add_relayed(each, SERVER, None) for each in (RELAYED, OTHER_RELAYED, at("[2001:db8::9]:1"))]
    made = [each for each in (*hosts, *relays) if each is not None]
    assert len({each.priority for each in made}) == 6
    checks = [gatherer.candidates.check_priority(each.base) for each in made]
    assert len(set(checks)) == 6
    assert min(checks[:3]) > max(checks[3:])


def test_freed_rank_of_a_relay_is_given_again() -> None:
    gatherer, _ = make()
    first = gatherer.add_relayed(RELAYED, SERVER, None)
    assert gatherer.remove_base(RELAYED)
    again = gatherer.add_relayed(OTHER_RELAYED, SERVER, None)
    assert first is not None
    assert again is not None
    assert first.priority == again.priority


def test_relay_only_takes_no_socket_and_direct_only_no_relay() -> None:
    relayed, events = make(PathPolicy.RELAY)
    assert relayed.add_socket(BASE, None, START) is None
    direct, more_events = make(PathPolicy.DIRECT)
    assert direct.add_relayed(RELAYED, SERVER, None) is None
    assert not events
    assert not more_events
    assert direct.add_socket(BASE, None, START) is not None
    assert relayed.add_relayed(RELAYED, SERVER, None) is not None


def test_what_a_gateway_forwards_is_a_server_reflexive_candidate_until_it_ends() -> None:
    gatherer, events = make()
    gatherer.add_socket(BASE, None, START)
    events.clear()
    gatherer.add_mapping(BASE, EXTERNAL, GATEWAY)
    told = events.popleft()
    assert isinstance(told, CandidateGathered)
    candidate = told.candidate
    assert (candidate.type, candidate.endpoint) == (CandidateType.SERVER_REFLEXIVE, EXTERNAL)
    assert candidate.related == candidate.base == BASE
    gatherer.add_mapping(BASE, EXTERNAL, GATEWAY)
    assert not events
    gatherer.remove_mapping(BASE, GATEWAY)
    assert list(events) == [CandidateRemoved(candidate)]
    gatherer.remove_mapping(BASE, GATEWAY)
    assert len(events) == 1


def test_gateway_of_an_unknown_socket_changes_nothing() -> None:
    gatherer, events = make()
    gatherer.add_mapping(BASE, EXTERNAL, GATEWAY)
    assert not events
    assert list(gatherer.candidates) == []


def test_base_that_is_unknown_cannot_be_removed() -> None:
    gatherer, _ = make()
    assert not gatherer.remove_base(BASE)


@pytest.mark.parametrize("has_relay", [False, True])
def test_end_is_told_once_for_each_generation_and_again_after_something_new(has_relay: bool) -> None:
    gatherer, events = make()
    gatherer.bindings.end_of_servers()
    gatherer.collect()
    gatherer.collect()
    assert list(events) == [GatheringCompleted()]
    gatherer.follow(3, START)
    assert len(events) == 1
    gatherer.follow(4, START)
    assert list(events) == [GatheringCompleted()] * 2
    events.clear()
    if has_relay:
        gatherer.add_relayed(RELAYED, SERVER, None)
        events.clear()
    gatherer.collect()
    assert list(events) == [GatheringCompleted()] * has_relay


@pytest.mark.parametrize("room", [0, 1])
def test_spare_socket_becomes_a_host_where_there_is_room(room: int) -> None:
    gatherer, events = make(limit=1 + room)
    gatherer.add_socket(BASE, None, START)
    spare = at("10.0.0.1:2")
    assert gatherer.candidates.add_spare(spare, 1)
    assert not gatherer.candidates.add_spare(at("10.0.0.1:3"), 1)
    events.clear()
    gatherer.keep_spare(spare, START)
    assert [type(event) for event in events] == [CandidateGathered] * room
    assert gatherer.candidates.spares == (() if room else (spare,))
    assert gatherer.candidates.at(spare) is not None


def test_what_servers_see_of_other_sockets_than_those_of_ipv4_tells_nothing_of_a_nat() -> None:
    gatherer, _ = make()
    base = at("[2001:db8::1]:1")
    gatherer.add_socket(base, None, START)
    for number, server in enumerate((at("[2001:db8::2]:3478"), at("[2001:db8::3]:3478"))):
        gatherer.bindings.add_server(server, START)
        gatherer.bindings.handle_timeout(START + 1)
        while (asked := gatherer.bindings.next_transmit()) is not None:
            request = decode_message(asked.payload)
            seen = at(f"[2001:db8::1]:{7 + number}")
            answer = decode_message(encode_message(success_response(request, (XOR_MAPPED_ADDRESS, seen))))
            gatherer.bindings.receive_response(answer, asked.destination, base, START + 1)
    gatherer.collect()
    assert len(list(gatherer.candidates)) == 3
    assert gatherer.nat_hint(has_search=False) == NO_HINT
