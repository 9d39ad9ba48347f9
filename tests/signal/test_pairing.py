from __future__ import annotations

import random
import sys

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.noise.primitive import hash_of
from p2ptun.signal.channel import Channel, transcript_of
from p2ptun.signal.code import Code
from p2ptun.signal.conversation import MAX_SAID, Confirmed, Conversation, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import MAX_ENVELOPE_SIZE, Frame, FrameKind, decode_envelope, encode_envelope
from p2ptun.signal.kem import CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, KemKey
from p2ptun.signal.pairing import MAX_WAITING, CodeConversation, DropReason
from p2ptun.signal.pake import Pake
from p2ptun.tunnel.psk import PskSource
from tests.signal.parties import events_of, exchange, messages_of

CODE = Code(42, 123_456_789)
WRONG = Code(42, 123_456_788)
MLKEM = "cryptography.hazmat.primitives.asymmetric.mlkem"


def side(kind: Kind, code: Code = CODE, seed: int = 0) -> CodeConversation:
    return CodeConversation(kind, code, random.Random(f"{kind} {seed}").randbytes)


def sides(code: Code = CODE) -> tuple[CodeConversation, CodeConversation]:
    return side(Kind.OFFER), side(Kind.ANSWER, code)


def opening_of(conversation: Conversation) -> bytes:
    [opening] = messages_of(conversation)
    return opening


def introduced(code: Code = CODE) -> tuple[CodeConversation, CodeConversation]:
    """Let two sides meet; both have a confirmation to send."""
    sharer, joiner = sides(code)
    sharer_opening, joiner_opening = opening_of(sharer), opening_of(joiner)
    sharer.receive_message(joiner_opening)
    joiner.receive_message(sharer_opening)
    assert events_of(sharer) == events_of(joiner) != []
    return sharer, joiner


def paired() -> tuple[CodeConversation, CodeConversation]:
    sharer, joiner = introduced()
    list(exchange(sharer, joiner))
    assert events_of(sharer) == events_of(joiner) != []
    return sharer, joiner


def value_of(message: bytes, kind: FrameKind) -> bytes:
    [value] = [frame.value for frame in decode_envelope(message) if frame.kind is kind]
    return value


def letter(value: bytes) -> bytes:
    return encode_envelope([Frame(FrameKind.LETTER, value)])


def test_two_with_the_same_code_meet_in_one_flight() -> None:
    sharer, joiner = sides()
    sharer_opening, joiner_opening = opening_of(sharer), opening_of(joiner)
    sharer.receive_message(joiner_opening)
    joiner.receive_message(sharer_opening)
    [met] = events_of(sharer)
    assert isinstance(met, Met)
    assert events_of(joiner) == [met]
    sharer.say(b"offer")
    joiner.say(b"answer")
    [from_sharer], [from_joiner] = messages_of(sharer), messages_of(joiner)
    sharer.receive_message(from_joiner)
    joiner.receive_message(from_sharer)
    confirmed, heard = events_of(sharer)
    assert isinstance(confirmed, Confirmed)
    assert heard == Heard(b"answer")
    assert events_of(joiner) == [confirmed, Heard(b"offer")]
    assert list(confirmed.secrets) == [PskSource.PAKE, PskSource.ML_KEM_768]
    assert len(confirmed.verifier) == 6
    secrets = {*confirmed.secrets.values(), confirmed.standing_secret}
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 3
    assert messages_of(sharer) == messages_of(joiner) == []
    assert not sharer.dropped + joiner.dropped


def test_they_go_on_talking() -> None:
    sharer, joiner = paired()
    for said in (b"", b"one", b"two"):
        sharer.say(said)
        joiner.say(said)
        list(exchange(sharer, joiner))
        assert events_of(sharer) == events_of(joiner) == [Heard(said)]


def test_what_is_said_later_replaces_what_has_not_left() -> None:
    sharer, joiner = paired()
    sharer.say(b"one")
    sharer.say(b"two")
    assert len(list(exchange(sharer, joiner))) == 1
    assert events_of(joiner) == [Heard(b"two")]


def test_every_run_has_keys_of_its_own() -> None:
    seen = set()
    for seed in (1, 2):
        sharer, joiner = side(Kind.OFFER, seed=seed), side(Kind.ANSWER)
        list(exchange(sharer, joiner))
        met, confirmed = events_of(sharer)
        assert isinstance(met, Met)
        assert isinstance(confirmed, Confirmed)
        seen |= {met.session_id, confirmed.verifier, confirmed.standing_secret, *confirmed.secrets.values()}
    assert len(seen) == 10


