"""STUN messages: the peeks, `decode_message` and whoever reads what it gives (`decode_features`, seals, Binding)."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.stun.attribute import NONCE, USERNAME
from p2ptun.stun.binding import answer_binding, read_binding_response
from p2ptun.stun.codec import MAGIC_COOKIE
from p2ptun.stun.credential import LongTermServer, StaticCredentials, decode_features
from p2ptun.stun.integrity import verify_integrity
from p2ptun.stun.message import (
    MAX_ATTRIBUTES,
    Message,
    decode_message,
    encode_message,
    is_stun,
    peek_header,
    peek_username,
)
from p2ptun.types import Endpoint

SOURCE = Endpoint.of("192.0.2.1", 1)
SERVER = LongTermServer("example.org", StaticCredentials({"alice": "secret"}, "example.org"), b"secret")


def test_one_input(data: bytes) -> None:
    """Decode the bytes as they are, then with a header that lets them through to the attributes."""
    _decode(data)
    body = data[2:][: (len(data) - 2) // 4 * 4] if len(data) >= 2 else b""
    length = len(body).to_bytes(2, "big")
    _decode(data[:2] + length + MAGIC_COOKIE + b"transaction!" + body)


def _decode(data: bytes) -> None:
    answer = answer_binding(data, SOURCE)
    assert answer is None or is_stun(answer)
    header = peek_header(data)
    username = None if header is None else peek_username(data)
    try:
        message = decode_message(data)
    except MalformedPacket:
        return
    assert header == (message.message_class, message.transaction_id)
    assert username == message.get(USERNAME)
    _read(message)


def _read(message: Message) -> None:
    verify_integrity(message, b"key", shortest=16)
    read_binding_response(message)
    decode_features(message.get(NONCE) or b"")
    SERVER.authenticate(message, SOURCE, 1000.0)
    if len(message.attributes) < MAX_ATTRIBUTES:  # we add a fingerprint
        assert decode_message(encode_message(message)) == message
