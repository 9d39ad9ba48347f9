"""The seals of a message and the keys behind them (RFC 8489 9.1.1, 9.2.2, 14.5 to 14.7).

A MAC covers the message up to its own attribute, with the header's length set to the end of that attribute, whatever
follows. So MESSAGE-INTEGRITY doesn't cover MESSAGE-INTEGRITY-SHA256, and neither covers FINGERPRINT.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from dataclasses import dataclass, field
from enum import Enum, Flag
from typing import TYPE_CHECKING, Final

from p2ptun.stun.precis import opaque_string

if TYPE_CHECKING:
    from p2ptun.stun.message import Message

FINGERPRINT_XOR: Final = 0x5354554E  # RFC 8489 14.7
SHA256_LENGTH: Final = 32


class IntegrityAlgorithm(Flag):
    """How messages are sealed. A set: `HMAC_SHA1 | HMAC_SHA256` is both."""

    HMAC_SHA1 = 1
    HMAC_SHA256 = 2


HMAC_SHA1: Final = IntegrityAlgorithm.HMAC_SHA1
HMAC_SHA256: Final = IntegrityAlgorithm.HMAC_SHA256
NO_INTEGRITY: Final = IntegrityAlgorithm(0)


class KeyAlgorithm(Enum):
    """How a long-term key is derived: the numbers of PASSWORD-ALGORITHM (RFC 8489 18.5)."""

    MD5 = 1
    SHA256 = 2


@dataclass(frozen=True, slots=True)
class Integrity:
    """What to seal a message with. Both algorithms at once suit a first request to who knows which (RFC 8489 9.1.2)."""

    algorithm: IntegrityAlgorithm
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mac:
    """A seal found in a received message: `at` is the offset of its attribute's header."""

    algorithm: IntegrityAlgorithm
    at: int
    value: bytes


def short_term_key(password: str) -> bytes:
    """Derive the key of a short-term credential, such as an ICE password (RFC 8489 9.1.1).

    Raises:
        ConfigError: the password isn't an OpaqueString.
    """
    return opaque_string(password, "password").encode()


def long_term_key(username: str, realm: str, password: str, algorithm: KeyAlgorithm = KeyAlgorithm.MD5) -> bytes:
    """Derive the key of a long-term credential (RFC 8489 18.5.1): a hash of `username:realm:password`.

    Raises:
        ConfigError: one of the three isn't an OpaqueString.
    """
    parts = (
        opaque_string(username, "user name"),
        opaque_string(realm, "realm"),
        opaque_string(password, "password"),
    )
    joined = ":".join(parts).encode()
    if algorithm is KeyAlgorithm.SHA256:
        return hashlib.sha256(joined).digest()
    return hashlib.md5(joined, usedforsecurity=False).digest()  # what RFC 8489 18.5.1.1 prescribes


def userhash(username: str, realm: str) -> bytes:
    """Hash a user name for USERHASH, so that it isn't readable on the way (RFC 8489 14.4).

    Raises:
        ConfigError: one of the two isn't an OpaqueString.
    """
    return hashlib.sha256(f"{opaque_string(username, 'user name')}:{opaque_string(realm, 'realm')}".encode()).digest()


def compute_mac(covered: bytes, algorithm: IntegrityAlgorithm, key: bytes, length: int | None = None) -> bytes:
    """Compute the MAC over `covered`: the header and all attributes before the seal.

    `length` is the number of bytes that the seal keeps of it; None keeps all.
    """
    digest, full = ("sha1", 20) if algorithm is HMAC_SHA1 else ("sha256", SHA256_LENGTH)
    kept = full if length is None else length
    body_length = len(covered) - 20 + 4 + kept
    adjusted = covered[:2] + body_length.to_bytes(2, "big") + covered[4:]
    return hmac.digest(key, adjusted, digest)[:kept]


def compute_fingerprint(covered: bytes | bytearray) -> int:
    """Compute FINGERPRINT over `covered`: all before it, the header's length already that of the whole message."""
    return zlib.crc32(covered) ^ FINGERPRINT_XOR


def has_integrity(message: Message) -> bool:
    """Tell whether a received message carries a seal of either kind, good or bad."""
    return bool(message.macs)


def verify_integrity(
    message: Message,
    key: bytes,
    accepted: IntegrityAlgorithm = HMAC_SHA1 | HMAC_SHA256,
    shortest: int = SHA256_LENGTH,
) -> bool:
    """Tell whether a received message was sealed with `key`, in constant time.

    Only the algorithms in `accepted` count; of these MESSAGE-INTEGRITY-SHA256 alone decides when it is there
    (RFC 8489 9.1.3, 9.2.4). A truncated one is too weak unless the STUN usage allows it by a `shortest` under 32
    bytes; nobody may go under 16 (14.6).
    """
    usable = [mac for mac in message.macs if mac.algorithm in accepted]
    if not usable:
        return False
    mac = usable[-1]  # MESSAGE-INTEGRITY-SHA256 is the later one whenever both are there
    if mac.algorithm is HMAC_SHA256 and len(mac.value) < shortest:
        return False
    expected = compute_mac(message.raw[: mac.at], mac.algorithm, key, len(mac.value))
    return hmac.compare_digest(expected, mac.value)
