"""Framing: the published messages, the way back, and bytes that are none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.stun.attribute import (
    DATA,
    FINGERPRINT,
    ICE_CONTROLLED,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PASSWORD_ALGORITHM,
    PRIORITY,
    REALM,
    SOFTWARE,
    USE_CANDIDATE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
)
from p2ptun.stun.codec import PasswordAlgorithm
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    NO_INTEGRITY,
    Integrity,
    compute_fingerprint,
    verify_integrity,
)
from p2ptun.stun.message import (
    LONGEST_BODY,
    MAX_ATTRIBUTES,
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    is_stun,
    new_transaction_id,
    peek_header,
    peek_username,
    success_response,
)
from p2ptun.types import Endpoint
from tests.stun import vectors
from tests.stun.vectors import SAMPLES

TRANSACTION_ID = TransactionId(bytes(range(12)))
KEY = b"secret"
REQUEST = Message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, ((USERNAME, "a:b"), (PRIORITY, 7)))


def rebuilt(data: bytes, body: bytes) -> bytes:
    """Put `body` behind the header of `data` and set the length."""
    return data[:2] + len(body).to_bytes(2, "big") + data[4:20] + body


def with_fingerprint(data: bytes) -> bytes:
    """Append a right FINGERPRINT."""
    longer = rebuilt(data, data[20:] + bytes(8))
    return longer[:-8] + bytes.fromhex("80280004") + compute_fingerprint(longer[:-8]).to_bytes(4, "big")


def test_rfc5769_request() -> None:
    message = decode_message(vectors.REQUEST)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert message.get(SOFTWARE) == "STUN test client"
    assert message.get(PRIORITY) == 0x6E0001FF
    assert message.get(ICE_CONTROLLED) == 0x932FF9B151263B36
    assert message.get(USERNAME) == "evtj:h6vY"
    assert message.has_fingerprint
    assert not message.is_response


@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        (vectors.RESPONSE_IPV4, Endpoint.of("192.0.2.1", 32853)),
        (vectors.RESPONSE_IPV6, Endpoint.of("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_rfc5769_responses(data: bytes, endpoint: Endpoint) -> None:
    message = decode_message(data)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.SUCCESS)
    assert message.get(SOFTWARE) == "test vector"
    assert message.get(XOR_MAPPED_ADDRESS) == endpoint
    assert message.has_fingerprint
    assert message.is_response


def test_rfc5769_long_term_request_byte_by_byte() -> None:
    message = decode_message(vectors.LONG_TERM_REQUEST)
    assert message.attributes == (
        (USERNAME, vectors.USERNAME),
        (NONCE, b"f//499k954d6OL34oL9FSTvy64sA"),
        (REALM, "example.org"),
    )
    assert not message.has_fingerprint
    integrity = Integrity(HMAC_SHA1, vectors.MD5_KEY)
    assert encode_message(message, integrity, fingerprint=False) == vectors.LONG_TERM_REQUEST


def test_rfc8489_b1_byte_by_byte() -> None:
    message = decode_message(vectors.SHA256_REQUEST)
    userhash = bytes.fromhex("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704")
    assert message.attributes == (
        (USERHASH, userhash),
        (NONCE, b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"),
        (REALM, "example.org"),
        (PASSWORD_ALGORITHM, PasswordAlgorithm(2)),
    )
    integrity = Integrity(HMAC_SHA256, vectors.SHA256_KEY)
    assert encode_message(message, integrity, fingerprint=False) == vectors.SHA256_REQUEST


@pytest.mark.parametrize("name", SAMPLES)
def test_published_seals_fit_and_survive_encoding_anew(name: str) -> None:
    data, key = SAMPLES[name]
    message = decode_message(data)
    assert verify_integrity(message, key)
    again = encode_message(message, Integrity(message.integrity, key), message.has_fingerprint)
    assert decode_message(again) == message
    assert len(again) == len(data)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_seed_corpus_is_the_published_one(name: str) -> None:
    corpus = Path(__file__).parents[1] / "vectors" / "stun_message"
    assert (corpus / f"{name}.bin").read_bytes() == SAMPLES[name][0]


@pytest.mark.parametrize("name", SAMPLES)
def test_truncation_at_every_length(name: str) -> None:
    data, _ = SAMPLES[name]
    for length in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_message(data[:length])
        shorter = rebuilt(data, data[20:length])
        if length >= 20 and len(shorter) % 4:
            with pytest.raises(MalformedPacket, match="no STUN message"):
                decode_message(shorter)


@pytest.mark.parametrize("name", ["rfc5769-2.1", "rfc5769-2.2", "rfc5769-2.3"])
def test_every_changed_bit_breaks_the_fingerprint(name: str) -> None:
    data, _ = SAMPLES[name]
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        try:
            # Only the fingerprint's own type can change, and then it counts as something else: no fingerprint is seen.
            assert not decode_message(bytes(changed)).has_fingerprint
        except MalformedPacket:
            continue


@given(st.binary(max_size=120))
def test_random_bodies_are_malformed_or_come_back(body: bytes) -> None:
    data = rebuilt(vectors.REQUEST, body[: len(body) // 4 * 4])
    try:
        message = decode_message(data)
    except MalformedPacket:
        return
    assert decode_message(encode_message(message)).attributes == message.attributes


def test_random_bytes_are_malformed() -> None:
    seed = 5389
    draw = random.Random(seed)
    for _ in range(2000):
        data = draw.randbytes(draw.randrange(64))
        try:
            decode_message(data)
        except MalformedPacket:
            continue
        pytest.fail(f"seed {seed}: {data.hex()}")


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("message_class", MessageClass)
def test_types_come_back(method: Method, message_class: MessageClass) -> None:
    message = Message(method, message_class, TRANSACTION_ID)
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    ("method", "message_class", "first"),
    [
        (Method.BINDING, MessageClass.REQUEST, "0001"),
        (Method.BINDING, MessageClass.INDICATION, "0011"),
        (Method.BINDING, MessageClass.SUCCESS, "0101"),
        (Method.BINDING, MessageClass.ERROR, "0111"),
        (Method.ALLOCATE, MessageClass.ERROR, "0113"),
        (Method.CHANNEL_BIND, MessageClass.REQUEST, "0009"),
    ],
)
def test_types_as_printed_in_the_rfc(method: Method, message_class: MessageClass, first: str) -> None:
    assert encode_message(Message(method, message_class, TRANSACTION_ID))[:2].hex() == first


@pytest.mark.parametrize("first", ["0002", "3eef", "0021", "0201"])
def test_unknown_methods_are_malformed(first: str) -> None:
    data = bytes.fromhex(first) + encode_message(REQUEST, fingerprint=False)[2:]
    assert is_stun(data)
    with pytest.raises(MalformedPacket, match="unknown method"):
        decode_message(data)


def test_is_stun_tells_apart_what_shares_the_port() -> None:
    data = encode_message(REQUEST)
    assert is_stun(data)
    assert not is_stun(data[:19])
    assert not is_stun(b"\x40" + data[1:])  # ChannelData
    assert not is_stun(b"\xd4" + data[1:])  # the tunnel
    assert not is_stun(data[:4] + b"\0" + data[5:])  # no cookie: RFC 3489
    assert not is_stun(data + bytes(4))  # longer than it says
    assert not is_stun(data[:3] + b"\x01" + data[4:] + bytes(1))  # not a multiple of 4
    assert not is_stun(b"")


@pytest.mark.parametrize("message_class", MessageClass)
def test_a_peek_sees_what_decoding_does(message_class: MessageClass) -> None:
    data = encode_message(Message(Method.BINDING, message_class, TRANSACTION_ID, ((PRIORITY, 7), (USERNAME, "a:b"))))
    assert peek_header(data) == (message_class, TRANSACTION_ID)
    assert peek_header(data[:-1]) is None
    assert peek_username(data) == "a:b"


@given(st.lists(st.sampled_from(["0006", "0008", "001C", "8028", "0024", "C057"]), max_size=5), st.binary(max_size=24))
def test_whatever_decodes_has_the_username_of_the_peek(numbers: list[str], value: bytes) -> None:
    """Two of them, none, one behind the seal: what the node goes by is what the agent sees."""
    body = b"".join(bytes.fromhex(number) + b"\0\x14" + value[:20].ljust(20, b"x") for number in numbers)
    data = rebuilt(vectors.REQUEST, body)
    try:
        message = decode_message(data)
    except MalformedPacket:
        assert peek_header(data) is not None
        assert isinstance(peek_username(data), str | None)
        return
    assert peek_username(data) == message.get(USERNAME)


def test_a_peek_is_harmless_on_whatever_comes() -> None:
    no_text = rebuilt(vectors.REQUEST, bytes.fromhex("00060004FFFFFFFF"))
    cut = rebuilt(vectors.REQUEST, bytes.fromhex("0006000861626364"))
    sealed = rebuilt(vectors.REQUEST, bytes.fromhex("00080014") + bytes(20) + bytes.fromhex("00060004613A6263"))
    assert [peek_username(data) for data in (no_text, cut, sealed, rebuilt(cut, b""))] == [None] * 4
    seed = 7983
    draw = random.Random(seed)
    for _ in range(2000):
        data = draw.randbytes(draw.randrange(64))
        assert peek_header(data) is None, f"seed {seed}: {data.hex()}"


def test_get_gives_the_first_and_get_all_every_one() -> None:
    one, two = Endpoint.of("192.0.2.1", 1), Endpoint.of("192.0.2.2", 2)
    peers = ((XOR_PEER_ADDRESS, one), (XOR_PEER_ADDRESS, two))
    message = Message(Method.CREATE_PERMISSION, MessageClass.REQUEST, TRANSACTION_ID, peers)
    decoded = decode_message(encode_message(message))
    assert decoded.get(XOR_PEER_ADDRESS) == one
    assert decoded.get_all(XOR_PEER_ADDRESS) == (one, two)
    assert decoded.get(USE_CANDIDATE) is None
    assert decoded.get_all(USE_CANDIDATE) == ()


def test_a_success_answers_its_request() -> None:
    response = success_response(REQUEST, (SOFTWARE, "x"))
    assert response == Message(Method.BINDING, MessageClass.SUCCESS, TRANSACTION_ID, ((SOFTWARE, "x"),))


def test_transaction_ids_come_from_the_given_randomness() -> None:
    assert new_transaction_id(lambda count: b"r" * count) == b"r" * 12


def test_unknown_attributes_are_listed_when_required_and_skipped_when_optional() -> None:
    data = encode_message(REQUEST, fingerprint=False)
    body = data[20:] + bytes.fromhex("7ffe0001aa000000fffe0001aa00000000020000")
    message = decode_message(rebuilt(data, body))
    assert message.unknown_required == (0x7FFE, 0x0002)
    assert message.attributes == REQUEST.attributes


def test_what_follows_message_integrity_is_ignored() -> None:
    """Pitfall: an attacker appends USE-CANDIDATE or an unknown required attribute behind the seal."""
    data = encode_message(REQUEST, Integrity(HMAC_SHA1, KEY), fingerprint=False)
    appended = bytes.fromhex("002500007ffe000000240003000000ff")  # USE-CANDIDATE, unknown, a broken PRIORITY
    message = decode_message(with_fingerprint(rebuilt(data, data[20:] + appended)))
    assert message.attributes == REQUEST.attributes
    assert message.unknown_required == ()
    assert message.has_fingerprint
    assert verify_integrity(message, KEY)


def test_only_the_first_seals_count() -> None:
    data = encode_message(REQUEST, Integrity(HMAC_SHA1 | HMAC_SHA256, KEY), fingerprint=False)
    forged = bytes.fromhex("00080014") + bytes(20) + bytes.fromhex("001c0020") + bytes(32)
    message = decode_message(rebuilt(data, data[20:] + forged))
    assert [mac.algorithm for mac in message.macs] == [HMAC_SHA1, HMAC_SHA256]
    assert message.integrity == HMAC_SHA1 | HMAC_SHA256
    assert verify_integrity(message, KEY)
    alone = encode_message(REQUEST, Integrity(HMAC_SHA256, KEY), fingerprint=False)
    message = decode_message(rebuilt(alone, alone[20:] + forged))
    assert [mac.algorithm for mac in message.macs] == [HMAC_SHA256]


def test_the_seal_counts_to_its_own_end_whatever_follows() -> None:
    for fingerprint in (False, True):
        data = encode_message(REQUEST, Integrity(HMAC_SHA1 | HMAC_SHA256, KEY), fingerprint)
        message = decode_message(data)
        assert verify_integrity(message, KEY, HMAC_SHA1)
        assert verify_integrity(message, KEY, HMAC_SHA256)
        assert message.has_fingerprint is fingerprint
    assert decode_message(encode_message(REQUEST)).integrity == NO_INTEGRITY


def test_fingerprint_must_be_last_and_right() -> None:
    data = encode_message(REQUEST)
    last = rebuilt(data, data[20:] + bytes.fromhex("00250000"))
    fixed = last[:-12] + bytes.fromhex("80280004")
    fixed += compute_fingerprint(last[:-12]).to_bytes(4, "big") + bytes.fromhex("00250000")
    with pytest.raises(MalformedPacket, match="FINGERPRINT isn't the last"):
        decode_message(fixed)
    with pytest.raises(MalformedPacket, match="wrong FINGERPRINT"):
        decode_message(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(MalformedPacket, match="FINGERPRINT"):
        decode_message(rebuilt(data, data[20:-8] + bytes.fromhex("8028000300000000")))


def test_an_attribute_that_reaches_beyond_the_end_is_cut() -> None:
    data = rebuilt(vectors.REQUEST, bytes.fromhex("8022000561626364"))
    with pytest.raises(MalformedPacket, match="0x8022 is cut"):
        decode_message(data)


@pytest.mark.parametrize("number", [b"\x00\x25", b"\x7f\xfe", b"\xff\xfe"])  # known, required, optional
def test_a_message_of_nothing_but_empty_attributes_is_malformed(number: bytes) -> None:
    """Else one datagram of 64 kB, from anybody, keeps us busy for 26 ms."""
    assert decode_message(rebuilt(vectors.REQUEST, (number + bytes(2)) * MAX_ATTRIBUTES)).method is Method.BINDING
    with pytest.raises(MalformedPacket, match=f"more than {MAX_ATTRIBUTES}"):
        decode_message(rebuilt(vectors.REQUEST, (number + bytes(2)) * (MAX_ATTRIBUTES + 1)))


@pytest.mark.parametrize("seal", [MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256])
@pytest.mark.parametrize("length", [0, 12, 16, 18, 20, 32, 36])
def test_seals_have_their_lengths(seal: object, length: int) -> None:
    number = "0008" if seal is MESSAGE_INTEGRITY else "001c"
    good = length == 20 if seal is MESSAGE_INTEGRITY else length in (16, 20, 32)
    body = bytes.fromhex(number) + length.to_bytes(2, "big") + bytes(length) + bytes(-length % 4)
    data = rebuilt(vectors.REQUEST, body)
    if good:
        assert len(decode_message(data).macs[0].value) == length
    else:
        with pytest.raises(MalformedPacket, match="MESSAGE-INTEGRITY"):
            decode_message(data)


@pytest.mark.parametrize(
    "computed", [(MESSAGE_INTEGRITY, bytes(20)), (MESSAGE_INTEGRITY_SHA256, b""), (FINGERPRINT, 0)]
)
def test_seals_are_computed_never_given(computed: tuple[object, object]) -> None:
    message = Message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, (computed,))  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="computed"):
        encode_message(message)


def test_the_longest_message() -> None:
    def sized(length: int) -> Message:
        return Message(Method.SEND, MessageClass.INDICATION, TRANSACTION_ID, ((DATA, bytes(length)),))

    longest = encode_message(sized(LONGEST_BODY - 4), fingerprint=False)
    assert len(longest) == LONGEST_BODY + 20
    assert decode_message(longest).get(DATA) == bytes(LONGEST_BODY - 4)
    with pytest.raises(LocalProtocolError, match="DATA doesn't fit"):
        encode_message(sized(LONGEST_BODY - 3), fingerprint=False)
    with pytest.raises(LocalProtocolError, match="FINGERPRINT doesn't fit"):
        encode_message(sized(LONGEST_BODY - 4))
    with pytest.raises(LocalProtocolError, match="MESSAGE-INTEGRITY doesn't fit"):
        encode_message(sized(LONGEST_BODY - 16), Integrity(HMAC_SHA1, KEY))
