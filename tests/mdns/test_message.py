from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.mdns.message import (
    ANY_CLASS,
    MAX_ENTRIES,
    MAX_MESSAGE_SIZE,
    MAX_POINTERS,
    Labels,
    Message,
    Question,
    Record,
    RecordType,
    address_record,
    decode_message,
    denial_record,
    encode_message,
)

NAME = (b"host", b"local")
QUERY = bytes.fromhex(
    "0000 0000 0002 0000 0000 0000"  # header: two questions
    "04 686f7374 05 6c6f63616c 00 0001 8001"  # host.local, A, QU, IN
    "c00c 001c 0001"  # the same name, AAAA
)
RESPONSE = bytes.fromhex(
    "0000 8400 0000 0001 0000 0001"  # header: authoritative, one answer, one additional
    "04 686f7374 05 6c6f63616c 00 0001 8001 00000078 0004 c0000201"  # A 192.0.2.1, cache-flush, 120 s
    "c00c 002f 8001 00000078 000f 04 686f7374 05 6c6f63616c 00 00 01 40"  # NSEC: bit 1 is A
)


def test_a_query_as_rfc_1035_and_6762_lay_it_out() -> None:
    message = Message(questions=(Question(NAME, RecordType.A, True), Question(NAME, RecordType.AAAA)))
    assert encode_message(message) == QUERY
    assert decode_message(QUERY) == message


def test_a_response_as_rfc_6762_lays_it_out() -> None:
    message = Message(
        is_response=True,
        answers=(address_record(NAME, ip_address("192.0.2.1"), 120),),
        additionals=(denial_record(NAME, RecordType.A, 120),),
    )
    assert encode_message(message) == RESPONSE
    assert decode_message(RESPONSE) == message


def test_the_denial_of_all_but_aaaa() -> None:
    assert denial_record((b"x",), RecordType.AAAA, 1).data == bytes.fromhex("0178 00 00 04 00000008")


def test_an_address_keeps_its_zone_at_home() -> None:
    record = address_record(NAME, ip_address("fe80::1%eth0"), 120, is_unique=False)
    assert (record.type, record.data, record.is_unique) == (RecordType.AAAA, IPv6Address("fe80::1").packed, False)


@pytest.mark.parametrize(
    ("record", "address"),
    [
        (Record(NAME, 1, bytes([192, 0, 2, 1]), 120), IPv4Address("192.0.2.1")),
        (Record(NAME, 28, IPv6Address("2001:db8::1").packed, 120), IPv6Address("2001:db8::1")),
        (Record(NAME, 28, IPv6Address("::ffff:192.0.2.1").packed, 120), IPv4Address("192.0.2.1")),
        (Record(NAME, 1, bytes(3), 120), None),
        (Record(NAME, 28, bytes(4), 120), None),
        (Record(NAME, 16, bytes(4), 120), None),
        (Record(NAME, 1, bytes(4), 120, class_=3), None),
    ],
)
def test_the_address_in_a_record(record: Record, address: object) -> None:
    assert record.address == address


def test_flags_and_ids_come_back() -> None:
    message = Message(id=0x1234, is_truncated=True, is_refused=True, questions=(Question(NAME, 255, class_=ANY_CLASS),))
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("flags", ["0800", "7800", "8003", "000f"])
def test_an_opcode_or_an_rcode_is_noticed(flags: str) -> None:
    assert decode_message(bytes.fromhex(f"0000 {flags}") + bytes(8)).is_refused


def test_names_are_compared_in_lower_case() -> None:
    assert decode_message(QUERY.replace(b"host", b"HoSt")).questions[0].name == NAME


def test_compression_ends_where_pointers_do() -> None:
    far = Record((b"far", b"off"), 16, bytes(1 << 14), 1)
    late = Record((b"late", b"on"), 16, b"", 1)
    data = encode_message(Message(answers=(far, late, late)))
    assert data.count(b"\x04late\x02on\x00") == 2  # 14 bits can't point there


