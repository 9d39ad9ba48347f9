"""One key of one direction: seals and opens datagrams from buffer to buffer.

The nonce is the counter as a big-endian number as wide as the algorithm's nonce, that is 8 bytes big-endian after 4
(chacha20-poly1305, aes-256-gcm), 8 (aegis-128l) or 24 (aegis-256) zero bytes. So its last 8 bytes are the counter just
as it stands on the wire; TLS 1.3 pads its record number in the same way (RFC 8446 5.3). There is no associated
data.
"""

from __future__ import annotations

import struct

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Buffer
from p2ptun.aead.sodium import NULL, pointer_into, wipe
from p2ptun.errors import AuthenticationFailed, LocalProtocolError

_COUNTER = struct.Struct(">Q")


class Key:
    """A secret key and a preallocated nonce.

    Sealing never checks that a counter is fresh: its owner counts, and stops at 2^64 - 2^13. One key serves one thread
    at a time, for the nonce is written in place. `seal_into` and `open_into` allocate nothing but two small pointers.

    Source and destination may be the same bytes (same buffer, same start); otherwise they must not overlap.
    """

    __slots__ = ("_decrypt", "_encrypt", "_key", "_nonce", "_raw_key", "_raw_nonce", "_tag_size", "algorithm")

    def __init__(self, algorithm: Algorithm, key: bytes | bytearray) -> None:
        """Copy `key` in. Raises LocalProtocolError unless it has `algorithm.key_size` bytes."""
        primitive = algorithm.primitive
        if len(key) != primitive.key_size:
            raise LocalProtocolError(f"{algorithm.value} takes a key of {primitive.key_size} bytes, not {len(key)}")
        self.algorithm = algorithm
        self._encrypt = primitive.encrypt
        self._decrypt = primitive.decrypt
        self._tag_size = primitive.tag_size
        self._raw_key = bytearray(key)
        self._key = pointer_into(self._raw_key)
        self._raw_nonce = bytearray(primitive.nonce_size)
        self._nonce = pointer_into(self._raw_nonce)

    def __repr__(self) -> str:
        return f"Key({self.algorithm.value})"

    def seal_into(self, out: Buffer, out_at: int, source: Buffer, start: int, end: int, counter: int) -> int:
        """Seal `source[start:end]` to `out` at `out_at`; return how many bytes were written, the tag included.

        Raises:
            LocalProtocolError: If a range lies outside its buffer, before anything is written.
        """
        size = end - start
        written = size + self._tag_size
        if not (0 <= start <= end <= source.size and 0 <= out_at <= out.size - written):
            raise LocalProtocolError(f"can't seal {start}..{end} of {source.size} to {out_at} of {out.size} bytes")
        _COUNTER.pack_into(self._raw_nonce, len(self._raw_nonce) - 8, counter)
        self._encrypt(out.pointer + out_at, NULL, source.pointer + start, size, NULL, 0, NULL, self._nonce, self._key)
        return written

    def open_into(self, out: Buffer, out_at: int, source: Buffer, start: int, end: int, counter: int) -> int:
        """Open `source[start:end]` to `out` at `out_at`; return the size of the plaintext, or -1: not authentic.

        After -1 the bytes at `out_at` mean nothing. Too short to hold a tag is not authentic either.

        Raises:
            LocalProtocolError: If a range lies outside its buffer, before anything is written.
        """
        size = end - start - self._tag_size
        if not (0 <= start <= end <= source.size and 0 <= out_at <= out.size - size):
            raise LocalProtocolError(f"can't open {start}..{end} of {source.size} to {out_at} of {out.size} bytes")
        if size < 0:
            return -1
        _COUNTER.pack_into(self._raw_nonce, len(self._raw_nonce) - 8, counter)
        refused = self._decrypt(
            out.pointer + out_at, NULL, NULL, source.pointer + start, end - start, NULL, 0, self._nonce, self._key
        )
        return -1 if refused else size

    def seal(self, plaintext: bytes, counter: int) -> bytes:
        """Seal bytes to bytes: convenient, but it allocates."""
        out = Buffer(len(plaintext) + self._tag_size)
        self.seal_into(out, 0, Buffer.of(plaintext), 0, len(plaintext), counter)
        return bytes(out.raw)

    def open(self, ciphertext: bytes, counter: int) -> bytes:
        """Open bytes to bytes. Raises AuthenticationFailed."""
        out = Buffer(len(ciphertext))
        size = self.open_into(out, 0, Buffer.of(ciphertext), 0, len(ciphertext), counter)
        if size < 0:
            raise AuthenticationFailed("the datagram's tag doesn't fit")
        return bytes(out.view[:size])

    def wipe(self) -> None:
        """Zero the key; whoever uses it afterwards gets LocalProtocolError. Harmless twice."""
        wipe(self._raw_key)
        self._encrypt = self._decrypt = _refuse


def _refuse(*_: object) -> int:
    raise LocalProtocolError("the key was wiped")
