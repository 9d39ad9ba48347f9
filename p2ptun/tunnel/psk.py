"""One pre-shared key for the handshake out of all that two peers share beside their static keys."""

from __future__ import annotations

import hmac
from enum import Enum

from p2ptun.errors import LocalProtocolError
from p2ptun.noise.handshake import PSK_SIZE

NO_PSK = bytes(PSK_SIZE)  # what WireGuard takes when there is none: the handshake is then as strong as plain IK


class PskSource(Enum):
    """Where a shared secret comes from. The value is its label; both sides mix in the order of this list."""

    CONFIGURED = b"configured"
    PAKE = b"pake"
    ML_KEM_768 = b"ml-kem-768"


def mix_psks(secrets: dict[PskSource, bytes]) -> bytes:
    """Mix the secrets that exist with HKDF (RFC 5869, BLAKE2s); without any the key is all zeros.

    The result is as strong as the strongest of them: each is framed by label and length, so that none can stand in for
    another, and both sides must have the same ones. A single configured key is mixed like any other.

    Raises:
        LocalProtocolError: an empty secret, which would look like protection and be none.
    """
    if not secrets:
        return NO_PSK
    if not all(secrets.values()):
        raise LocalProtocolError("a pre-shared secret is empty")
    material = b"".join(_frame(source, secrets[source]) for source in PskSource if source in secrets)
    extracted = hmac.digest(b"p2ptun/1 psk", material, "blake2s")
    return hmac.digest(extracted, b"p2ptun/1 psk\x01", "blake2s")


def _frame(source: PskSource, secret: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in (source.value, secret))
