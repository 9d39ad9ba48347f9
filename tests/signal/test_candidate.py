from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.named import NamedCandidate, disguise
from p2ptun.ice.priority import candidate_priority
from p2ptun.signal.candidate import decode_candidate, encode_candidate, encode_candidates, take_candidates
from p2ptun.signal.cursor import Cursor
from p2ptun.types import Endpoint, Transport
from tests.signal.sample import candidates, make_candidate, make_twin

NAME = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"


def read_address(data: bytes, generation: int = 0, ufrag: str = "") -> Candidate:
    """Read a candidate that tells its address."""
    candidate = decode_candidate(data, generation, ufrag)
    assert isinstance(candidate, Candidate)
    return candidate


def test_the_layout_for_ipv4() -> None:
    candidate = make_candidate("203.0.113.7", 41641, CandidateType.SERVER_REFLEXIVE, preference=0x1234)
    assert encode_candidate(candidate) == bytes.fromhex("01 cb007107 a2a9 1234")


def test_the_layout_for_ipv6() -> None:
    candidate = make_candidate("2001:db8::1", 9, CandidateType.RELAYED, preference=65535, tcp_type=TcpType.PASSIVE)
    assert encode_candidate(candidate) == bytes.fromhex("1b 20010db8000000000000000000000001 0009 ffff")


@given(candidates)
def test_round_trip(candidate: Candidate) -> None:
    data = encode_candidate(candidate)
    assert len(data) == (9 if candidate.endpoint.address.version == 4 else 21)
    decoded = read_address(data, generation=3, ufrag="abcdefgh")
    assert (decoded.generation, decoded.ufrag, decoded.related) == (3, "abcdefgh", None)
    assert replace(decoded, foundation="1", generation=0, ufrag="") == candidate
    assert encode_candidate(decoded) == data


@given(candidates)
def test_truncated_and_longer_ones_are_refused(candidate: Candidate) -> None:
    data = encode_candidate(candidate)
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_candidate(data[:size])
    with pytest.raises(MalformedPacket, match="1 bytes behind"):
        decode_candidate(data + b"\0")


@given(st.binary(max_size=30))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        candidate = decode_candidate(data)
    except MalformedPacket:
        return
    assert 0 < candidate.priority < 2**31


@pytest.mark.parametrize("head", [0x24, 0x28, 0x50, 0x80, 0xFF])
def test_kinds_that_nobody_defined_are_refused(head: int) -> None:
    with pytest.raises(MalformedPacket, match="unknown kind"):
        decode_candidate(bytes([head]) + bytes(20))


def test_a_zone_stays_at_home() -> None:
    decoded = read_address(encode_candidate(make_candidate("fe80::1%eth0")))
    assert decoded.endpoint == Endpoint(IPv6Address("fe80::1"), 41641)


def test_an_ipv4_address_in_disguise_is_unmasked() -> None:
    data = b"\x10" + IPv6Address("::ffff:10.0.0.1").packed + bytes.fromhex("a2a9 ff7f")
    assert read_address(data).endpoint == Endpoint.of("10.0.0.1", 41641)


def test_foundations_tell_fates_apart() -> None:
    def foundation(*arguments: object, **changes: object) -> str:
        return decode_candidate(encode_candidate(make_candidate(*arguments, **changes))).foundation  # type: ignore[arg-type]

    host = foundation("10.0.0.1")
    assert host == foundation("10.0.0.1", port=1, preference=7)
    over_tcp = foundation("10.0.0.1", tcp_type=TcpType.ACTIVE)
    assert over_tcp == foundation("10.0.0.1", tcp_type=TcpType.PASSIVE)
    others = [
        foundation("10.0.0.2"),
        foundation("10.0.0.1", candidate_type=CandidateType.SERVER_REFLEXIVE),
        over_tcp,
        foundation("10.0.0.1", tcp_type=TcpType.SIMULTANEOUS_OPEN),
        foundation("2001:db8::1"),
    ]
    assert len({host, *others}) == 6


def read_all(entries: list[bytes]) -> list[Candidate]:
    """Read a list, with the fields that aren't written as `make_candidate` has them."""
    cursor = Cursor(b"".join(entries))
    read = [each for _ in entries for each in take_candidates(cursor, 0, "")]
    assert cursor.left == 0
    return [replace(each, foundation="1") for each in read if isinstance(each, Candidate)]