def test_another_code_is_refused_on_both_sides() -> None:
    sharer, joiner = introduced(WRONG)
    sharer.say(b"offer")
    joiner.say(b"answer")
    list(exchange(sharer, joiner))
    for conversation in (sharer, joiner):
        assert events_of(conversation) == [Refused(RefusalReason.WRONG_CODE)]
        conversation.say(b"more")
        assert messages_of(conversation) == []


def test_what_was_said_does_not_leave_after_a_wrong_proof() -> None:
    sharer, joiner = introduced(WRONG)
    [proof] = messages_of(joiner)
    sharer.say(b"offer")
    sharer.receive_message(proof)
    assert events_of(sharer) == [Refused(RefusalReason.WRONG_CODE)]
    assert messages_of(sharer) == []


def test_a_code_of_another_room_is_another_code() -> None:
    sharer, joiner = sides(Code(43, CODE.secret))
    list(exchange(sharer, joiner))
    for conversation in (sharer, joiner):
        assert [type(event) for event in events_of(conversation)] == [Met, Refused]


def test_a_thousand_guesses_are_one() -> None:
    sharer = side(Kind.OFFER)
    guesses = [side(Kind.ANSWER, Code(42, secret)) for secret in range(4)]
    opening = opening_of(sharer)
    for guess in guesses:
        guess.receive_message(opening)
    messages = [messages_of(guess) for guess in guesses]
    for number in range(1000):
        for message in messages[number % 4]:
            sharer.receive_message(message)
    assert [type(event) for event in events_of(sharer)] == [Met, Refused]
    assert messages_of(sharer) == []
    assert sharer.dropped == {DropReason.OVER: 1998}


def test_a_thousand_openings_are_one() -> None:
    sharer = side(Kind.OFFER)
    openings = [opening_of(side(Kind.ANSWER, seed=seed)) for seed in range(5)]
    for number in range(1000):
        sharer.receive_message(openings[number % 5])
    assert len(events_of(sharer)) == 1
    assert sharer.dropped == {DropReason.REPEATED: 999}
    assert len(messages_of(sharer)) == 1


def test_a_thousand_confirmations_before_the_opening_are_one() -> None:
    sharer = side(Kind.OFFER)
    for number in range(1000):
        guess = number.to_bytes(72, "big")
        sharer.receive_message(encode_envelope([Frame(FrameKind.CONFIRMATION, guess)]))
    assert sharer.dropped == {DropReason.TOO_MANY: 999}
    sharer.receive_message(opening_of(side(Kind.ANSWER)))
    assert [type(event) for event in events_of(sharer)] == [Met, Refused]
    assert messages_of(sharer) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_any_order_will_do(order: tuple[int, int, int]) -> None:
    sharer, joiner = sides()
    opening = opening_of(joiner)
    joiner.receive_message(opening_of(sharer))
    [confirmation] = messages_of(joiner)
    joiner.say(b"answer")
    [said] = messages_of(joiner)
    messages = (opening, confirmation, said)
    for place in order:
        sharer.receive_message(messages[place])
    assert [type(event) for event in events_of(sharer)] == [Met, Confirmed, Heard]
    assert not sharer.dropped


def test_what_is_repeated_is_dropped() -> None:
    sharer, joiner = sides()
    opening = opening_of(joiner)
    joiner.receive_message(opening_of(sharer))
    joiner.say(b"answer")
    [bundle] = messages_of(joiner)
    for message in (bundle, bundle, opening, opening, bundle, bundle):
        sharer.receive_message(message)
    assert [type(event) for event in events_of(sharer)] == [Met, Confirmed, Heard]
    assert sharer.dropped == {DropReason.REPEATED: 2 + 1 + 4}


def test_what_is_older_than_what_was_heard_is_dropped() -> None:
    sharer, joiner = paired()
    joiner.say(b"one")
    [one] = messages_of(joiner)
    joiner.say(b"two")
    [two] = messages_of(joiner)
    for message in (two, one):
        sharer.receive_message(message)
    assert events_of(sharer) == [Heard(b"two")]
    assert sharer.dropped == {DropReason.REPEATED: 1}


