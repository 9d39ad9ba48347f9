"""Two people who share a code, and a rendezvous that does what it likes with what they write.

It brings anything that was written, whole or in parts, to either side, as often and in whatever order it likes, damages
it, and mixes in the messages of somebody who guesses at the code. Safety is checked with every event: who is confirmed
has the same session and secrets as the other side; nothing is heard that wasn't said, or that is out of date; a refusal
is the last word. As long as openings and proofs were left as they are, the two still come together in the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from p2ptun.signal.code import Code
from p2ptun.signal.conversation import Confirmed, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import Frame, FrameKind, decode_envelope, encode_envelope
from p2ptun.signal.pairing import CodeConversation
from tests.signal.mailroom import OTHER
from tests.signal.parties import events_of, messages_of

CODE, GUESS = Code(42, 123_456_789), Code(42, 1)


@dataclass
class Side:
    """One of the two, and what has become of it."""

    kind: Kind
    conversation: CodeConversation
    written: list[Frame] = field(default_factory=list)
    session_id: bytes | None = None
    confirmed: Confirmed | None = None
    refused: Refused | None = None
    said: int = 0
    heard: int = 0


class World:
    """Both sides, and somebody who guesses."""

    def __init__(self, random: Random) -> None:
        self.sides = {kind: Side(kind, CodeConversation(kind, CODE, random.randbytes)) for kind in Kind}
        self.guesses = [frame for kind in Kind for frame in frames_of(CodeConversation(kind, GUESS, random.randbytes))]
        for side in self.sides.values():
            self.collect(side)

    def collect(self, side: Side) -> None:
        """Take what a side has to send."""
        frames = frames_of(side.conversation)
        assert not frames or side.refused is None
        side.written += frames

    def bring(self, side: Side, frames: list[Frame]) -> None:
        """Bring a side some frames in one message."""
        side.conversation.receive_message(encode_envelope(frames))
        other = self.sides[OTHER[side.kind]]
        for event in events_of(side.conversation):
            assert side.refused is None, "it goes on after its end"
            match event:
                case Met(session_id):
                    assert side.session_id is None
                    side.session_id = session_id
                    self.say(side)
                case Confirmed():
                    assert side.session_id == other.session_id is not None, "they don't mean the same session"
                    assert side.confirmed is None
                    assert other.confirmed is None or other.confirmed == event
                    side.confirmed = event
                case Heard(said):
                    assert side.confirmed is not None
                    assert side.heard < int(said) <= other.said
                    side.heard = int(said)
                case Refused():
                    side.refused = event
        self.collect(side)

    def say(self, side: Side) -> None:
        """Let a side say the next number, if it may."""
        if side.session_id is not None:
            side.said += 1
            side.conversation.say(b"%d" % side.said)
            self.collect(side)


def frames_of(conversation: CodeConversation) -> list[Frame]:
    """Take what a conversation has to send, in parts."""
    return [frame for message in messages_of(conversation) for frame in decode_envelope(message)]


def damaged(frame: Frame, random: Random) -> Frame:
    """Change one bit, or take the frame for one of another kind."""
    if random.random() < 0.2:
        return Frame(random.choice(list(FrameKind)), frame.value)
    value = bytearray(frame.value)
    value[random.randrange(len(value))] ^= 1 << random.randrange(8)
    return Frame(frame.kind, bytes(value))


def finish(world: World) -> None:
    """Bring everything that was written to whom it is for, until there is nothing new."""
    for _ in range(4):
        for side in world.sides.values():
            for frame in list(world.sides[OTHER[side.kind]].written):
                world.bring(side, [frame])


@pytest.mark.parametrize("seed", range(10))
def test_who_only_repeats_reorders_and_reflects_keeps_nobody_apart(seed: int) -> None:
    random = Random(seed)
    world = World(random)
    for _ in range(30):
        side = world.sides[random.choice(list(Kind))]
        if random.random() < 0.2:
            world.say(side)
        written = random.choice([world.sides[kind].written for kind in (OTHER[side.kind], OTHER[side.kind], side.kind)])
        frames = random.sample(written, random.randint(1, min(3, len(written))))
        if random.random() < 0.2:
            frames = [Frame(FrameKind.LETTER, damaged(frame, random).value) for frame in frames]
        world.bring(side, frames)
    finish(world)
    one, other = world.sides.values()
    assert one.session_id == other.session_id
    assert one.confirmed == other.confirmed is not None
    assert (one.heard, other.heard) == (other.said, one.said)


@pytest.mark.parametrize("seed", range(20))
def test_who_damages_and_guesses_gets_a_refusal_at_most(seed: int) -> None:
    random = Random(seed)
    world = World(random)
    for _ in range(30):
        side = world.sides[random.choice(list(Kind))]
        everything = [*world.guesses, *(frame for each in world.sides.values() for frame in each.written)]
        frames = random.sample(everything, random.randint(1, 3))
        if random.random() < 0.3:
            frames = [damaged(frame, random) for frame in frames]
        world.bring(side, frames)
        world.say(side)
    finish(world)
    one, other = world.sides.values()
    assert (one.confirmed and other.confirmed) or one.refused or other.refused


@pytest.mark.parametrize("kind", Kind)
def test_somebody_in_between_has_one_guess_at_each_side(kind: Kind) -> None:
    """He answers each side himself, with a guess; what he gets from it fits no second one."""
    random = Random(1)
    side = CodeConversation(kind, CODE, random.randbytes)
    guessers = [CodeConversation(OTHER[kind], Code(42, secret), random.randbytes) for secret in (1, 2, CODE.secret)]
    openings = [messages_of(guesser)[0] for guesser in guessers]
    (opening,) = messages_of(side)
    for guesser in guessers:
        guesser.receive_message(opening)
    for message in openings:
        side.receive_message(message)
    assert len(events_of(side)) == 1
    proofs = messages_of(side)
    for guesser in guessers:
        for message in messages_of(guesser):
            side.receive_message(message)
        for message in proofs:
            guesser.receive_message(message)
        assert not any(isinstance(event, Confirmed) for event in events_of(guesser))
    assert events_of(side) == [Refused(RefusalReason.WRONG_CODE)]
    assert messages_of(side) == []
