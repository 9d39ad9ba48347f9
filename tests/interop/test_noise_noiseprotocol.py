"""Our handshake against `noiseprotocol`, an implementation that shares no code with ours, in both roles."""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

import pytest

from p2ptun.noise.handshake import HandshakeState
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.pattern import pattern_of

connection = pytest.importorskip("noise.connection", reason="needs noiseprotocol, which is installed with [dev]")

Peer: TypeAlias = Any  # the library has no types
PROLOGUE = b"p2ptun/1"
PATTERNS = ["IK", "IKpsk0", "IKpsk1", "IKpsk2", "XX", "XXpsk0", "XXpsk3"]


def peer(name: str, initiator: bool, own: KeyPair, remote: bytes | None, psks: list[bytes]) -> Peer:
    """Build the other implementation's side; it draws its own ephemeral key."""
    side = connection.NoiseConnection.from_name(pattern_of(name).protocol_name)
    side.set_as_initiator() if initiator else side.set_as_responder()
    side.set_prologue(PROLOGUE)
    side.set_keypair_from_private_bytes(connection.Keypair.STATIC, own.private)
    if remote is not None:
        side.set_keypair_from_public_bytes(connection.Keypair.REMOTE_STATIC, remote)
    if psks:
        side.set_psks(psks=psks)
    side.start_handshake()
    return side


@pytest.mark.parametrize("initiator", [True, False], ids=["we-initiate", "we-respond"])
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("seed", range(5))
def test_both_roles(name: str, initiator: bool, seed: int) -> None:
    random = Random(seed)
    pattern = pattern_of(name)
    own, other, ephemeral = (KeyPair.generate(random.randbytes) for _ in range(3))
    psks = [random.randbytes(32)] * pattern.psk_count
    known = pattern.responder_is_known
    ours = HandshakeState(
        pattern, initiator, PROLOGUE, s=own, rs=other.public if known and initiator else None, psks=psks, e=ephemeral
    )
    theirs = peer(name, not initiator, other, own.public if known and not initiator else None, psks)
    for number in range(len(pattern.messages)):
        payload = random.randbytes(number * 20)
        if ours.is_our_turn:
            assert theirs.read_message(ours.write_message(payload)) == payload
        else:
            assert ours.read_message(bytes(theirs.write_message(payload))) == payload
    assert ours.is_finished
    assert theirs.handshake_finished
    assert ours.rs == other.public
    assert ours.handshake_hash == theirs.get_handshake_hash()
    outward, inward = ours.split() if initiator else ours.split()[::-1]
    for size in (0, 1, 500):
        payload = random.randbytes(size)
        assert theirs.decrypt(outward.encrypt_with_ad(b"", payload)) == payload
        assert inward.decrypt_with_ad(b"", bytes(theirs.encrypt(payload))) == payload