def test_our_own_messages_are_dropped() -> None:
    for kind in Kind:
        conversation, other = side(kind), side(Kind.ANSWER if kind is Kind.OFFER else Kind.OFFER)
        opening = opening_of(conversation)
        conversation.receive_message(opening)
        assert events_of(conversation) == []
        conversation.receive_message(opening_of(other))
        [bundle] = messages_of(conversation)
        conversation.receive_message(bundle)
        conversation.receive_message(opening)
        assert conversation.dropped == {DropReason.REFLECTED: 3}
        assert [type(event) for event in events_of(conversation)] == [Met]
    sharer, _ = paired()
    sharer.say(b"offer")
    [said] = messages_of(sharer)
    sharer.receive_message(said)
    assert sharer.dropped == {DropReason.UNAUTHENTIC: 1}
    assert events_of(sharer) == []


@pytest.mark.parametrize("message", [b"", b"\x01", b"\x01\x00", b"\x01\xff\xffshort", bytes(MAX_ENVELOPE_SIZE + 1)])
def test_what_is_no_message_is_dropped(message: bytes) -> None:
    sharer = side(Kind.OFFER)
    sharer.receive_message(message)
    assert sharer.dropped == {DropReason.MALFORMED: 1}
    assert events_of(sharer) == []


@pytest.mark.parametrize("kind", FrameKind)
@pytest.mark.parametrize("size", [0, 1, 23, 64, 66, 71, 73, 1159, 1161, 12_025])
def test_frames_of_impossible_sizes_are_dropped(kind: FrameKind, size: int) -> None:
    sharer = side(Kind.OFFER)
    sharer.receive_message(encode_envelope([Frame(kind, bytes(size))]))
    waits = kind is FrameKind.LETTER and 24 <= size <= 12_024
    assert sharer.dropped == ({} if waits else {DropReason.MALFORMED: 1})
    assert events_of(sharer) == []


def changed(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def test_the_first_opening_counts_also_if_it_is_none() -> None:
    sharer, joiner = sides()
    opening = opening_of(joiner)
    sharer.receive_message(changed(opening, 3 + 32))  # the side that the element names
    sharer.receive_message(opening)
    assert events_of(sharer) == [Refused(RefusalReason.MALFORMED)]
    assert messages_of(sharer) == []


def test_a_joiner_brings_no_key() -> None:
    sharer = side(Kind.OFFER)
    opening = value_of(opening_of(side(Kind.ANSWER)), FrameKind.OPENING) + bytes(PUBLIC_KEY_SIZE)
    sharer.receive_message(encode_envelope([Frame(FrameKind.OPENING, opening)]))
    assert events_of(sharer) == [Refused(RefusalReason.MALFORMED)]


def test_a_key_that_is_none_is_refused() -> None:
    sharer, joiner = sides()
    opening = value_of(opening_of(sharer), FrameKind.OPENING)[:-PUBLIC_KEY_SIZE] + b"\xff" * PUBLIC_KEY_SIZE
    joiner.receive_message(encode_envelope([Frame(FrameKind.OPENING, opening)]))
    assert events_of(joiner) == [Refused(RefusalReason.MALFORMED)]


@pytest.mark.parametrize("at", [3, 3 + 31, 3 + 65, -1])
def test_a_changed_commitment_or_key_fits_no_proof(at: int) -> None:
    sharer, joiner = sides()
    opening = opening_of(sharer)
    sharer.receive_message(opening_of(joiner))
    joiner.receive_message(changed(opening, at % len(opening)))
    list(exchange(sharer, joiner))
    for conversation in (sharer, joiner):
        assert [type(event) for event in events_of(conversation)] == [Met, Refused]


def test_a_changed_proof_is_a_wrong_one() -> None:
    sharer, joiner = introduced()
    [confirmation] = messages_of(joiner)
    sharer.receive_message(changed(confirmation, 3))
    sharer.receive_message(confirmation)
    assert events_of(sharer) == [Refused(RefusalReason.WRONG_CODE)]
    assert sharer.dropped == {DropReason.OVER: 1}


def test_a_changed_seal_of_a_good_proof_is_no_wrong_code() -> None:
    sharer, joiner = introduced()
    [confirmation] = messages_of(joiner)
    sharer.receive_message(changed(confirmation, len(confirmation) - 1))
    assert events_of(sharer) == [Refused(RefusalReason.MALFORMED)]


def cheat(sharer: CodeConversation, committed: bytes, revealed: bytes) -> bytes:
    """Build what a joiner may send who knows the code, and doesn't keep to the rules."""
    pake = Pake(Kind.ANSWER, CODE.password, b"p2ptun/1 room 42", random.Random(1).randbytes)
    offer = value_of(opening_of(sharer), FrameKind.OPENING)
    opening = hash_of(b"p2ptun/1 commitment answer", committed) + pake.element
    shared = pake.finish(offer[32:65])
    channel = Channel(Kind.ANSWER, 42, transcript_of(42, offer, opening), shared)
    proof = channel.confirmation + channel.seal(FrameKind.CONFIRMATION, revealed)
    return encode_envelope([Frame(FrameKind.OPENING, opening), Frame(FrameKind.CONFIRMATION, proof)])


def test_who_keeps_to_the_rules_is_let_in() -> None:
    sharer = side(Kind.OFFER)
    sharer.receive_message(cheat(sharer, b"n" * 16, b"n" * 16))
    assert [type(event) for event in events_of(sharer)] == [Met, Confirmed]


def test_who_reveals_something_else_than_he_committed_to_is_refused() -> None:
    sharer = side(Kind.OFFER)
    sharer.receive_message(cheat(sharer, b"n" * 16, b"m" * 16))
    assert events_of(sharer)[1:] == [Refused(RefusalReason.MALFORMED)]


def test_a_ciphertext_for_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, MLKEM, None)
        sharer = side(Kind.OFFER)
    sharer.receive_message(cheat(sharer, b"n" * 16, b"n" * 16 + bytes(CIPHERTEXT_SIZE)))
    assert events_of(sharer)[1:] == [Refused(RefusalReason.MALFORMED)]


