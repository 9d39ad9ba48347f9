"""The AEADs a tunnel may use, and which of them this machine offers."""

from __future__ import annotations

from enum import Enum

from p2ptun.aead import sodium


class Algorithm(Enum):
    """An AEAD by the name that configuration, handshake and status show. All four are libsodium's."""

    AEGIS_128L = "aegis-128l"
    AEGIS_256 = "aegis-256"
    AES_256_GCM = "aes-256-gcm"
    CHACHA20_POLY1305 = "chacha20-poly1305"

    @property
    def primitive(self) -> sodium.Primitive:
        """The functions and sizes, self-tested at first use."""
        return sodium.primitive(_SODIUM_NAMES[self])

    @property
    def key_size(self) -> int:
        """Bytes of a key: 16 for aegis-128l, else 32."""
        return self.primitive.key_size

    @property
    def nonce_size(self) -> int:
        """Bytes of a nonce: 16, 32, 12 and 12."""
        return self.primitive.nonce_size

    @property
    def tag_size(self) -> int:
        """Bytes that sealing adds: 32 with both AEGIS, else 16."""
        return self.primitive.tag_size

    @property
    def is_available(self) -> bool:
        """Whether this machine can compute it at all: AES-256-GCM needs AES instructions."""
        return self is not Algorithm.AES_256_GCM or sodium.has_aes()


_SODIUM_NAMES = {
    Algorithm.AEGIS_128L: "aegis128l",
    Algorithm.AEGIS_256: "aegis256",
    Algorithm.AES_256_GCM: "aes256gcm",
    Algorithm.CHACHA20_POLY1305: "chacha20poly1305_ietf",
}


def available_algorithms() -> tuple[Algorithm, ...]:
    """Return what this machine offers when nothing is configured, best first.

    All of them where there are AES instructions. Elsewhere ChaCha20-Poly1305 alone: AEGIS would work, but many times
    slower, and a peer that prefers it would impose it. Whoever wants it nevertheless configures it by name.
    """
    return tuple(Algorithm) if sodium.has_aes() else (Algorithm.CHACHA20_POLY1305,)
