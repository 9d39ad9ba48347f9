"""XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), for what a rendezvous carries.

Its nonces have 24 bytes: so many that they may be drawn at random for as long as a key lives, by a machine that
remembers nothing. Few messages take this way, so it goes through `nacl.bindings`, which copies.
"""

from __future__ import annotations

from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from p2ptun.errors import AuthenticationFailed, LocalProtocolError

KEY_SIZE: Final = 32  # draft-irtf-cfrg-xchacha-03 2.3
NONCE_SIZE: Final = 24
TAG_SIZE: Final = 16


def seal(key: bytes, nonce: bytes, associated: bytes, plaintext: bytes) -> bytes:
    """Encrypt `plaintext`, and authenticate it and `associated`; return the ciphertext and then the tag.

    Whoever calls it sees to it that no nonce occurs twice under one key.

    Raises:
        LocalProtocolError: If key or nonce have another size than `KEY_SIZE` and `NONCE_SIZE`.
    """
    _check_sizes(key, nonce)
    sealed: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)
    return sealed


def unseal(key: bytes, nonce: bytes, associated: bytes, sealed: bytes) -> bytes:
    """Return what `seal` was given, with the same key, nonce and associated data. `sealed` is untrusted.

    Raises:
        AuthenticationFailed: If anything of it is another, also when `sealed` is too short to hold a tag.
        LocalProtocolError: If key or nonce have another size than `KEY_SIZE` and `NONCE_SIZE`.
    """
    _check_sizes(key, nonce)
    if len(sealed) < TAG_SIZE:
        raise AuthenticationFailed("a sealed message shorter than its tag")
    try:
        plaintext: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except CryptoError:
        raise AuthenticationFailed("a sealed message's tag doesn't fit") from None
    return plaintext


def _check_sizes(key: bytes, nonce: bytes) -> None:
    if len(key) != KEY_SIZE or len(nonce) != NONCE_SIZE:
        raise LocalProtocolError(
            f"XChaCha20-Poly1305 takes a key of {KEY_SIZE} bytes and a nonce of {NONCE_SIZE}, "
            f"not {len(key)} and {len(nonce)}"
        )
