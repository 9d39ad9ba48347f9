from __future__ import annotations

import hmac
from hashlib import blake2s

import pytest

from p2ptun.errors import AuthenticationFailed, MalformedPacket
from p2ptun.signal.channel import SEALING_OVERHEAD, Channel, Outdated, transcript_of
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import FrameKind

TRANSCRIPT = transcript_of(42, b"offer", b"answer")
SHARED = bytes(range(32))


def channels(room: int = 42, transcript: bytes = TRANSCRIPT, shared: bytes = SHARED) -> tuple[Channel, Channel]:
    return Channel(Kind.OFFER, 42, TRANSCRIPT, SHARED), Channel(Kind.ANSWER, room, transcript, shared)


def test_the_transcript_frames_all_that_was_said() -> None:
    text = b"p2ptun/1 pairing" + b"\0\0\0\4\0\0\0\x2a" + b"\0\0\0\5offer" + b"\0\0\0\6answer"
    assert transcript_of(42, b"offer", b"answer") == blake2s(text).digest()
    others = [(43, b"offer", b"answer"), (42, b"offera", b"nswer"), (42, b"answer", b"offer"), (42, b"offer", b"")]
    assert TRANSCRIPT not in {transcript_of(*other) for other in others}


def test_keys_are_derived_as_the_docstring_says() -> None:
    root = hmac.digest(TRANSCRIPT, SHARED, "blake2s")
    assert channels()[0].derive(b"psk") == hmac.digest(root, b"p2ptun/1 psk\x01", "blake2s")


def test_both_know_the_session_by_the_same_id() -> None:
    offer, answer = channels()
    assert offer.session_id == answer.session_id == TRANSCRIPT[:8]


def test_what_one_seals_the_other_unseals() -> None:
    offer, answer = channels()
    for said in (b"", b"one", b"two"):
        sealed = offer.seal(FrameKind.LETTER, said)
        assert len(sealed) == len(said) + SEALING_OVERHEAD
        assert answer.unseal(FrameKind.LETTER, sealed) == said
        assert offer.unseal(FrameKind.LETTER, answer.seal(FrameKind.LETTER, said)) == said


def test_proofs_differ_by_direction() -> None:
    offer, answer = channels()
    assert offer.is_confirmed_by(answer.confirmation)
    assert answer.is_confirmed_by(offer.confirmation)
    assert not offer.is_confirmed_by(offer.confirmation)
    assert offer.is_own_confirmation(offer.confirmation)
    assert not offer.is_own_confirmation(answer.confirmation)


@pytest.mark.parametrize(
    "other",
    [
        channels(transcript=transcript_of(42, b"offer", b"Answer"))[1],
        channels(shared=bytes(32))[1],
    ],
)
def test_other_openings_or_secrets_fit_nowhere(other: Channel) -> None:
    offer, _ = channels()
    assert not offer.is_confirmed_by(other.confirmation)
    with pytest.raises(AuthenticationFailed):
        offer.unseal(FrameKind.LETTER, other.seal(FrameKind.LETTER, b"said"))


def test_what_was_sealed_elsewhere_or_otherwise_is_refused() -> None:
    offer, answer = channels()
    _, elsewhere = channels(room=43)
    for sealed in (
        offer.seal(FrameKind.LETTER, b"reflected"),
        answer.seal(FrameKind.CONFIRMATION, b"of another kind"),
        elsewhere.seal(FrameKind.LETTER, b"of another room"),
    ):
        with pytest.raises(AuthenticationFailed):
            offer.unseal(FrameKind.LETTER, sealed)


def test_only_later_ones_are_taken() -> None:
    offer, answer = channels()
    first, second, third = (answer.seal(FrameKind.LETTER, bytes([number])) for number in range(3))
    assert offer.unseal(FrameKind.LETTER, second) == b"\1"
    for late in (first, second):
        with pytest.raises(Outdated):
            offer.unseal(FrameKind.LETTER, late)
    assert offer.unseal(FrameKind.LETTER, third) == b"\2"


def test_any_change_is_noticed_and_changes_nothing() -> None:
    offer, answer = channels()
    sealed = answer.seal(FrameKind.LETTER, b"said")
    for at in range(len(sealed)):
        with pytest.raises(AuthenticationFailed):
            offer.unseal(FrameKind.LETTER, sealed[:at] + bytes([sealed[at] ^ 0x40]) + sealed[at + 1 :])
    for size in range(len(sealed)):
        with pytest.raises(MalformedPacket if size < SEALING_OVERHEAD else AuthenticationFailed):
            offer.unseal(FrameKind.LETTER, sealed[:size])
    assert offer.unseal(FrameKind.LETTER, sealed) == b"said"


def test_nothing_is_left_after_wiping() -> None:
    offer, answer = channels()
    secret = answer.derive(b"psk")
    answer.forget_root()
    assert answer.derive(b"psk") != secret
    assert offer.unseal(FrameKind.LETTER, answer.seal(FrameKind.LETTER, b"goes on")) == b"goes on"
    answer.wipe()
    with pytest.raises(AuthenticationFailed):
        offer.unseal(FrameKind.LETTER, answer.seal(FrameKind.LETTER, b"is over"))
    with pytest.raises(AuthenticationFailed):
        answer.unseal(FrameKind.LETTER, offer.seal(FrameKind.LETTER, b"is over"))
