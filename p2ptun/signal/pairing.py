"""The conversation of two people who share a code.

::

    opening       commitment (32) | SPAKE2 element (33) | ML-KEM-768 key (1184; of the side that shares, if it can)
    confirmation  proof (32) | sealed: what was committed to (16) | ML-KEM-768 ciphertext (1088; of the side that joins)
    letter        sealed: what is said

Both openings go first, in any order. Then each side knows the keys, if the codes are equal, and sends its confirmation,
and with it, in the same message, what it wants to say. The other side hears it after it has checked the proof. A proof
that doesn't fit ends it: somebody has tried one code, and nobody tries two. So the first opening and the first
confirmation count; others are dropped, and so is whatever the rendezvous repeats, reflects or makes up.

The commitment is for people who compare the verifier. Somebody in between who knew the code would have to fix his part
of both verifiers before he sees ours, so he can't search for two that look the same.

An ML-KEM key is public, and bound by the transcript as all of the openings is. Its ciphertext travels sealed, and the
secret in it stays one when SPAKE2's curve is broken some day. Where one side can't do ML-KEM, both know that from what
was bound or sealed, and do without.
"""

from __future__ import annotations

import hmac
from collections import Counter, deque
from enum import Enum
from typing import Final

from p2ptun.errors import AuthenticationFailed, LocalProtocolError, MalformedPacket, RemoteProtocolError
from p2ptun.noise.primitive import HASH_SIZE, hash_of
from p2ptun.signal.channel import MAC_SIZE, PROTOCOL, SEALING_OVERHEAD, Channel, Outdated, transcript_of
from p2ptun.signal.code import Code, verifier
from p2ptun.signal.conversation import MAX_SAID, Confirmed, ConversationEvent, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import Frame, FrameKind, decode_envelope, encode_envelope
from p2ptun.signal.kem import CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, draw_kem_key, encapsulate
from p2ptun.signal.pake import ELEMENT_SIZE, Pake
from p2ptun.tunnel.psk import PskSource
from p2ptun.types import RandomBytes

MAX_WAITING: Final = 8
"""Letters that wait until the other side is confirmed. An honest rendezvous that reorders brings fewer."""

_NONCE_SIZE: Final = 16
_PLAIN_OPENING: Final = HASH_SIZE + ELEMENT_SIZE
_PLAIN_CONFIRMATION: Final = MAC_SIZE + SEALING_OVERHEAD + _NONCE_SIZE


class DropReason(Enum):
    """Why something that came was dropped."""

    MALFORMED = "malformed"
    REFLECTED = "our own"
    REPEATED = "repeated"
    UNAUTHENTIC = "unauthentic"
    TOO_MANY = "too many before the other side is confirmed"
    OVER = "after the end"


class State(Enum):
    """How far it has come."""

    OPENING = "opening"
    MET = "met"
    CONFIRMED = "confirmed"
    OVER = "over"


