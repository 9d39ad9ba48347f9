"""A description and a packed candidate from afar: only MalformedPacket, and what was read can be written again."""

from __future__ import annotations

from dataclasses import replace

from p2ptun.errors import MalformedPacket
from p2ptun.signal.candidate import decode_candidate, encode_candidate
from p2ptun.signal.description import decode_description, encode_description


def test_one_input(data: bytes) -> None:
    try:
        description = decode_description(data)
    except MalformedPacket:
        pass
    else:
        again = decode_description(encode_description(description))
        assert set(again.candidates) == set(description.candidates)  # a list may be told in more than one way
        assert replace(again, candidates=description.candidates) == description
    try:
        candidate = decode_candidate(data)
    except MalformedPacket:
        pass
    else:
        assert decode_candidate(encode_candidate(candidate)) == candidate
