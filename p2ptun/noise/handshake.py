"""HandshakeState (Noise 5.3): writes and reads the messages of one handshake."""

from __future__ import annotations

from collections.abc import Sequence

from p2ptun.errors import AuthenticationFailed, LocalProtocolError, MalformedPacket, RemoteProtocolError
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.pattern import Pattern, Token
from p2ptun.noise.primitive import DH_SIZE, TAG_SIZE, diffie_hellman
from p2ptun.noise.symmetric import CipherState, SymmetricState

MAX_MESSAGE_SIZE = 65535  # Noise 3
PSK_SIZE = 32  # Noise 9.1


class HandshakeState:
    """One handshake on one side. The two sides write and read in turn until `is_finished`, then `split`.

    Variables are called as in the specification: `s` and `e` are our static and ephemeral key pairs, `rs` and `re` the
    remote public keys, empty until they are known. An `rs` that is given though the pattern transmits it is a pin: a
    message from any other static key fails as a forged one does.

    The ephemeral key is given, never drawn: this file is free of randomness. Whoever builds a handshake draws a fresh
    one for it, and `wipe` zeroes it.

    `read_message` is all or nothing: a message that is malformed or forged raises and changes nothing, so the handshake
    still takes the true one afterwards.
    """

    __slots__ = ("_e", "_initiator", "_next_message", "_pattern", "_psk", "_s", "_symmetric", "re", "rs")

    def __init__(
        self,
        pattern: Pattern,
        initiator: bool,
        prologue: bytes,
        *,
        s: KeyPair,
        rs: bytes | None = None,
        psks: Sequence[bytes] = (),
        e: KeyPair,
    ) -> None:
        """Do Initialize.

        Raises:
            LocalProtocolError: If `rs` or the pre-shared key doesn't fit the pattern.
        """
        self._pattern = pattern
        self._initiator = initiator
        self._s = s
        self._e = e
        self.rs = rs or b""
        self.re = b""
        self._psk = bytearray(b"".join(psks))
        self._next_message = 0
        self._refuse_wrong_keys([len(psk) for psk in psks])
        self._symmetric = SymmetricState(pattern.protocol_name)
        self._symmetric.mix_hash(prologue)
        if pattern.responder_is_known:
            self._symmetric.mix_hash(self.rs if initiator else s.public)

    def __repr__(self) -> str:
        side = "initiator" if self._initiator else "responder"
        return f"HandshakeState({self._pattern.name}, {side}, message {self._next_message})"

    @property
    def is_finished(self) -> bool:
        """Whether every message was written or read."""
        return self._next_message == len(self._pattern.messages)

    @property
    def is_our_turn(self) -> bool:
        """Whether `write_message` is next, not `read_message`."""
        return not self.is_finished and (self._next_message % 2 == 0) == self._initiator

    @property
    def handshake_hash(self) -> bytes:
        """The hash of the transcript so far: the same on both sides, and public (Noise 11.2)."""
        return self._symmetric.get_handshake_hash()

    def write_message(self, payload: bytes = b"") -> bytes:
        """Write the next message with `payload` inside.

        Raises:
            LocalProtocolError: Out of turn or above 65535 bytes.
            AuthenticationFailed: If a key of the remote side has low order.
        """
        if not self.is_our_turn:
            raise LocalProtocolError(f"{self!r} has nothing to write")
        symmetric = self._symmetric.copy()
        parts = [self._write_token(token, symmetric) for token in self._pattern.messages[self._next_message]]
        message = b"".join([*parts, symmetric.encrypt_and_hash(payload)])
        if len(message) > MAX_MESSAGE_SIZE:
            raise LocalProtocolError(f"a handshake message of {len(message)} bytes is too long")
        self._advance(symmetric)
        return message

    def read_message(self, message: bytes) -> bytes:
        """Read the next message and return its payload. Untrusted.

        Raises:
            MalformedPacket: If it is too short or too long.
            AuthenticationFailed: If a tag or key doesn't fit.
            LocalProtocolError: Out of turn.
        """
        if self.is_our_turn or self.is_finished:
            raise LocalProtocolError(f"{self!r} has nothing to read")
        if len(message) > MAX_MESSAGE_SIZE:
            raise MalformedPacket("a handshake message above 65535 bytes")
        symmetric = self._symmetric.copy()
        known = self.rs, self.re
        rest = bytes(message)
        try:
            for token in self._pattern.messages[self._next_message]:
                rest = self._read_token(token, symmetric, rest)
            payload = symmetric.decrypt_and_hash(_enough(rest, TAG_SIZE if symmetric.has_key() else 0))
        except RemoteProtocolError:
            self.rs, self.re = known
            symmetric.wipe()
            raise
        self._advance(symmetric)
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the transport ciphers, initiator to responder and back. Raises LocalProtocolError before the end."""
        self._refuse_unfinished()
        return self._symmetric.split()

    def derive(self, label: bytes, size: int) -> bytes:
        """Derive up to 32 secret bytes that both sides share, one value per label.

        This is for keys of another algorithm than the handshake's; `split` and every label are independent.

        Raises:
            LocalProtocolError: Before the end, or for an empty label or a wrong size.
        """
        self._refuse_unfinished()
        return self._symmetric.derive(label, size)

    def wipe(self) -> None:
        """Zero the ephemeral key, the pre-shared keys and the chaining key. The static key pair is its owner's."""
        self._symmetric.wipe()
        self._psk[:] = bytes(len(self._psk))
        self._e.wipe()

    def _refuse_wrong_keys(self, psk_sizes: list[int]) -> None:
        pattern = self._pattern
        if len(self.rs) != DH_SIZE and (self.rs or (self._initiator and pattern.responder_is_known)):
            raise LocalProtocolError(f"{pattern.name} takes a remote static key of {DH_SIZE} bytes")
        if psk_sizes != [PSK_SIZE] * pattern.psk_count:
            raise LocalProtocolError(f"{pattern.name} takes {pattern.psk_count} pre-shared keys of {PSK_SIZE} bytes")

    def _refuse_unfinished(self) -> None:
        if not self.is_finished:
            raise LocalProtocolError(f"{self!r} isn't finished")

    def _advance(self, symmetric: SymmetricState) -> None:
        self._symmetric.wipe()
        self._symmetric = symmetric
        self._next_message += 1

    def _write_token(self, token: Token, symmetric: SymmetricState) -> bytes:
        match token:
            case Token.E:
                self._mix_ephemeral(symmetric, self._e.public)
                return self._e.public
            case Token.S:
                return symmetric.encrypt_and_hash(self._s.public)
            case Token.PSK:
                symmetric.mix_key_and_hash(bytes(self._psk))
            case _:
                self._mix_dh(token, symmetric)
        return b""

    def _read_token(self, token: Token, symmetric: SymmetricState, message: bytes) -> bytes:
        """Take what `token` stands for from the front of `message`; return the rest."""
        match token:
            case Token.E:
                self.re = _enough(message, DH_SIZE)[:DH_SIZE]
                self._mix_ephemeral(symmetric, self.re)
                return message[DH_SIZE:]
            case Token.S:
                size = DH_SIZE + TAG_SIZE if symmetric.has_key() else DH_SIZE
                static = symmetric.decrypt_and_hash(_enough(message, size)[:size])
                if self.rs and static != self.rs:
                    raise AuthenticationFailed("a handshake with another static key than the pinned one")
                self.rs = static
                return message[size:]
            case Token.PSK:
                symmetric.mix_key_and_hash(bytes(self._psk))
            case _:
                self._mix_dh(token, symmetric)
        return message

    def _mix_ephemeral(self, symmetric: SymmetricState, public: bytes) -> None:
        symmetric.mix_hash(public)
        if self._psk:
            # Noise 9.2: with a pre-shared key the ephemeral one randomises every key that is derived.
            symmetric.mix_key(public)

    def _mix_dh(self, token: Token, symmetric: SymmetricState) -> None:
        letters = token.value if self._initiator else token.value[::-1]
        ours = self._e if letters[0] == "e" else self._s
        theirs = self.re if letters[1] == "e" else self.rs
        symmetric.mix_key(diffie_hellman(ours.private, theirs))


def _enough(message: bytes, size: int) -> bytes:
    if len(message) < size:
        raise MalformedPacket("a handshake message that is too short")
    return message
