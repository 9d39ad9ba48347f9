from __future__ import annotations

import pytest

from p2ptun.errors import AuthenticationFailed, LocalProtocolError
from p2ptun.noise.symmetric import MAX_NONCE, CipherState, SymmetricState

KEY = bytes(range(32))


def test_a_cipher_without_a_key_passes_everything_through() -> None:
    cipher = CipherState()
    assert not cipher.has_key()
    assert cipher.encrypt_with_ad(b"ad", b"text") == b"text"
    assert cipher.decrypt_with_ad(b"ad", b"text") == b"text"
    assert cipher.n == 0
    assert repr(cipher) == "CipherState(empty, n=0)"


def test_nonces_count_up_and_a_forgery_does_not_count() -> None:
    sender, receiver = CipherState(KEY), CipherState(KEY)
    first, second = (sender.encrypt_with_ad(b"ad", b"text") for _ in range(2))
    assert first != second
    with pytest.raises(AuthenticationFailed):
        receiver.decrypt_with_ad(b"ad", second)
    assert receiver.n == 0
    assert receiver.decrypt_with_ad(b"ad", first) == b"text"
    assert receiver.decrypt_with_ad(b"ad", second) == b"text"
    assert repr(receiver) == "CipherState(keyed, n=2)"


def test_associated_data_is_authenticated() -> None:
    with pytest.raises(AuthenticationFailed):
        CipherState(KEY).decrypt_with_ad(b"other", CipherState(KEY).encrypt_with_ad(b"ad", b"text"))


def test_the_last_nonce_is_reserved() -> None:
    cipher = CipherState(KEY)
    cipher.n = MAX_NONCE - 1
    cipher.encrypt_with_ad(b"", b"last")
    for use in (cipher.encrypt_with_ad, cipher.decrypt_with_ad):
        with pytest.raises(LocalProtocolError, match="used up"):
            use(b"", bytes(16))


def test_a_wiped_cipher_has_no_key() -> None:
    cipher = CipherState(KEY)
    key = cipher.k
    cipher.wipe()
    assert not cipher.has_key()
    assert not key


def test_a_name_that_fits_is_padded_and_a_longer_one_hashed() -> None:
    assert SymmetricState(b"Noise_XX").h == b"Noise_XX" + bytes(24)
    long = SymmetricState(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    # BLAKE2s of the name, as WireGuard's construction hash is published.
    assert long.h.hex() == "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"
    assert bytes(long.ck) == long.h


def test_a_copy_is_independent() -> None:
    state = SymmetricState(b"name")
    state.mix_key(b"material")
    twin = state.copy()
    assert (twin.h, twin.ck) == (state.h, state.ck)
    ciphertext = state.encrypt_and_hash(b"text")
    assert twin.h != state.h
    assert twin.decrypt_and_hash(ciphertext) == b"text"
    assert twin.get_handshake_hash() == state.get_handshake_hash()
    twin.wipe()
    assert bytes(twin.ck) == bytes(32)
    assert bytes(state.ck) != bytes(32)
    assert state.has_key()
    assert not twin.has_key()


def test_mixing_order_and_material_matter() -> None:
    results = set()
    for order in ((b"a", b"b"), (b"b", b"a"), (b"a", b"a")):
        state = SymmetricState(b"name")
        state.mix_key(order[0])
        state.mix_key_and_hash(order[1])
        results.add((state.h, bytes(state.ck), *(bytes(cipher.k) for cipher in state.split())))
        assert repr(state) == f"SymmetricState(h={state.h.hex()})"
    assert len(results) == 3
