"""A letter from afar: only MalformedPacket, and what was read can be written again and means the same."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.signal.letter import decode_letter, encode_letter


def test_one_input(data: bytes) -> None:
    try:
        letter = decode_letter(data)
    except MalformedPacket:
        return
    again = decode_letter(encode_letter(letter))
    assert again.state == letter.state
    assert set(again.description.candidates) == set(letter.description.candidates)
