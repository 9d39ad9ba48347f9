"""Control messages of an authenticated peer: MalformedPacket, or a message within its bounds that encodes again."""

from __future__ import annotations

import msgspec

from p2ptun.errors import MalformedPacket
from p2ptun.node.parameters import read_description
from p2ptun.tunnel.control import MAX_CANDIDATES, IceDescription, Unknown, decode_control, encode_control


def test_one_input(data: bytes) -> None:
    try:
        message = decode_control(data)
    except MalformedPacket:
        return
    if isinstance(message, Unknown):
        return
    if isinstance(message, IceDescription):
        assert len(message.candidates) <= MAX_CANDIDATES
        parameters = read_description(message)
        assert len(parameters.candidates) <= 2 * len(message.candidates)  # each may have a twin
        veiled = msgspec.structs.replace(message.credentials, password="*")  # noqa: S106
        assert repr(message.credentials) == repr(veiled)  # a candidate may say the same by chance
    assert decode_control(encode_control(message)) == message
