from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.aead.xchacha import KEY_SIZE, NONCE_SIZE, TAG_SIZE, seal, unseal
from p2ptun.errors import AuthenticationFailed, LocalProtocolError

# draft-irtf-cfrg-xchacha-03 A.3.1
PLAINTEXT = bytes.fromhex(
    "4c616469657320616e642047656e746c656d656e206f662074686520636c6173"
    "73206f66202739393a204966204920636f756c64206f6666657220796f75206f"
    "6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
    "637265656e20776f756c642062652069742e"
)
ASSOCIATED = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
KEY = bytes(range(0x80, 0xA0))
NONCE = bytes(range(0x40, 0x58))
CIPHERTEXT = bytes.fromhex(
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
    "21f9664c97637da9768812f615c68b13b52e"
)
TAG = bytes.fromhex("c0875924c1c7987947deafd8780acf49")


def test_the_draft_s_vector() -> None:
    assert seal(KEY, NONCE, ASSOCIATED, PLAINTEXT) == CIPHERTEXT + TAG
    assert unseal(KEY, NONCE, ASSOCIATED, CIPHERTEXT + TAG) == PLAINTEXT
    assert (len(KEY), len(NONCE), len(TAG)) == (KEY_SIZE, NONCE_SIZE, TAG_SIZE)


@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=24, max_size=24),
    associated=st.binary(max_size=40),
    plaintext=st.binary(max_size=400),
)
def test_round_trip(key: bytes, nonce: bytes, associated: bytes, plaintext: bytes) -> None:
    sealed = seal(key, nonce, associated, plaintext)
    assert len(sealed) == len(plaintext) + TAG_SIZE
    assert unseal(key, nonce, associated, sealed) == plaintext


def test_whatever_was_cut_or_changed_is_refused() -> None:
    sealed = seal(KEY, NONCE, ASSOCIATED, b"some text")
    forgeries = [sealed[:size] for size in range(len(sealed))]
    forgeries += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    forgeries += [sealed + b"\0"]
    for forged in forgeries:
        with pytest.raises(AuthenticationFailed):
            unseal(KEY, NONCE, ASSOCIATED, forged)


@pytest.mark.parametrize(
    ("key", "nonce", "associated"),
    [
        (KEY[::-1], NONCE, ASSOCIATED),
        (KEY, NONCE[::-1], ASSOCIATED),
        (KEY, NONCE, b""),
        (KEY, NONCE, ASSOCIATED + b"\0"),
    ],
)
def test_another_key_nonce_or_purpose_is_refused(key: bytes, nonce: bytes, associated: bytes) -> None:
    sealed = seal(KEY, NONCE, ASSOCIATED, b"some text")
    with pytest.raises(AuthenticationFailed):
        unseal(key, nonce, associated, sealed)


@pytest.mark.parametrize(("key", "nonce"), [(KEY[:-1], NONCE), (KEY, NONCE + b"\0"), (b"", b"")])
def test_keys_and_nonces_of_another_size_are_our_own_mistake(key: bytes, nonce: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        seal(key, nonce, b"", b"")
    with pytest.raises(LocalProtocolError):
        unseal(key, nonce, b"", bytes(20))
