"""The handshake datagrams and the payloads inside them: whatever the bytes, MalformedPacket or a value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.hello import decode_choice, decode_offer, encode_hello
from p2ptun.tunnel.wire import decode_cookie_reply, decode_initiation, decode_response, encode_cookie_reply

DECODERS: tuple[Callable[[bytes], object], ...] = (decode_initiation, decode_response, decode_cookie_reply)


def test_one_input(data: bytes) -> None:
    for decode in (*DECODERS, decode_offer, decode_choice):
        try:
            decode(data)
        except MalformedPacket:
            continue
    _round_trips(data)


def _round_trips(data: bytes) -> None:
    with suppress(MalformedPacket):
        offer = decode_offer(data)
        assert decode_offer(encode_hello(offer)) == offer
    with suppress(MalformedPacket):
        assert encode_cookie_reply(decode_cookie_reply(data)) == data
