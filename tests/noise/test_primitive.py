from __future__ import annotations

import pytest

from p2ptun.errors import AuthenticationFailed
from p2ptun.noise.primitive import decrypt, diffie_hellman, encrypt, hash_of, hkdf, public_key

# RFC 7748 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

# The points of small order of Curve25519, and their non-canonical spellings.
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def test_x25519_vectors() -> None:
    assert public_key(ALICE) == ALICE_PUBLIC
    assert public_key(bytearray(BOB)) == BOB_PUBLIC
    assert diffie_hellman(ALICE, BOB_PUBLIC) == diffie_hellman(bytearray(BOB), ALICE_PUBLIC) == SHARED


@pytest.mark.parametrize("point", LOW_ORDER)
def test_points_of_low_order_are_refused(point: str) -> None:
    with pytest.raises(AuthenticationFailed, match="low order"):
        diffie_hellman(ALICE, bytes.fromhex(point))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_has_32_bytes(size: int) -> None:
    with pytest.raises(AuthenticationFailed, match=f"of {size} bytes"):
        diffie_hellman(ALICE, b"\x09" * size)


def test_blake2s_vector() -> None:
    # RFC 7693 appendix B
    expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    assert hash_of(b"abc").hex() == hash_of(b"a", bytearray(b"bc")).hex() == expected


def test_hkdf_chains_its_outputs() -> None:
    two, three = hkdf(b"\x01" * 32, b"material", 2), hkdf(b"\x01" * 32, b"material", 3)
    assert three[:2] == two
    assert len(set(three)) == 3
    assert {len(output) for output in three} == {32}


def test_sealing_and_opening() -> None:
    key = bytes(range(32))
    sealed = encrypt(key, 5, b"ad", b"text")
    assert len(sealed) == 4 + 16
    assert decrypt(bytearray(key), 5, bytearray(b"ad"), sealed) == b"text"
    for counter, associated, data in ((6, b"ad", sealed), (5, b"da", sealed), (5, b"ad", sealed[:-1] + b"\0")):
        with pytest.raises(AuthenticationFailed, match="doesn't fit"):
            decrypt(key, counter, associated, data)


@pytest.mark.parametrize("size", range(16))
def test_what_is_too_short_for_a_tag_is_not_authentic(size: int) -> None:
    with pytest.raises(AuthenticationFailed, match="shorter than its tag"):
        decrypt(bytes(32), 0, b"", bytes(size))
