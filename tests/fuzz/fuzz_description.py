"""A description and a packed candidate from afar: only MalformedPacket, and what was read can be written again."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.signal.candidate import decode_candidate, encode_candidate
from p2ptun.signal.description import decode_description, encode_description


def test_one_input(data: bytes) -> None:
    try:
        description = decode_description(data)
    except MalformedPacket:
        pass
    else:
        assert decode_description(encode_description(description)) == description
    try:
        candidate = decode_candidate(data)
    except MalformedPacket:
        pass
    else:
        assert decode_candidate(encode_candidate(candidate)) == candidate