@pytest.mark.parametrize("without", ["sharer", "joiner", "both"])
def test_a_side_without_ml_kem(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        if without != "joiner":
            patch.setitem(sys.modules, MLKEM, None)
        sharer = side(Kind.OFFER)
    opening = opening_of(sharer)
    assert (len(opening) > PUBLIC_KEY_SIZE) == (without == "joiner")
    joiner = side(Kind.ANSWER)
    with monkeypatch.context() as patch:
        if without != "sharer":
            patch.setitem(sys.modules, MLKEM, None)
        joiner.receive_message(opening)
    list(exchange(sharer, joiner))
    [_, confirmed] = events_of(joiner)
    assert isinstance(confirmed, Confirmed)
    assert list(confirmed.secrets) == [PskSource.PAKE]


def test_letters_wait_for_the_proof_in_a_small_store() -> None:
    sharer, joiner = introduced()
    [confirmation] = messages_of(joiner)
    letters = []
    for number in range(MAX_WAITING + 2):
        joiner.say(bytes([number]))
        letters += messages_of(joiner)
    for message in [*letters, letters[-1]]:
        sharer.receive_message(message)
    assert events_of(sharer) == []
    assert sharer.dropped == {DropReason.TOO_MANY: 2, DropReason.REPEATED: 1}
    sharer.receive_message(confirmation)
    confirmed, *heard = events_of(sharer)
    assert isinstance(confirmed, Confirmed)
    assert heard == [Heard(bytes([number])) for number in range(2, MAX_WAITING + 2)]


def test_letters_that_nobody_sealed_are_dropped() -> None:
    sharer, _ = paired()
    sharer.receive_message(letter(bytes(24)))
    assert sharer.dropped == {DropReason.UNAUTHENTIC: 1}


def test_nothing_can_be_said_before_they_have_met_nor_too_much() -> None:
    sharer = side(Kind.OFFER)
    with pytest.raises(LocalProtocolError):
        sharer.say(b"too early")
    sharer.receive_message(opening_of(side(Kind.ANSWER)))
    with pytest.raises(LocalProtocolError):
        sharer.say(bytes(MAX_SAID + 1))
    sharer.say(bytes(MAX_SAID))


def test_the_bundle_fits_one_message() -> None:
    sharer, joiner = sides()
    joiner.receive_message(opening_of(sharer))
    joiner.say(bytes(MAX_SAID))
    assert len(opening_of(joiner)) == 68 + (3 + 64 + CIPHERTEXT_SIZE + 8) + (3 + 24 + MAX_SAID) <= MAX_ENVELOPE_SIZE


def test_wiping_ends_it() -> None:
    for sharer in (side(Kind.OFFER), paired()[0]):
        sharer.wipe()
        sharer.say(b"more")
        sharer.receive_message(opening_of(side(Kind.ANSWER)))
        assert messages_of(sharer) == []
        assert events_of(sharer) == []
        assert sharer.dropped == {DropReason.OVER: 1}
        assert not [value for value in vars(sharer).values() if isinstance(value, Pake | KemKey)]


def test_nothing_secret_is_shown() -> None:
    sharer, joiner = sides()
    list(exchange(sharer, joiner))
    shown = repr(sharer) + repr(events_of(sharer)) + repr(Heard(b"what is said"))
    assert str(CODE.secret) not in shown
    assert "what is said" not in shown
    assert "PskSource" not in shown
