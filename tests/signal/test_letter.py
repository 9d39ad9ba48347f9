"""Letters: there and back, and nothing but MalformedPacket from whatever is none."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.signal.description import encode_description
from p2ptun.signal.letter import TUNNEL, Letter, decode_letter, encode_letter
from p2ptun.tunnel.control import Acknowledgement, IceCredentials, IceDescription, encode_control
from tests.signal.sample import make_description

STATE = IceDescription(7, 3, IceCredentials(1, "abcdefgh", "p" * 24), None, (), True, 0)
LETTER = Letter(make_description(), STATE)


def test_a_letter_is_read_as_it_was_written() -> None:
    read = decode_letter(encode_letter(LETTER))
    assert read.state == STATE
    assert encode_description(read.description) == encode_description(LETTER.description)
    assert encode_letter(read) == encode_letter(LETTER)


def test_every_prefix_of_a_letter_is_none() -> None:
    data = encode_letter(LETTER)
    for length in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_letter(data[:length])


def test_another_kind_is_none() -> None:
    with pytest.raises(MalformedPacket, match="kind"):
        decode_letter(bytes([TUNNEL + 1]) + encode_letter(LETTER)[1:])


def test_another_control_message_is_no_state() -> None:
    data = encode_letter(LETTER)
    state = encode_control(STATE)
    with pytest.raises(MalformedPacket, match="state"):
        decode_letter(data.removesuffix(state) + encode_control(Acknowledgement(1)))


def test_random_bytes_are_none() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        data = bytes([TUNNEL]) + rng.randbytes(rng.randrange(200))
        with pytest.raises(MalformedPacket):
            decode_letter(data)


def test_changed_bytes_never_raise_anything_else() -> None:
    rng, data = random.Random(6), encode_letter(replace(LETTER, state=STATE))
    for _ in range(2000):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode_letter(bytes(changed))
        except MalformedPacket:
            continue
