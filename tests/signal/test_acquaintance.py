"""What two machines tell each other when they pair: there and back, and nothing but MalformedPacket otherwise."""

from __future__ import annotations

import random

import pytest

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.signal.acquaintance import (
    MAX_NAME_SIZE,
    PAIRING,
    Acquaintance,
    Stage,
    decode_acquaintance,
    encode_acquaintance,
)
from p2ptun.signal.description import encode_description
from tests.signal.sample import make_description

ONE = Acquaintance(Stage.PREPARED, "küche", make_description())


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("name", ["", "nas", "küche", "n" * MAX_NAME_SIZE])
def test_it_is_read_as_it_was_written(stage: Stage, name: str) -> None:
    read = decode_acquaintance(encode_acquaintance(Acquaintance(stage, name, ONE.description)))
    assert (read.stage, read.name) == (stage, name)
    assert encode_description(read.description) == encode_description(ONE.description)


def test_a_name_has_bounds() -> None:
    with pytest.raises(LocalProtocolError, match="name"):
        encode_acquaintance(Acquaintance(Stage.PROPOSED, "ü" * 33, ONE.description))


def test_every_prefix_is_none() -> None:
    data = encode_acquaintance(ONE)
    for length in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_acquaintance(data[:length])


@pytest.mark.parametrize(
    ("place", "byte"),
    [(0, PAIRING - 1), (1, 0), (1, 6), (1, 255), (2, MAX_NAME_SIZE + 1), (4, 0xFF)],
)
def test_what_has_no_meaning_is_none(place: int, byte: int) -> None:
    data = bytearray(encode_acquaintance(ONE))
    data[place] = byte
    with pytest.raises(MalformedPacket):
        decode_acquaintance(bytes(data))


def test_random_and_changed_bytes_raise_nothing_else() -> None:
    rng, whole = random.Random(7), encode_acquaintance(ONE)
    for turn in range(4000):
        data = bytearray(whole) if turn % 2 else bytearray([PAIRING, 1]) + rng.randbytes(rng.randrange(200))
        data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode_acquaintance(bytes(data))
        except MalformedPacket:
            continue