class CodeConversation:
    """One side of a room that was opened for a code: `Kind.OFFER` shares it, `Kind.ANSWER` joins.

    Take the events first, say what is to be said, and then take the messages: what is said right after `Met` travels
    with the proof of knowing the code, in one message.

    Attributes:
        dropped: What was dropped, by reason.
    """

    def __init__(self, kind: Kind, code: Code, random_bytes: RandomBytes) -> None:
        self.dropped: Counter[DropReason] = Counter()
        self._kind = kind
        self._room = code.room
        self._state = State.OPENING
        self._pake: Pake | None = Pake(kind, code.password, PROTOCOL + f" room {code.room}".encode(), random_bytes)
        self._kem = draw_kem_key(random_bytes) if kind is Kind.OFFER else None
        self._nonce = random_bytes(_NONCE_SIZE)
        self._opening = _commitment(kind, self._nonce) + self._pake.element + (self._kem.public if self._kem else b"")
        self._their_commitment = b""
        self._channel: Channel | None = None
        self._kem_secret = b""
        self._waiting: list[Frame] = []
        self._outgoing = [Frame(FrameKind.OPENING, self._opening)]
        self._said: bytes | None = None
        self._events: deque[ConversationEvent] = deque()

    def say(self, said: bytes) -> None:
        """Say something in this session; what was said before and hasn't left yet is forgotten. Nothing after the end.

        Raises:
            LocalProtocolError: Before `Met`, or more than `MAX_SAID` bytes.
        """
        if self._state is State.OPENING or len(said) > MAX_SAID:
            raise LocalProtocolError(f"{len(said)} bytes said in the state {self._state.value}")
        if self._state is not State.OVER:
            self._said = said

    def wipe(self) -> None:
        """End it without a word, and forget its keys."""
        self._state = State.OVER
        self._pake = self._kem = None
        self._nonce = self._kem_secret = b""
        self._said = None
        self._outgoing.clear()
        self._waiting.clear()
        if self._channel is not None:
            self._channel.wipe()

    def receive_message(self, message: bytes) -> None:
        """Take what a rendezvous brought. Never raises: what isn't authentic and new is dropped."""
        try:
            frames = decode_envelope(message)
        except MalformedPacket:
            self.dropped[DropReason.MALFORMED] += 1
            return
        for frame in frames:
            self._receive(frame)

    def next_message(self) -> bytes | None:
        """Return the next message for the rendezvous. There is one from the beginning: the opening."""
        frames, self._outgoing = self._outgoing, []
        if self._said is not None and self._channel is not None:
            frames.append(Frame(FrameKind.LETTER, self._channel.seal(FrameKind.LETTER, self._said)))
            self._said = None
        return encode_envelope(frames) if frames else None

    def next_event(self) -> ConversationEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def _receive(self, frame: Frame) -> None:
        """Judge a frame, or keep it until it can be judged."""
        if self._state is State.OVER:
            self.dropped[DropReason.OVER] += 1
        elif len(frame.value) not in _SIZES[frame.kind]:
            self.dropped[DropReason.MALFORMED] += 1
        elif frame.kind is FrameKind.OPENING:
            self._receive_opening(frame.value)
        elif self._channel is None or (frame.kind is FrameKind.LETTER and self._state is not State.CONFIRMED):
            self._keep(frame)
        elif frame.kind is FrameKind.CONFIRMATION:
            self._receive_confirmation(frame.value, self._channel)
        else:
            self._receive_letter(frame.value, self._channel)

    def _receive_opening(self, opening: bytes) -> None:
        """Take the other side's first opening; it is the only one that counts."""
        if opening == self._opening:
            self.dropped[DropReason.REFLECTED] += 1
        elif self._pake is None:
            self.dropped[DropReason.REPEATED] += 1
        else:
            try:
                self._meet(opening, self._pake)
            except RemoteProtocolError:
                self._refuse(RefusalReason.MALFORMED)

    def _meet(self, opening: bytes, pake: Pake) -> None:
        """Make the keys out of both openings. Raises RemoteProtocolError when theirs is no opening of a joiner's."""
        commitment, element, kem_public = _cut(opening, HASH_SIZE, ELEMENT_SIZE)
        if kem_public and self._kind is Kind.OFFER:
            raise MalformedPacket("a joiner's opening with a key")
        shared = pake.finish(element)
        self._kem_secret, ciphertext = (encapsulate(kem_public) if kem_public else None) or (b"", b"")
        offer, answer = (self._opening, opening) if self._kind is Kind.OFFER else (opening, self._opening)
        channel = Channel(self._kind, self._room, transcript_of(self._room, offer, answer), shared)
        self._channel, self._their_commitment, self._pake = channel, commitment, None
        sealed = channel.seal(FrameKind.CONFIRMATION, self._nonce + ciphertext)
        self._outgoing.append(Frame(FrameKind.CONFIRMATION, channel.confirmation + sealed))
        self._state = State.MET
        self._events.append(Met(channel.session_id))
        self._receive_waiting()

    def _keep(self, frame: Frame) -> None:
        """Keep what came too early: the first confirmation, and the latest letters."""
        same = [kept for kept in self._waiting if kept.kind is frame.kind]
        if frame in same:
            self.dropped[DropReason.REPEATED] += 1
            return
        if frame.kind is FrameKind.CONFIRMATION and same:
            self.dropped[DropReason.TOO_MANY] += 1
            return
        if len(same) >= MAX_WAITING:
            self.dropped[DropReason.TOO_MANY] += 1
            self._waiting.remove(same[0])
        self._waiting.append(frame)

    def _receive_waiting(self) -> None:
        """Judge what waited; letters wait on until the confirmation is judged."""
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._receive(frame)

    def _receive_confirmation(self, confirmation: bytes, channel: Channel) -> None:
        """Check the other side's proof: the only one that it gets to give."""
        proof, sealed = _cut(confirmation, MAC_SIZE)
        if self._state is State.CONFIRMED:
            self.dropped[DropReason.REPEATED] += 1
        elif channel.is_own_confirmation(proof):
            self.dropped[DropReason.REFLECTED] += 1
        elif not channel.is_confirmed_by(proof):
            self._refuse(RefusalReason.WRONG_CODE)
        else:
            try:
                self._confirm(channel.unseal(FrameKind.CONFIRMATION, sealed), channel)
            except RemoteProtocolError:
                self._refuse(RefusalReason.MALFORMED)

    def _confirm(self, revealed: bytes, channel: Channel) -> None:
        """Conclude the pairing. Raises RemoteProtocolError when the other side knows the code, but breaks the rules."""
        nonce, ciphertext = _cut(revealed, _NONCE_SIZE)
        theirs = Kind.ANSWER if self._kind is Kind.OFFER else Kind.OFFER
        if not hmac.compare_digest(_commitment(theirs, nonce), self._their_commitment):
            raise AuthenticationFailed("not what was committed to")
        if ciphertext:
            if self._kem is None:
                raise MalformedPacket("a ciphertext for nobody's key")
            self._kem_secret = self._kem.decapsulate(ciphertext)
        nonces = self._nonce + nonce if self._kind is Kind.OFFER else nonce + self._nonce
        self._events.append(_conclusion(channel, nonces, self._kem_secret))
        self._state = State.CONFIRMED
        self._kem, self._kem_secret = None, b""
        channel.forget_root()
        self._receive_waiting()

    def _receive_letter(self, sealed: bytes, channel: Channel) -> None:
        """Hear what the other side says, if it is later than all that was heard."""
        try:
            self._events.append(Heard(channel.unseal(FrameKind.LETTER, sealed)))
        except Outdated:
            self.dropped[DropReason.REPEATED] += 1
        except RemoteProtocolError:
            self.dropped[DropReason.UNAUTHENTIC] += 1

    def _refuse(self, reason: RefusalReason) -> None:
        """End it. Nothing leaves any more, not even our own proof."""
        self.wipe()
        self._events.append(Refused(reason))


