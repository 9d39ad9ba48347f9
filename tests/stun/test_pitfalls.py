"""Pitfalls 19 and 20, as far as credentials and streams go; they are numbered through the tests of all packages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.stun.attribute import ERROR_CODE, LIFETIME, NONCE, REALM, USERNAME, AttributeValue
from p2ptun.stun.credential import (
    Authenticated,
    LongTermClient,
    LongTermCredential,
    LongTermServer,
    Refused,
    SignedRequest,
    StaticCredentials,
    Verdict,
)
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, long_term_key
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.stun.stream import StreamSplitter, measure_stun
from p2ptun.stun.transaction import Transaction
from p2ptun.types import Endpoint
from tests.stun.vectors import SAMPLES

NOW = 1000.0
SOURCE = Endpoint.of("192.0.2.1", 5000)
KEY = long_term_key("alice", "example.org", "secret")
METHODS = (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND)


def request(number: int, method: Method = Method.ALLOCATE) -> Message:
    return Message(method, MessageClass.REQUEST, TransactionId(number.to_bytes(12, "big")), ((LIFETIME, 600),))


def client() -> LongTermClient:
    return LongTermClient(LongTermCredential("alice", "secret"))


def challenge(asked: SignedRequest, code: Code, nonce: bytes, *more: AttributeValue) -> Message:
    answer = error_response(asked.message, code, (REALM, "example.org"), (NONCE, nonce), *more)
    return decode_message(encode_message(answer))


def challenged(nonce: bytes = b"one") -> LongTermClient:
    """A client that knows realm and nonce."""
    asker = client()
    first = asker.sign(request(1))
    assert asker.judge(first, challenge(first, Code.UNAUTHENTICATED, nonce)) is Verdict.RETRY
    return asker


def answer_to(asked: SignedRequest, *attributes: AttributeValue, code: Code | None = None, key: bytes = KEY) -> Message:
    """Answer a request, sealed."""
    if code is None:
        reply = success_response(asked.message, *attributes)
    else:
        reply = error_response(asked.message, code, *attributes)
    return decode_message(encode_message(reply, Integrity(HMAC_SHA1, key)))


def test_pitfall_19_the_first_request_is_bare_and_the_401_brings_realm_and_nonce() -> None:
    """RFC 8489 9.2.3."""
    asker = client()
    first = asker.sign(request(1))
    assert first.integrity is None
    assert {attribute for attribute, _ in first.message.attributes}.isdisjoint({USERNAME, REALM, NONCE})
    assert asker.judge(first, challenge(first, Code.UNAUTHENTICATED, b"one")) is Verdict.RETRY
    second = asker.sign(request(2))
    assert (second.message.get(REALM), second.message.get(NONCE)) == ("example.org", b"one")
    assert second.integrity is not None


@pytest.mark.parametrize("method", METHODS)
def test_pitfall_19_a_stale_nonce_is_replaced_for_every_method(method: Method) -> None:
    asker = challenged()
    stale = asker.sign(request(2, method))
    assert asker.judge(stale, challenge(stale, Code.STALE_NONCE, b"two")) is Verdict.RETRY
    for number, other in enumerate(METHODS):
        assert asker.sign(request(10 + number, other)).message.get(NONCE) == b"two"


def test_pitfall_19_a_401_to_an_authenticated_request_is_retried_once_and_only_with_another_nonce() -> None:
    asker = challenged()
    signed = asker.sign(request(2))
    assert asker.judge(signed, challenge(signed, Code.UNAUTHENTICATED, b"one")) is Verdict.REJECTED
    asker = challenged()
    signed = asker.sign(request(2))
    assert asker.judge(signed, challenge(signed, Code.UNAUTHENTICATED, b"two")) is Verdict.RETRY
    again = asker.sign(request(3))
    assert asker.judge(again, challenge(again, Code.UNAUTHENTICATED, b"three")) is Verdict.REJECTED


def test_pitfall_19_a_retransmission_is_the_same_to_the_last_byte() -> None:
    """And a request that is signed anew is another transaction: its bytes differ."""
    asker = challenged()
    payload = asker.sign(request(2)).encode()
    transaction = Transaction(payload, NOW)
    copies = []
    while (due := transaction.next_timeout()) is not None:
        while (copy := transaction.next_transmit()) is not None:
            copies.append(copy)
        transaction.handle_timeout(due)
    assert len(copies) == 7
    assert set(copies) == {payload}
    assert asker.sign(request(3)).encode() not in copies


@pytest.mark.parametrize("code", [None, Code.FORBIDDEN, Code.ALLOCATION_MISMATCH])
def test_pitfall_19_integrity_is_verified_on_every_answer_but_401_and_438(code: Code | None) -> None:
    asker = challenged()
    signed = asker.sign(request(2))
    assert asker.judge(signed, answer_to(signed, code=code)) is Verdict.ACCEPTED
    assert asker.judge(signed, answer_to(signed, code=code, key=b"x" * 16)) is Verdict.VIOLATED
    bare = replace(signed, message=signed.message)
    reply = success_response(bare.message) if code is None else error_response(bare.message, code)
    assert asker.judge(bare, decode_message(encode_message(reply))) is Verdict.VIOLATED


def test_pitfall_19_a_server_challenges_first_and_knows_its_own_nonces() -> None:
    server = LongTermServer("example.org", StaticCredentials({"alice": "secret"}, "example.org"), b"secret of its own")
    asker = client()
    first = asker.sign(request(1))
    refused = server.authenticate(decode_message(first.encode()), SOURCE, NOW)
    assert isinstance(refused, Refused)
    error = refused.response.get(ERROR_CODE)
    assert error is not None
    assert error.code == Code.UNAUTHENTICATED
    assert asker.judge(first, decode_message(encode_message(refused.response))) is Verdict.RETRY
    second = decode_message(asker.sign(request(2)).encode())
    assert isinstance(server.authenticate(second, SOURCE, NOW), Authenticated)
    assert isinstance(server.authenticate(second, Endpoint.of("192.0.2.2", 5000), NOW), Refused)


# Channel data on streams (RFC 8656 12.5): `measure` is what a TURN client will give the splitter

STUN = next(iter(SAMPLES.values()))[0]
LONGEST_FRAME = 4 + 65535 + 1


def measure(head: bytes) -> int | None:
    """Measure STUN and ChannelData: padded to 4 bytes, which its length doesn't count."""
    if head[:1] < b"\x40":
        return measure_stun(head)
    if head[:1] > b"\x4f":
        raise MalformedPacket("the stream carries neither STUN nor ChannelData")
    return None if len(head) < 4 else 4 + -(-int.from_bytes(head[2:4], "big") // 4) * 4


def channel_data(payload: bytes) -> bytes:
    return b"\x40\0" + len(payload).to_bytes(2, "big") + payload + bytes(-len(payload) % 4)


@pytest.mark.parametrize("size", range(9))
def test_pitfall_20_padded_channel_data_and_stun_share_a_stream(size: int) -> None:
    frames = [channel_data(bytes(size)), STUN, channel_data(b"\0\1\0\0!\x12\xa4B"), STUN]
    splitter = StreamSplitter(measure)
    found = []
    for byte in b"".join(frames):
        splitter.receive(bytes([byte]))
        while (frame := splitter.next_frame()) is not None:
            found.append(frame)
    assert found == frames


def test_pitfall_20_no_length_makes_the_splitter_wait_for_more_than_a_frame() -> None:
    for head in (b"\0\1\xff\xfc!\x12\xa4B", b"\x40\0\xff\xff"):
        splitter = StreamSplitter(measure)
        splitter.receive(head + bytes(LONGEST_FRAME + 20 - len(head)))
        frame = splitter.next_frame()
        assert frame is not None
        assert len(frame) <= LONGEST_FRAME + 12


def test_pitfall_20_what_is_neither_ends_the_stream() -> None:
    splitter = StreamSplitter(measure)
    splitter.receive(channel_data(b"ok") + b"\x50\0\0\0")
    assert splitter.next_frame() == channel_data(b"ok")
    with pytest.raises(MalformedPacket):
        splitter.next_frame()
