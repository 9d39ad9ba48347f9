"""Both messages of the tunnel's handshake as an attacker sends them: refused with the two errors, without effect."""

from __future__ import annotations

from p2ptun.errors import AuthenticationFailed, MalformedPacket
from p2ptun.noise.handshake import HandshakeState
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.pattern import IK_PSK2

ONE, TWO, THREE, FOUR = (KeyPair.of_private(bytes([number]) * 32) for number in range(1, 5))
PSKS = [bytes(32)]


def states() -> tuple[HandshakeState, HandshakeState]:
    """Build an initiator that awaits the response, and a responder that awaits the initiation."""
    initiator = HandshakeState(IK_PSK2, True, b"p2ptun/1", s=ONE, rs=TWO.public, psks=PSKS, e=THREE)
    initiator.write_message(b"")
    return initiator, HandshakeState(IK_PSK2, False, b"p2ptun/1", s=TWO, psks=PSKS, e=FOUR)


STATES = states()


def test_one_input(data: bytes) -> None:
    for state in STATES:
        before = state.handshake_hash, state.rs, state.re, repr(state)
        try:
            state.read_message(data)
        except (MalformedPacket, AuthenticationFailed):
            assert (state.handshake_hash, state.rs, state.re, repr(state)) == before
        else:
            raise AssertionError("a forged message was accepted")
