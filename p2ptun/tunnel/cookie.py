"""mac1, mac2 and cookies: what a flood of initiations has to pay (WireGuard's whitepaper, sections 5.3 and 5.4.4).

mac1 is keyed by the receiver's public key: whoever doesn't know it costs us one BLAKE2s instead of three X25519. Under
load an initiation must also carry mac2, keyed by a cookie that we sent to its source: whoever can't receive there costs
one BLAKE2s, too, and a reply that is smaller than what it sent. The source is an opaque token of our owner; where it
gives none, no cookie is sent and what is too much is dropped.

    mac1   = BLAKE2s(key H("mac1" | public key of the receiver), all bytes before mac1)
    mac2   = BLAKE2s(key cookie, all bytes before mac2); zeros without a cookie
    cookie = BLAKE2s(key secret of two minutes, source)
    reply  = nonce | ChaCha20-Poly1305(key BLAKE2s(key H("cookie" | public key), nonce), cookie, mac1 of the initiation)
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2s

from p2ptun.errors import AuthenticationFailed
from p2ptun.noise.primitive import decrypt, encrypt, hash_of
from p2ptun.tunnel.wire import MAC_SIZE, NONCE_SIZE, CookieReply, Initiation
from p2ptun.types import RandomBytes

SECRET_LIFETIME = 120.0
COOKIE_LIFETIME = 115.0  # the sender of one stops a little before we stop accepting it
NO_MAC = bytes(MAC_SIZE)


def mac_of(key: bytes, data: bytes) -> bytes:
    """Compute a MAC of 16 bytes with keyed BLAKE2s."""
    return blake2s(data, key=key, digest_size=MAC_SIZE).digest()


def mac1_key(public: bytes) -> bytes:
    """Derive the key of mac1 from the public key of whoever receives it."""
    return hash_of(b"p2ptun/1 mac1", public)


def _sealing_key(public: bytes, nonce: bytes) -> bytes:
    return blake2s(nonce, key=hash_of(b"p2ptun/1 cookie", public)).digest()


class CookieIssuer:
    """The responder's side: makes cookies and checks mac2 without remembering anybody."""

    def __init__(self, public: bytes, random_bytes: RandomBytes) -> None:
        self._public = public
        self._random_bytes = random_bytes
        self._secret = b""
        self._secret_until = 0.0

    def reply(self, initiation: Initiation, source: bytes, now: float) -> CookieReply:
        """Build the 0xD3 that tells `source` its cookie; nobody who hasn't seen the initiation can read it."""
        nonce = self._random_bytes(NONCE_SIZE)
        sealed = encrypt(_sealing_key(self._public, nonce), 0, initiation.mac1, self._cookie(source, now))
        return CookieReply(initiation.sender, nonce, sealed)

    def has_valid_mac2(self, initiation: Initiation, source: bytes, now: float) -> bool:
        """Tell whether the initiation's sender got our cookie at `source`."""
        expected = mac_of(self._cookie(source, now), initiation.body + initiation.mac1)
        return hmac.compare_digest(expected, initiation.mac2)

    def _cookie(self, source: bytes, now: float) -> bytes:
        if now >= self._secret_until:
            self._secret = self._random_bytes(32)
            self._secret_until = now + SECRET_LIFETIME
        return mac_of(self._secret, source)


@dataclass(frozen=True, slots=True)
class _Cookie:
    value: bytes
    until: float


class Stamp:
    """The initiator's side: puts mac1, and mac2 while it has a cookie, behind handshake messages."""

    def __init__(self, remote_public: bytes) -> None:
        self._remote_public = remote_public
        self._key = mac1_key(remote_public)
        self._last_mac1 = b""
        self._cookie: _Cookie | None = None

    def initiation(self, body: bytes, now: float) -> bytes:
        """Complete an initiation, and remember its mac1 for a cookie reply."""
        self._last_mac1 = mac_of(self._key, body)
        stamped = body + self._last_mac1
        if self._cookie is None or now >= self._cookie.until:
            return stamped + NO_MAC
        return stamped + mac_of(self._cookie.value, stamped)

    def response(self, body: bytes) -> bytes:
        """Complete a response."""
        return body + mac_of(self._key, body)

    def accept(self, reply: CookieReply, now: float) -> None:
        """Take the cookie out of a reply to our last initiation; the next one will carry it.

        Raises:
            AuthenticationFailed: it answers another initiation, or was made up by somebody who hasn't seen ours.
        """
        if not self._last_mac1:
            raise AuthenticationFailed("a cookie that nobody asked for")
        cookie = decrypt(_sealing_key(self._remote_public, reply.nonce), 0, self._last_mac1, reply.sealed)
        self._last_mac1 = b""  # one reply for each initiation
        self._cookie = _Cookie(cookie, now + COOKIE_LIFETIME)