labels = st.binary(min_size=1, max_size=63).map(bytes.lower)
names: st.SearchStrategy[Labels] = st.lists(labels, max_size=3).map(tuple)
questions = st.builds(Question, names, st.integers(0, 65535), st.booleans(), st.integers(0, 0x7FFF))
records = st.builds(
    Record, names, st.integers(0, 65535), st.binary(max_size=40), st.integers(0, 2**32 - 1), st.booleans(),
    st.integers(0, 0x7FFF),
)  # fmt: skip
sections = st.lists(records, max_size=4).map(tuple)
messages = st.builds(
    Message, st.integers(0, 65535), st.booleans(), st.lists(questions, max_size=4).map(tuple), sections, sections,
    sections, st.booleans(), st.booleans(),
)  # fmt: skip


@given(messages)
def test_round_trip(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("data", [QUERY, RESPONSE])
def test_cut_anywhere_it_is_refused(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_message(data[:size])


def test_random_bytes_are_read_or_refused() -> None:
    source = random.Random(6762)
    for _ in range(3000):
        data = bytearray(source.choice((QUERY, RESPONSE)))
        for _ in range(source.randint(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        for noise in (bytes(data), source.randbytes(source.randrange(80))):
            try:
                message = decode_message(noise)
            except MalformedPacket:
                continue
            assert decode_message(encode_message(message)) == message


HEADER = bytes.fromhex("0000 0000 0001 0000 0000 0000")
TAIL = bytes.fromhex("0001 0001")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("c00c", "lead back"),  # to itself
        ("c00e", "lead back"),  # forwards
        ("c000", "lead back"),  # into the header
        ("01 61 c00c", "lead back"),  # a loop with a label in it
        ("c0", "lead back|cut"),
        ("40" + "61" * 64, "unknown kind"),
        ("80 00", "unknown kind"),
        (("3f" + "61" * 63) * 4 + "00", "too many"),
    ],
)
def test_hostile_names_are_refused(name: str, what: str) -> None:
    with pytest.raises(MalformedPacket, match=what):
        decode_message(HEADER + bytes.fromhex(name) + TAIL)


def test_pointers_to_pointers_only_lead_back() -> None:
    header = bytes.fromhex("0000 0000 0003 0000 0000 0000")
    ladder = b"\x01a\x00" + TAIL + b"\x01b\xc0\x0c" + TAIL + b"\x01c\xc0\x13" + TAIL
    assert [each.name for each in decode_message(header + ladder).questions] == [
        (b"a",),
        (b"b", b"a"),
        (b"c", b"b", b"a"),
    ]


@pytest.mark.parametrize("pointers", [MAX_POINTERS, MAX_POINTERS + 1])
def test_no_name_is_a_long_chain_of_pointers(pointers: int) -> None:
    """They fit where nobody looks, in a record's data; every further name of 2 bytes would follow them all."""
    header = bytes.fromhex("0000 8400 0000 0002 0000 0000")
    start = len(header) + 11
    chain = b"\0\0" + b"".join((0xC000 | start + 2 * at).to_bytes(2, "big") for at in range(pointers - 1))
    record = b"\0" + TAIL + bytes(4) + len(chain).to_bytes(2, "big") + chain
    last = (0xC000 | start + 2 * (pointers - 1)).to_bytes(2, "big") + TAIL + bytes(6)
    if pointers <= MAX_POINTERS:
        assert decode_message(header + record + last).answers[1].name == ()
    else:
        with pytest.raises(MalformedPacket, match="too many pointers"):
            decode_message(header + record + last)


def test_a_message_has_a_size_and_so_many_entries() -> None:
    with pytest.raises(MalformedPacket, match="9001 bytes"):
        decode_message(bytes(MAX_MESSAGE_SIZE + 1))
    with pytest.raises(MalformedPacket, match="257 entries"):
        decode_message(bytes(4) + (MAX_ENTRIES + 1).to_bytes(2, "big") + bytes(6) + bytes(5000))


@pytest.mark.parametrize("name", [(b"",), (b"a" * 64,), (b"a" * 63,) * 4])
def test_a_name_that_no_message_can_hold_is_not_written(name: Labels) -> None:
    with pytest.raises(LocalProtocolError, match="DNS"):
        encode_message(Message(questions=(Question(name, 1),)))
