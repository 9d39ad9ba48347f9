"""X25519 key pairs, and keys as people write them: WireGuard's base64 of 32 bytes."""

from __future__ import annotations

import base64
import binascii

from p2ptun.errors import ConfigError, LocalProtocolError
from p2ptun.noise.primitive import DH_SIZE, public_key
from p2ptun.types import RandomBytes


class KeyPair:
    """A private key and its public key. The private one is never shown, and can be wiped."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes, public: bytes) -> None:
        """Raises LocalProtocolError unless both have 32 bytes."""
        if len(private) != DH_SIZE or len(public) != DH_SIZE:
            raise LocalProtocolError(f"X25519 keys have {DH_SIZE} bytes")
        self._private = bytearray(private)
        self.public = public

    @classmethod
    def of_private(cls, private: bytes) -> KeyPair:
        """Complete a private key with its public key. Raises LocalProtocolError unless it has 32 bytes."""
        return cls(private, public_key(private) if len(private) == DH_SIZE else b"")

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> KeyPair:
        """Draw a new key pair."""
        return cls.of_private(random_bytes(DH_SIZE))

    @property
    def private(self) -> bytes:
        """A copy of the private key; all zeros after `wipe`."""
        return bytes(self._private)

    def __repr__(self) -> str:
        return f"KeyPair(public={encode_key(self.public)})"

    def wipe(self) -> None:
        """Zero the private key. Copies that were handed out or made inside Python are beyond reach."""
        self._private[:] = bytes(DH_SIZE)


def encode_key(key: bytes) -> str:
    """Write a public, private or pre-shared key as WireGuard does: 44 characters of base64."""
    return base64.b64encode(key).decode("ascii")


def decode_key(text: str, where: str = "", key: str = "key") -> bytes:
    """Read a key in WireGuard's form; white space around it is fine.

    `where` and `key` name the file and the setting in the error, which never quotes the text: it may be a secret.

    Raises:
        ConfigError: If it is no key, in words for the person who wrote it.
    """
    stripped = text.strip()
    try:
        raw = base64.b64decode(stripped.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    # Encoding it again refuses the spellings in which unused bits of the last character differ.
    if len(raw) != DH_SIZE or encode_key(raw) != stripped:
        problem = f"this is no key: a key is {DH_SIZE} bytes in base64, 44 characters that end in ="
        remedy = "Copy it again in full, or make one: `p2ptun genkey`, or `p2ptun genpsk` for a pre-shared key."
        raise ConfigError(where, key, problem, remedy)
    return raw
