from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import MAX_SDP_LENGTH, Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.named import NamedCandidate, disguise, parse_candidate, place_of
from p2ptun.types import Endpoint, Transport
from tests.sim.network import at

NAME = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"
LINE = f"a=candidate:1 1 udp 2122262783 {NAME} 54596 typ host"  # the draft, 5.1
TCP = f"candidate:2 1 TCP 9 {NAME} 5000 typ host tcptype passive generation 3 ufrag abcd network-cost 10"


def test_the_drafts_example_is_read_whole() -> None:
    assert parse_candidate(LINE) == NamedCandidate(NAME, 54596, CandidateType.HOST, Transport.UDP, 2122262783, "1")


def test_extensions_are_read_as_those_of_other_candidates() -> None:
    assert parse_candidate(TCP) == NamedCandidate(
        NAME, 5000, CandidateType.HOST, Transport.TCP, 9, "2", 3, "abcd", TcpType.PASSIVE
    )


def test_a_line_with_an_address_gives_a_candidate() -> None:
    line = "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host generation 0"
    assert parse_candidate(line) == Candidate.from_sdp(line)


def test_names_are_read_in_lower_case() -> None:
    assert parse_candidate(LINE.replace(NAME, NAME.upper())) == parse_candidate(LINE)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_a_resolved_name_is_the_candidate_that_the_address_would_have_been(address: str) -> None:
    named = parse_candidate(TCP)
    assert isinstance(named, NamedCandidate)
    candidate = named.resolve(ip_address(address))
    assert candidate == Candidate.from_sdp(TCP.replace(NAME, address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:1 1 udp",
        LINE.replace(NAME, "local"),
        LINE.replace(NAME, ".local"),
        LINE.replace(NAME, "printer.example.local"),
        LINE.replace(NAME, "example.org"),
        LINE.replace(NAME, f"{'a' * 64}.local"),
        LINE.replace(NAME, "a_b.local"),
        LINE.replace(NAME, NAME + "."),
        LINE.replace("54596", "65536"),
        LINE.replace("typ host", "typ other"),
        LINE + " odd",
        LINE + " x" * MAX_SDP_LENGTH,
    ],
)
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_candidate(text)


@pytest.mark.parametrize("text", [LINE, TCP])
def test_truncation_and_noise_raise_malformed_only(text: str) -> None:
    source = random.Random(8839)
    lines = [text[:end] for end in range(len(text))]
    for _ in range(2000):
        letters = list(text)
        letters[source.randrange(len(letters))] = chr(source.choice((source.randrange(128), source.randrange(0x3000))))
        lines.append("".join(letters))
    for line in lines:
        try:
            parse_candidate(line)
        except MalformedPacket:
            continue


HOST = Candidate(CandidateType.HOST, at("192.168.1.7:5000"), 5, "1", at("192.168.1.7:5000"))
REFLEXIVE = Candidate(CandidateType.SERVER_REFLEXIVE, at("198.51.100.1:40000"), 4, "2", HOST.base, HOST.base)


def test_a_disguised_host_shows_its_name_only() -> None:
    hidden = disguise(HOST, NAME)
    assert hidden == replace(HOST, name=NAME)
    assert hidden.to_sdp() == f"candidate:1 1 UDP 5 {NAME} 5000 typ host generation 0"
    told = parse_candidate(hidden.to_sdp())
    assert isinstance(told, NamedCandidate)
    assert told.resolve(HOST.endpoint.address) == HOST


@pytest.mark.parametrize("kind", [CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED])
def test_a_disguised_reflexive_candidate_hides_what_is_behind_it(kind: CandidateType) -> None:
    hidden = disguise(replace(REFLEXIVE, type=kind), NAME)
    assert hidden.to_sdp() == (
        f"candidate:2 1 UDP 4 198.51.100.1 40000 typ {kind.value} raddr 0.0.0.0 rport 9 generation 0"
    )
    assert hidden.base == Endpoint.of("192.168.1.7", 5000)  # it still leaves from its socket


def test_a_candidate_keeps_its_place_whatever_else_is_told_of_it() -> None:
    told = parse_candidate(disguise(HOST, NAME).to_sdp())
    assert isinstance(told, NamedCandidate)
    assert place_of(told) == place_of(replace(told, priority=9, generation=3))
    assert place_of(told) != place_of(replace(told, port=5001))
    assert place_of(HOST) == place_of(replace(HOST, priority=9, type=CandidateType.PEER_REFLEXIVE))
    assert place_of(HOST) != place_of(told)
