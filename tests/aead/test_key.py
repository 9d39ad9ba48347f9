from __future__ import annotations

import gc
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Buffer
from p2ptun.aead.key import Key
from p2ptun.errors import AuthenticationFailed, LocalProtocolError

ALGORITHMS = [algorithm for algorithm in Algorithm if algorithm.is_available]
each = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: str(algorithm.value))


def key_of(algorithm: Algorithm, seed: int = 1) -> Key:
    return Key(algorithm, Random(seed).randbytes(algorithm.key_size))


@each
@given(plaintext=st.binary(max_size=2000), counter=st.integers(0, 2**64 - 1))
def test_round_trip(algorithm: Algorithm, plaintext: bytes, counter: int) -> None:
    sealed = key_of(algorithm).seal(plaintext, counter)
    assert len(sealed) == len(plaintext) + algorithm.tag_size
    assert key_of(algorithm).open(sealed, counter) == plaintext


def test_the_nonce_is_the_counter_as_a_wide_big_endian_number() -> None:
    counter = 0x0102030405060708
    seals = {
        Algorithm.AEGIS_128L: bindings.crypto_aead_aegis128l_encrypt,
        Algorithm.AEGIS_256: bindings.crypto_aead_aegis256_encrypt,
        Algorithm.AES_256_GCM: bindings.crypto_aead_aes256gcm_encrypt,
        Algorithm.CHACHA20_POLY1305: bindings.crypto_aead_chacha20poly1305_ietf_encrypt,
    }
    for algorithm in ALGORITHMS:
        secret = bytes(range(algorithm.key_size))
        nonce = bytes(algorithm.nonce_size - 8) + bytes.fromhex("0102030405060708")
        assert Key(algorithm, secret).seal(b"text", counter) == seals[algorithm](b"text", None, nonce, secret)


@each
def test_truncated_tampered_and_misplaced_datagrams_are_refused(algorithm: Algorithm) -> None:
    key = key_of(algorithm)
    sealed = key.seal(b"some text", 5)
    forgeries = [sealed[:size] for size in range(len(sealed))]
    forgeries += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    forgeries += [sealed + b"\0", b""]
    for forged in forgeries:
        with pytest.raises(AuthenticationFailed):
            key.open(forged, 5)
    for other, counter in ((key, 4), (key, 6), (key_of(algorithm, 2), 5)):
        with pytest.raises(AuthenticationFailed):
            other.open(sealed, counter)
    assert key.open(sealed, 5) == b"some text"


@each
def test_sealing_and_opening_in_the_middle_of_buffers(algorithm: Algorithm) -> None:
    key, tag = key_of(algorithm), algorithm.tag_size
    source, wire, opened = Buffer.of(b"..text.."), Buffer(80), Buffer(20)
    assert key.seal_into(wire, 12, source, 2, 6, 9) == 4 + tag
    assert wire.raw[:12] == bytes(12)
    assert wire.raw[16 + tag :] == bytes(80 - 16 - tag)
    assert key.open_into(opened, 3, wire, 12, 16 + tag, 9) == 4
    assert opened.raw == b"\0\0\0text" + bytes(13)
    assert key.open_into(opened, 3, wire, 12, 16 + tag, 10) == -1
    assert key.open_into(opened, 3, wire, 12, 12 + tag - 1, 9) == -1


@each
def test_sealing_and_opening_in_place(algorithm: Algorithm) -> None:
    key = key_of(algorithm)
    text = Random(5).randbytes(1000)
    buffer = Buffer(1100)
    buffer.raw[20:1020] = text
    size = key.seal_into(buffer, 20, buffer, 20, 1020, 1)
    assert bytes(buffer.raw[20 : 20 + size]) == key.seal(text, 1)
    assert key.open_into(buffer, 20, buffer, 20, 20 + size, 1) == 1000
    assert buffer.raw[20:1020] == text


@each
@pytest.mark.parametrize(
    ("out_at", "start", "end"),
    [(-1, 0, 4), (0, -1, 4), (0, 3, 2), (0, 0, 101), (100, 0, 99), (0, 101, 101)],
)
def test_ranges_outside_a_buffer_write_nothing(algorithm: Algorithm, out_at: int, start: int, end: int) -> None:
    key, out, source = key_of(algorithm), Buffer(100), Buffer(100)
    with pytest.raises(LocalProtocolError, match="can't seal"):
        key.seal_into(out, out_at, source, start, end, 0)
    with pytest.raises(LocalProtocolError, match="can't open"):
        key.open_into(out, out_at, source, start, end, 0)
    assert out.raw == bytes(100)


@each
def test_room_is_measured_to_the_byte(algorithm: Algorithm) -> None:
    key, tag = key_of(algorithm), algorithm.tag_size
    source, tight, short = Buffer(10), Buffer(10 + tag), Buffer(10 + tag - 1)
    assert key.seal_into(tight, 0, source, 0, 10, 0) == 10 + tag
    with pytest.raises(LocalProtocolError, match="can't seal"):
        key.seal_into(short, 0, source, 0, 10, 0)
    assert key.open_into(Buffer(10), 0, tight, 0, 10 + tag, 0) == 10
    with pytest.raises(LocalProtocolError, match="can't open"):
        key.open_into(Buffer(9), 0, tight, 0, 10 + tag, 0)


@each
@pytest.mark.parametrize("change", [-1, 1])
def test_a_key_of_another_size_is_a_bug_of_the_caller(algorithm: Algorithm, change: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"{algorithm.value} takes a key of"):
        Key(algorithm, bytes(algorithm.key_size + change))


@each
def test_a_wiped_key_is_gone(algorithm: Algorithm) -> None:
    key = key_of(algorithm)
    sealed = key.seal(b"text", 0)
    key.wipe()
    key.wipe()
    assert key._raw_key == bytes(algorithm.key_size)
    with pytest.raises(LocalProtocolError, match="wiped"):
        key.seal(b"text", 1)
    with pytest.raises(LocalProtocolError, match="wiped"):
        key.open(sealed, 0)


def test_the_key_is_not_shown() -> None:
    key = Key(Algorithm.AEGIS_128L, b"secret secret 16")
    assert repr(key) == "Key(aegis-128l)"


@each
def test_nothing_stays_allocated_and_nothing_large_is_allocated_per_datagram(algorithm: Algorithm) -> None:
    key, source, wire, opened = key_of(algorithm), Buffer(1400), Buffer(1500), Buffer(1500)

    def datagrams(count: int) -> None:
        for counter in range(count):
            size = key.seal_into(wire, 12, source, 0, 1400, counter)
            assert key.open_into(opened, 0, wire, 12, 12 + size, counter) == 1400

    count = 200
    datagrams(10)
    gc.collect()  # so that nobody else's garbage is freed in between
    tracemalloc.start()
    try:
        datagrams(10)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        datagrams(count)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8 * count  # not even a pointer for each
    assert peak - before < 1400