_SIZES: Final = {
    FrameKind.OPENING: (_PLAIN_OPENING, _PLAIN_OPENING + PUBLIC_KEY_SIZE),
    FrameKind.CONFIRMATION: (_PLAIN_CONFIRMATION, _PLAIN_CONFIRMATION + CIPHERTEXT_SIZE),
    FrameKind.LETTER: range(SEALING_OVERHEAD, SEALING_OVERHEAD + MAX_SAID + 1),
}
"""How many bytes each kind of frame may have. What has another size is nobody's guess, and none of ours."""


def _commitment(kind: Kind, nonce: bytes) -> bytes:
    return hash_of(PROTOCOL, b" commitment ", kind.value.encode(), nonce)


def _cut(data: bytes, *sizes: int) -> tuple[bytes, ...]:
    """Cut off parts of these sizes, and return them and the rest."""
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return (*parts, data)


def _conclusion(channel: Channel, nonces: bytes, kem_secret: bytes) -> Confirmed:
    """Derive what both sides have from now on."""
    secrets = {PskSource.PAKE: channel.derive(b"psk")}
    if kem_secret:
        secrets[PskSource.ML_KEM_768] = hmac.digest(channel.derive(b"ml-kem-768"), kem_secret, "blake2s")
    words = verifier(hmac.digest(channel.derive(b"verifier"), nonces, "blake2s"))
    return Confirmed(secrets, words, channel.derive(b"standing secret"))
