from __future__ import annotations

import random

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.types import Transport
from tests.sim.network import at

HOST = "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host generation 0"
REFLEXIVE = (
    "candidate:2 1 UDP 1694498815 198.51.100.1 40000 typ srflx raddr 10.0.0.1 rport 5000 generation 3 ufrag abcd"
)
TCP = "candidate:x/+ 1 TCP 9 2001:db8::1 9 typ host tcptype active generation 0"


@pytest.mark.parametrize("text", [HOST, REFLEXIVE, TCP])
def test_sdp_round_trip(text: str) -> None:
    assert Candidate.from_sdp(text).to_sdp() == text
    assert Candidate.from_sdp("a=" + text) == Candidate.from_sdp(text)


def test_reflexive_candidate_is_read_whole() -> None:
    candidate = Candidate.from_sdp(REFLEXIVE)
    assert candidate == Candidate(
        CandidateType.SERVER_REFLEXIVE,
        at("198.51.100.1:40000"),
        1694498815,
        "2",
        at("198.51.100.1:40000"),
        at("10.0.0.1:5000"),
        3,
        "abcd",
    )


def test_tcp_candidate_is_read_whole() -> None:
    candidate = Candidate.from_sdp(TCP)
    assert (candidate.transport, candidate.tcp_type, candidate.foundation) == (Transport.TCP, TcpType.ACTIVE, "x/+")


def test_names_in_a_tcp_candidate_may_be_written_large() -> None:
    candidate = Candidate.from_sdp(TCP.replace("active", "SO").replace("TCP", "tcp"))
    assert candidate.tcp_type is TcpType.SIMULTANEOUS_OPEN
    assert candidate.to_sdp() == TCP.replace("active", "so")


def test_unknown_related_address_is_written_as_rfc_8839_asks_and_read_as_none() -> None:
    candidate = Candidate.from_sdp("1 1 udp 5 192.0.2.1 5000 typ prflx")
    assert "raddr 0.0.0.0 rport 9" in candidate.to_sdp()
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate


def test_zone_stays_at_home() -> None:
    base = at("[fe80::1%eth0]:5000")
    candidate = Candidate(CandidateType.HOST, base, 5, "1", base)
    assert " fe80::1 5000 " in candidate.to_sdp()


def test_mapped_address_is_normalised() -> None:
    candidate = Candidate.from_sdp("1 1 udp 5 ::ffff:192.0.2.1 5000 typ host")
    assert candidate.endpoint == at("192.0.2.1:5000")


def test_unknown_extensions_are_skipped() -> None:
    assert Candidate.from_sdp(HOST + " network-cost 999").to_sdp() == HOST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:1",
        HOST + " odd",
        HOST.replace("typ", "type"),
        HOST.replace("candidate:1 ", "candidate:!! "),
        HOST.replace("candidate:1 ", f"candidate:{'a' * 33} "),
        HOST.replace(" 1 UDP", " 2 UDP"),
        HOST.replace("UDP", "SCTP"),
        HOST.replace("2130706431", "0"),
        HOST.replace("2130706431", "2147483648"),
        HOST.replace("2130706431", "-1"),
        HOST.replace("2130706431", "\u0661"),
        HOST.replace("192.0.2.1", "host.local"),
        HOST.replace("192.0.2.1", "fe80::1%eth0"),
        HOST.replace("5000", "65536"),
        HOST.replace("typ host", "typ other"),
        REFLEXIVE.replace("10.0.0.1", "10.0.0.256"),
        REFLEXIVE.replace("abcd", "a!cd"),
        REFLEXIVE.replace("generation 3", "generation x"),
        TCP.replace("active", "actively"),
        TCP.replace(" tcptype active", ""),
        HOST + " tcptype passive",
        "x" * 513,
    ],
)
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(MalformedPacket):
        Candidate.from_sdp(text)


@pytest.mark.parametrize("text", [HOST, REFLEXIVE, TCP])
def test_truncation_and_noise_raise_malformed_only(text: str) -> None:
    for end in range(len(text)):
        _read(text[:end])
    source = random.Random(8839)
    for _ in range(2000):
        letters = list(text)
        for _ in range(source.randint(1, 4)):
            letters[source.randrange(len(letters))] = chr(
                source.choice((source.randrange(128), source.randrange(0x3000)))
            )
        _read("".join(letters))


def _read(text: str) -> None:
    try:
        candidate = Candidate.from_sdp(text)
    except MalformedPacket:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate, text
