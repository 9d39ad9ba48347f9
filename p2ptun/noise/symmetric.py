"""CipherState and SymmetricState (Noise 5.1 and 5.2), with the specification's names."""

from __future__ import annotations

from p2ptun.errors import LocalProtocolError
from p2ptun.noise.primitive import HASH_SIZE, decrypt, encrypt, hash_of, hkdf

MAX_NONCE = 2**64 - 1  # reserved, Noise 5.1


class CipherState:
    """A key and a nonce that counts; without a key it passes everything through."""

    __slots__ = ("k", "n")

    def __init__(self, key: bytes = b"") -> None:
        """Do InitializeKey; an empty `key` is the specification's `empty`."""
        self.k = bytearray(key)
        self.n = 0

    def __repr__(self) -> str:
        return f"CipherState({'keyed' if self.has_key() else 'empty'}, n={self.n})"

    def copy(self) -> CipherState:
        """Return an independent copy."""
        twin = CipherState(bytes(self.k))
        twin.n = self.n
        return twin

    def has_key(self) -> bool:
        """Tell whether InitializeKey was done with a key, and no `wipe` since."""
        return bool(self.k)

    def encrypt_with_ad(self, associated: bytes | bytearray, plaintext: bytes) -> bytes:
        """Seal `plaintext` and count. Raises LocalProtocolError when the nonces are used up."""
        if not self.has_key():
            return plaintext
        self._refuse_exhausted()
        sealed = encrypt(self.k, self.n, associated, plaintext)
        self.n += 1
        return sealed

    def decrypt_with_ad(self, associated: bytes | bytearray, ciphertext: bytes) -> bytes:
        """Open `ciphertext` and count. Raises AuthenticationFailed, and then doesn't count."""
        if not self.has_key():
            return ciphertext
        self._refuse_exhausted()
        plaintext = decrypt(self.k, self.n, associated, ciphertext)
        self.n += 1
        return plaintext

    def wipe(self) -> None:
        """Zero the key and forget it."""
        self.k[:] = bytes(len(self.k))
        self.k.clear()

    def _refuse_exhausted(self) -> None:
        if self.n >= MAX_NONCE:
            raise LocalProtocolError("the nonces of this key are used up")


class SymmetricState:
    """The chaining key, the transcript hash and the handshake's current cipher."""

    __slots__ = ("_cipher", "ck", "h")

    def __init__(self, protocol_name: bytes) -> None:
        """Do InitializeSymmetric: a name no longer than a hash is padded, a longer one hashed."""
        self.h = protocol_name.ljust(HASH_SIZE, b"\0") if len(protocol_name) <= HASH_SIZE else hash_of(protocol_name)
        self.ck = bytearray(self.h)
        self._cipher = CipherState()

    def __repr__(self) -> str:
        return f"SymmetricState(h={self.h.hex()})"

    def copy(self) -> SymmetricState:
        """Return an independent copy: a message is read on a copy, so that a forged one changes nothing."""
        twin = SymmetricState(b"")
        twin.h = self.h
        twin.ck[:] = self.ck
        twin._cipher = self._cipher.copy()
        return twin

    def has_key(self) -> bool:
        """Tell whether what is sealed now is encrypted."""
        return self._cipher.has_key()

    def mix_key(self, material: bytes) -> None:
        """Mix secret `material` into the chaining key, and take a cipher key out of it."""
        self.ck[:], key = hkdf(self.ck, material, 2)
        self._initialize_key(key)

    def mix_hash(self, data: bytes) -> None:
        """Add what was sent or received to the transcript."""
        self.h = hash_of(self.h, data)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Mix a pre-shared key into the chaining key, the cipher key and the transcript (Noise 9.1)."""
        self.ck[:], mixed, key = hkdf(self.ck, material, 3)
        self.mix_hash(mixed)
        self._initialize_key(key)

    def get_handshake_hash(self) -> bytes:
        """Return the hash of the transcript, which both sides share and anybody may know (Noise 11.2)."""
        return self.h

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Seal `plaintext`, bound to the transcript so far; without a key it stays as it is."""
        ciphertext = self._cipher.encrypt_with_ad(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Open `ciphertext`, bound to the transcript so far. Raises AuthenticationFailed."""
        plaintext = self._cipher.decrypt_with_ad(self.h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the two transport ciphers: initiator to responder, responder to initiator."""
        first, second = hkdf(self.ck, b"", 2)
        return CipherState(first), CipherState(second)

    def derive(self, label: bytes, size: int) -> bytes:
        """Derive up to 32 more secret bytes from the chaining key, apart from `split`'s and from other labels'.

        Raises:
            LocalProtocolError: For an empty label (that is `split`) or too large a size.
        """
        if not label or not 0 < size <= HASH_SIZE:
            raise LocalProtocolError(f"deriving takes a label and 1 to {HASH_SIZE} bytes")
        return hkdf(self.ck, label, 2)[0][:size]

    def wipe(self) -> None:
        """Zero the chaining key and the cipher's key. The transcript hash isn't secret."""
        self.ck[:] = bytes(len(self.ck))
        self._cipher.wipe()

    def _initialize_key(self, key: bytes) -> None:
        self._cipher.wipe()
        self._cipher = CipherState(key)
