"""A rendezvous that does as it likes with what two sides of a code, or of two codes, leave there."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptun.signal.code import Code
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.pairing import CodeConversation
from tests.signal.parties import events_of, messages_of

ROOM = 42
OTHER = {Kind.OFFER: Kind.ANSWER, Kind.ANSWER: Kind.OFFER}


@dataclass
class Side:
    """One side and its owner, who says something whenever the two have met or something was heard."""

    kind: Kind
    name: str
    conversation: CodeConversation
    said: list[bytes] = field(default_factory=list)
    events: list[ConversationEvent] = field(default_factory=list)

    def act(self) -> list[bytes]:
        """Take the events, say something, and return the messages."""
        new = events_of(self.conversation)
        self.events += new
        if any(isinstance(event, Met | Heard) for event in new) and len(self.said) < 4:
            self.said.append(f"{self.name} says {len(self.said)}".encode())
            self.conversation.say(self.said[-1])
        return messages_of(self.conversation)

    def found(self, kind: type[ConversationEvent]) -> list[ConversationEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Run:
    """Two sides, and all that each has left at the rendezvous."""

    sides: dict[Kind, Side]
    left: dict[Kind, list[bytes]] = field(default_factory=lambda: {kind: [] for kind in Kind})

    def act(self) -> None:
        for kind, side in self.sides.items():
            self.left[kind] += side.act()

    def deliver(self, kind: Kind, message: bytes) -> None:
        self.sides[kind].conversation.receive_message(message)
        self.act()

    def finish(self) -> None:
        """Bring everything, as an honest rendezvous does: once, in order."""
        done = dict.fromkeys(Kind, 0)
        while any(done[kind] < len(self.left[kind]) for kind in Kind):
            for kind in Kind:
                for message in self.left[kind][done[kind] :]:
                    done[kind] += 1
                    self.deliver(OTHER[kind], message)


def begin(codes: dict[Kind, Code], seed: int) -> Run:
    run = Run(
        {
            kind: Side(kind, f"{kind} {seed}", CodeConversation(kind, code, random.Random(f"{kind} {seed}").randbytes))
            for kind, code in codes.items()
        }
    )
    run.act()
    return run


def check(sides: list[Side]) -> None:
    """See that everybody's events came in order, and that who is confirmed has one partner, hears it, and agrees."""
    for side in sides:
        kinds = [type(event) for event in side.events]
        assert kinds[:1] in ([], [Met], [Refused])
        assert kinds[1:2] in ([], [Confirmed], [Refused])
        assert set(kinds[2:]) <= {Heard}
        if Confirmed in kinds:
            [partner] = [one for one in sides if one.kind is not side.kind and one.events[:1] == side.events[:1]]
            assert partner.found(Confirmed) in ([], side.found(Confirmed))
            heard = [partner.said.index(event.said) for event in side.events if isinstance(event, Heard)]
            assert heard == sorted(set(heard))
        else:
            assert Heard not in kinds


moves = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "repeat", "reflect", "cross", "flip", "cut", "join"]),
        st.sampled_from([0, 1]),
        st.sampled_from(Kind),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
    ),
    max_size=25,
)
Move = tuple[str, int, Kind, int, int]


def play(runs: list[Run], move: Move) -> None:
    """Let the rendezvous bring one side some message: of the other, of its own, or from elsewhere; changed or not."""
    how, number, kind, choice, place = move
    run = runs[number]
    source = {"reflect": run.left[kind], "cross": runs[1 - number].left[OTHER[kind]]}.get(how, run.left[OTHER[kind]])
    if not source:
        return
    message = source[choice % len(source)]
    at = place % len(message)
    if how == "flip":
        message = message[:at] + bytes([message[at] ^ 1 << place % 8]) + message[at + 1 :]
    elif how == "cut":
        message = message[:at]
    elif how == "join":
        message += source[place % len(source)]
    run.deliver(kind, message)


@settings(max_examples=25, deadline=None)
@given(moves)
def test_equal_codes_agree_or_hear_nothing(script: list[Move]) -> None:
    code = Code(ROOM, 1234)
    runs = [begin(dict.fromkeys(Kind, code), seed) for seed in (1, 2)]
    for move in script:
        play(runs, move)
    check([side for run in runs for side in run.sides.values()])


@settings(max_examples=20, deadline=None)
@given(moves)
def test_different_codes_are_never_heard(script: list[Move]) -> None:
    codes = [
        {Kind.OFFER: Code(ROOM, 1), Kind.ANSWER: Code(ROOM, 2)},
        {Kind.OFFER: Code(ROOM, 3), Kind.ANSWER: Code(ROOM, 4)},
    ]
    runs = [begin(each, seed) for seed, each in enumerate(codes)]
    for move in script:
        play(runs, move)
    for run in runs:
        run.finish()
        for side in run.sides.values():
            assert not side.found(Heard)
            assert not side.found(Confirmed)


benign = st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**16)), max_size=25)


@settings(max_examples=25, deadline=None)
@given(benign)
def test_reordering_and_repeating_costs_nothing(script: list[tuple[Kind, int]]) -> None:
    run = begin(dict.fromkeys(Kind, Code(ROOM, 1234)), 1)
    for kind, choice in script:
        source = run.left[OTHER[kind]]
        run.deliver(kind, source[choice % len(source)])
    run.finish()
    check([*run.sides.values()])
    sharer, joiner = run.sides.values()
    assert sharer.found(Confirmed) == joiner.found(Confirmed) != []
    assert sharer.found(Met) == joiner.found(Met) != []
    assert sharer.found(Heard)[-1] == Heard(joiner.said[-1])
    assert joiner.found(Heard)[-1] == Heard(sharer.said[-1])


def test_both_sides_of_different_codes_refuse() -> None:
    run = begin({Kind.OFFER: Code(ROOM, 1), Kind.ANSWER: Code(ROOM, 2)}, 1)
    for kind in Kind:
        run.sides[kind].conversation.receive_message(run.left[OTHER[kind]][0])
    run.act()
    for kind in Kind:
        run.sides[kind].conversation.receive_message(run.left[OTHER[kind]][1])
    run.act()
    for side in run.sides.values():
        assert side.events[1:] == [Refused(RefusalReason.WRONG_CODE)]


def test_what_is_withheld_makes_nothing_happen() -> None:
    run = begin(dict.fromkeys(Kind, Code(ROOM, 1)), 1)
    assert all(not side.events for side in run.sides.values())
    run.deliver(Kind.OFFER, run.left[Kind.ANSWER][0])
    sharer, joiner = run.sides.values()
    assert [type(event) for event in sharer.events] == [Met]
    assert not joiner.events


def test_somebody_in_between_who_knows_the_code_is_seen_in_the_verifier() -> None:
    code = Code(ROOM, 1)
    runs = []
    for kind in Kind:
        between = begin({kind: code, OTHER[kind]: code}, 1 if kind is Kind.OFFER else 2)
        between.finish()
        runs.append(between.sides[kind])
    verifiers = [event.verifier for side in runs for event in side.events if isinstance(event, Confirmed)]
    assert len(verifiers) == len(set(verifiers)) == 2