def test_a_twin_is_one_bit() -> None:
    udp = make_candidate("203.0.113.7", 41641, preference=0xFFBF)
    assert encode_candidates([udp, make_twin(udp)]) == [bytes.fromhex("20 cb007107 a2a9 ffbf")]
    assert read_all(encode_candidates([make_twin(udp), udp])) == [udp, make_twin(udp)]


@given(st.lists(candidates, max_size=5, unique=True), st.randoms(), st.data())
def test_lists_with_twins_come_back_whole(some: list[Candidate], random: Random, data: st.DataObject) -> None:
    of_udp = [make_twin(each) for each in some if each.transport is Transport.UDP and data.draw(st.booleans())]
    everything = [*some, *(twin for twin in of_udp if twin not in some)]
    random.shuffle(everything)
    entries = encode_candidates(everything)
    assert set(read_all(entries)) == set(everything)
    assert len(entries) == len(everything) - len(of_udp)


@pytest.mark.parametrize(
    "changed",
    [
        {"preference": 1},
        {"port": 41642},
        {"candidate_type": CandidateType.SERVER_REFLEXIVE},
        {"tcp_type": TcpType.SIMULTANEOUS_OPEN},
    ],
)
def test_what_only_looks_like_a_twin_is_written_whole(changed: dict[str, Any]) -> None:
    udp = make_candidate("10.0.0.1")
    twin = make_twin(udp)
    told = {"preference": twin.priority >> 8 & 0xFFFF, "tcp_type": TcpType.PASSIVE, **changed}
    stranger = make_candidate("10.0.0.1", **told)
    entries = encode_candidates([udp, stranger])
    assert len(entries) == 2
    assert read_all(entries) == [udp, stranger]


def test_a_twin_comes_in_a_list_only() -> None:
    udp = make_candidate("10.0.0.1")
    [entry] = encode_candidates([udp, make_twin(udp)])
    with pytest.raises(MalformedPacket, match="two candidates"):
        decode_candidate(entry)


@pytest.mark.parametrize(
    ("transport", "tcp_type"),
    [(Transport.TLS, None), (Transport.TCP, None), (Transport.UDP, TcpType.ACTIVE)],
)
def test_what_no_candidate_uses_is_not_written(transport: Transport, tcp_type: TcpType | None) -> None:
    endpoint = Endpoint.of("10.0.0.1", 1, transport)
    with pytest.raises(LocalProtocolError, match="no candidate has transport"):
        encode_candidate(replace(make_candidate("10.0.0.1"), endpoint=endpoint, tcp_type=tcp_type))


def test_the_layout_for_a_name() -> None:
    hidden = disguise(make_candidate("192.168.1.7", 41641, preference=0x1234), NAME)
    assert encode_candidate(hidden) == bytes.fromhex("40 1f4712dbea174bcfa596105139dfd8bf a2a9 1234")


@pytest.mark.parametrize("address", ["192.168.1.7", "fd00::7"])
def test_a_name_comes_back_without_its_address(address: str) -> None:
    hidden = disguise(make_candidate(address, tcp_type=TcpType.PASSIVE, preference=7), NAME)
    data = encode_candidate(hidden)
    assert hidden.endpoint.address.packed not in data
    told = decode_candidate(data, generation=3, ufrag="abcdefgh")
    assert isinstance(told, NamedCandidate)
    assert told == NamedCandidate(
        name=NAME,
        port=41641,
        type=CandidateType.HOST,
        transport=Transport.TCP,
        priority=candidate_priority(CandidateType.HOST, 7, Transport.TCP),
        foundation=told.foundation,
        generation=3,
        ufrag="abcdefgh",
        tcp_type=TcpType.PASSIVE,
    )
    assert encode_candidate(told) == data
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_candidate(data[:size])


def test_a_name_and_its_twin_share_one_entry() -> None:
    udp = make_candidate("192.168.1.7")
    both = [disguise(each, NAME) for each in (udp, make_twin(udp))]
    [entry] = encode_candidates(both)
    told = take_candidates(Cursor(entry), 0, "")
    assert [(each.transport, each.tcp_type) for each in told] == [
        (Transport.UDP, None),
        (Transport.TCP, TcpType.PASSIVE),
    ]
    assert [each.priority for each in told] == [each.priority for each in both]
    assert {each.name for each in told if isinstance(each, NamedCandidate)} == {NAME}
    assert len({each.foundation for each in told}) == 2


def test_a_name_without_a_uuid_is_not_written() -> None:
    with pytest.raises(LocalProtocolError, match="no UUID"):
        encode_candidate(disguise(make_candidate("10.0.0.1"), "printer.local"))
