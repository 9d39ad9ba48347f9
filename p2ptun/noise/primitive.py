"""The functions that the name 25519_ChaChaPoly_BLAKE2s stands for (Noise 4 and 12)."""

from __future__ import annotations

import hmac
from hashlib import blake2s

from nacl import bindings
from nacl.exceptions import CryptoError

from p2ptun.errors import AuthenticationFailed

DH_SIZE = 32  # DHLEN, Noise 12.1
HASH_SIZE = 32  # HASHLEN, Noise 12.7
KEY_SIZE = 32  # Noise 4.2
TAG_SIZE = 16  # Noise 4.2


def public_key(private: bytes | bytearray) -> bytes:
    """Compute the X25519 public key of a private key (RFC 7748 6.1)."""
    public: bytes = bindings.crypto_scalarmult_base(bytes(private))
    return public


def diffie_hellman(private: bytes | bytearray, public: bytes) -> bytes:
    """Compute DH(key pair, public key) with X25519.

    Noise 12.1 leaves it open what to do about an all-zero output; we refuse it, since an honest key never gives it.

    Raises:
        AuthenticationFailed: If `public` is a point of low order or no public key at all.
    """
    if len(public) != DH_SIZE:
        raise AuthenticationFailed(f"a public key of {len(public)} bytes")
    try:
        shared: bytes = bindings.crypto_scalarmult(bytes(private), public)
    except CryptoError:
        raise AuthenticationFailed("a public key of low order") from None
    return shared


def hash_of(*parts: bytes | bytearray) -> bytes:
    """Compute HASH of the concatenated parts: BLAKE2s with 32 bytes of output."""
    state = blake2s()
    for part in parts:
        state.update(part)
    return state.digest()


def hkdf(chaining_key: bytes | bytearray, material: bytes | bytearray, outputs: int) -> list[bytes]:
    """Compute HKDF of Noise 4.3: two or three outputs of 32 bytes each."""
    temporary = hmac.digest(bytes(chaining_key), bytes(material), "blake2s")
    results = [b""]
    for number in range(1, outputs + 1):
        results.append(hmac.digest(temporary, results[-1] + bytes([number]), "blake2s"))
    return results[1:]


def encrypt(key: bytes | bytearray, counter: int, associated: bytes | bytearray, plaintext: bytes) -> bytes:
    """Compute ENCRYPT with ChaCha20-Poly1305 (RFC 8439)."""
    sealed: bytes = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        plaintext, bytes(associated), _nonce(counter), bytes(key)
    )
    return sealed


def decrypt(key: bytes | bytearray, counter: int, associated: bytes | bytearray, ciphertext: bytes) -> bytes:
    """Compute DECRYPT. Raises AuthenticationFailed, also when `ciphertext` is too short to hold a tag."""
    if len(ciphertext) < TAG_SIZE:
        raise AuthenticationFailed("a ciphertext shorter than its tag")
    try:
        plaintext: bytes = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
            ciphertext, bytes(associated), _nonce(counter), bytes(key)
        )
    except CryptoError:
        raise AuthenticationFailed("a handshake tag that doesn't fit") from None
    return plaintext


def _nonce(counter: int) -> bytes:
    """Lay out a nonce: 4 zero bytes, then the counter in 8 bytes little-endian (Noise 12.3)."""
    return bytes(4) + counter.to_bytes(8, "little")
