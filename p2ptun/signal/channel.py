"""The keys of one session between the two sides of a code, and what is sealed with them.

::

    root        HMAC(transcript, shared secret)
    every key   HMAC(root, label | 1), which is HKDF (RFC 5869) with BLAKE2s and one block of output
    transcript  HASH(label, number of the room, offer's opening, answer's opening), each after its length
    sealed      counter (8) | XChaCha20-Poly1305 with that counter as nonce

Each direction has its own keys, and each purpose. What was sealed in one room, in one direction or as one kind of frame
is unsealed as nothing else.
"""

from __future__ import annotations

import hmac
from typing import Final

from p2ptun.aead import xchacha
from p2ptun.errors import AuthenticationFailed, MalformedPacket
from p2ptun.noise.primitive import hash_of
from p2ptun.signal.conversation import SESSION_ID_SIZE
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import FrameKind

MAC_SIZE: Final = 32
COUNTER_SIZE: Final = 8
SEALING_OVERHEAD: Final = COUNTER_SIZE + xchacha.TAG_SIZE

PROTOCOL: Final = b"p2ptun/1"


def transcript_of(room: int, offer: bytes, answer: bytes) -> bytes:
    """Hash all that was said in clear. Whoever changes any of it on its way changes every key."""
    parts = (room.to_bytes(4, "big"), offer, answer)
    return hash_of(PROTOCOL + b" pairing", *(len(part).to_bytes(4, "big") + part for part in parts))


class Outdated(AuthenticationFailed):
    """Sealed by the other side, but no later than what it said before."""


class Channel:
    """What one side seals and unseals, once both openings are known."""

    def __init__(self, kind: Kind, room: int, transcript: bytes, shared: bytes) -> None:
        theirs = Kind.ANSWER if kind is Kind.OFFER else Kind.OFFER
        self._root = bytearray(hmac.digest(transcript, shared, "blake2s"))
        self._place = PROTOCOL + room.to_bytes(4, "big")
        self._kind, self._theirs = kind, theirs
        self._sealing = bytearray(self.derive(b"seal " + kind.value.encode()))
        self._unsealing = bytearray(self.derive(b"seal " + theirs.value.encode()))
        self._expected = self._mac(theirs)
        self._next = 0
        self._last = -1
        self.session_id = transcript[:SESSION_ID_SIZE]
        self.confirmation = self._mac(kind)

    def is_own_confirmation(self, mac: bytes) -> bool:
        """Tell whether somebody shows us our own proof."""
        return hmac.compare_digest(mac, self.confirmation)

    def is_confirmed_by(self, mac: bytes) -> bool:
        """Tell whether `mac` proves that the other side has the same secret and saw the same openings."""
        return hmac.compare_digest(mac, self._expected)

    def derive(self, label: bytes) -> bytes:
        """Derive 32 bytes for one purpose."""
        return hmac.digest(self._root, PROTOCOL + b" " + label + b"\x01", "blake2s")

    def seal(self, frame: FrameKind, plaintext: bytes) -> bytes:
        """Seal the next thing to tell."""
        counter, self._next = self._next, self._next + 1
        associated = self._associated(self._kind, frame)
        return _counter(counter) + xchacha.seal(bytes(self._sealing), _nonce(counter), associated, plaintext)

    def unseal(self, frame: FrameKind, sealed: bytes) -> bytes:
        """Return what the other side sealed, later than all before. Untrusted; changes nothing when it raises.

        Raises:
            MalformedPacket: If it is too short.
            AuthenticationFailed: If the other side didn't seal it so.
            Outdated: If it did, but no later than what was unsealed before.
        """
        if len(sealed) < SEALING_OVERHEAD:
            raise MalformedPacket(f"{len(sealed)} sealed bytes")
        counter = int.from_bytes(sealed[:COUNTER_SIZE], "big")
        plaintext = xchacha.unseal(
            bytes(self._unsealing), _nonce(counter), self._associated(self._theirs, frame), sealed[COUNTER_SIZE:]
        )
        if counter <= self._last:
            raise Outdated(f"number {counter} after {self._last}")
        self._last = counter
        return plaintext

    def forget_root(self) -> None:
        """Zero what more keys could be derived from. Sealing and unsealing go on."""
        self._root[:] = bytes(len(self._root))

    def wipe(self) -> None:
        """Zero the keys. Copies that were handed out or made inside Python are beyond reach."""
        self.forget_root()
        for key in (self._sealing, self._unsealing):
            key[:] = bytes(len(key))

    def _mac(self, kind: Kind) -> bytes:
        """Compute the proof that one side gives. The transcript is in the key."""
        return self.derive(b"confirm " + kind.value.encode())

    def _associated(self, kind: Kind, frame: FrameKind) -> bytes:
        return self._place + bytes([frame.value]) + kind.value.encode()


def _counter(counter: int) -> bytes:
    return counter.to_bytes(COUNTER_SIZE, "big")


def _nonce(counter: int) -> bytes:
    return _counter(counter).rjust(xchacha.NONCE_SIZE, b"\0")
