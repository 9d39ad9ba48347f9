"""A pairing from afar: only MalformedPacket, and what was read can be written again."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.signal.acquaintance import decode_acquaintance, encode_acquaintance


def test_one_input(data: bytes) -> None:
    try:
        acquaintance = decode_acquaintance(data)
    except MalformedPacket:
        return
    again = decode_acquaintance(encode_acquaintance(acquaintance))
    assert (again.stage, again.name) == (acquaintance.stage, acquaintance.name)
