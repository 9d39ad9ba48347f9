from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import AuthenticationFailed, MalformedPacket
from p2ptun.signal.missive import (
    ANYBODY,
    INCARNATION_SIZE,
    Missive,
    decode_missive,
    encode_missive,
    open_missive,
    seal_missive,
)

KEY = bytes(range(32))
numbers = st.integers(0, 2**64 - 1)
ids = st.binary(min_size=INCARNATION_SIZE, max_size=INCARNATION_SIZE)
missives = st.builds(
    Missive,
    sender=ids.filter(lambda sender: sender != ANYBODY),
    serial=st.integers(1, 2**64 - 1),
    recipient=ids,
    seen=numbers,
    revision=numbers,
    said=st.binary(max_size=100),
    asks=st.booleans(),
)


def _number(value: int) -> bytes:
    return bytes(7) + bytes([value])


def test_the_layout() -> None:
    missive = Missive(b"s" * 16, 1, b"r" * 16, 2, 3, b"said", asks=True)
    laid_out = (
        b"\x01" + b"s" * 16 + b"\0" * 7 + b"\x01" + b"r" * 16 + b"\0" * 7 + b"\x02" + b"\0" * 7 + b"\x03" + b"said"
    )
    assert encode_missive(missive) == laid_out
    assert decode_missive(laid_out) == missive


@given(missives)
def test_round_trip(missive: Missive) -> None:
    assert decode_missive(encode_missive(missive)) == missive
    assert open_missive(KEY, seal_missive(KEY, missive, Random(1).randbytes)) == missive


def test_a_cut_head_is_refused() -> None:
    head = encode_missive(Missive(b"s" * 16, 1))
    for size in range(len(head)):
        with pytest.raises(MalformedPacket):
            decode_missive(head[:size])


def test_bits_without_a_meaning_are_skipped() -> None:
    missive = Missive(b"s" * 16, 1, said=b"said")
    assert decode_missive(b"\xfe" + encode_missive(missive)[1:]) == missive


@pytest.mark.parametrize("missive", [Missive(ANYBODY, 1), Missive(b"s" * 16, 0)])
def test_nobody_s_missive_is_refused(missive: Missive) -> None:
    with pytest.raises(MalformedPacket, match="nobody"):
        decode_missive(encode_missive(missive))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        missive = decode_missive(data)
    except MalformedPacket:
        return
    assert decode_missive(encode_missive(missive)) == missive


@given(st.binary(max_size=200))
def test_random_bytes_are_never_authentic(data: bytes) -> None:
    with pytest.raises((AuthenticationFailed, MalformedPacket)):
        open_missive(KEY, data)


def test_whatever_was_cut_or_changed_is_refused() -> None:
    sealed = seal_missive(KEY, Missive(b"s" * 16, 1, said=b"said"), Random(1).randbytes)
    forgeries = [sealed[:size] for size in range(len(sealed))]
    forgeries += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    forgeries += [sealed + b"\0"]
    for forged in forgeries:
        with pytest.raises((AuthenticationFailed, MalformedPacket)):
            open_missive(KEY, forged)


def test_what_is_said_isn_t_shown() -> None:
    assert "secret" not in repr(Missive(b"s" * 16, 1, said=b"secret"))
