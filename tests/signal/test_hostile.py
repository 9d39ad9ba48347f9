"""Two pinned peers that crash and begin anew, through rendezvous that replay, hold back, forget and mix up.

Safety is checked with every event, by `mailroom.World`: no session is replaced by an earlier life of the other side, or
begun with a life that ended before ours began; nothing is heard that wasn't said in the session, or is out of date. And
whatever happened before: once both are there and what they write is delivered, they have one session and each has heard
the other's latest.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from p2ptun.signal.description import Kind
from tests.signal.mailroom import OTHER, Room, World
from tests.signal.parties import incarnation, messages_of

kinds = st.sampled_from(Kind)
numbers = st.integers(0, 1000)


class Rendezvous(RuleBasedStateMachine):
    """One rendezvous or two; they are honest but for what the rules do, and nobody withholds anything for ever."""

    world: World

    @initialize(rooms=st.integers(1, 2), capacity=st.integers(3, 8))
    def open_rooms(self, rooms: int, capacity: int) -> None:
        self.world = World([Room(capacity) for _ in range(rooms)])

    def room(self, number: int) -> Room:
        return self.world.rooms[number % len(self.world.rooms)]

    @rule(kind=kinds)
    def begin(self, kind: Kind) -> None:
        self.world.begin(kind)

    @rule(kind=kinds)
    def crash(self, kind: Kind) -> None:
        self.world.end(kind)

    @rule(kind=kinds, room=numbers)
    def read(self, kind: Kind, room: int) -> None:
        self.world.read(kind, self.room(room))

    @rule(kind=kinds)
    def say(self, kind: Kind) -> None:
        self.world.say(kind)

    @rule(room=numbers)
    def forget(self, room: int) -> None:
        self.room(room).forget()

    @rule(kind=kinds, room=numbers)
    def enter_anew(self, kind: Kind, room: int) -> None:
        self.world.enter_anew(kind, self.room(room))

    @rule(kind=kinds, which=numbers)
    def replay(self, kind: Kind, which: int) -> None:
        if recorded := self.world.recorded[OTHER[kind]]:
            self.world.deliver(kind, recorded[-1 - which % len(recorded)])

    @rule(kind=kinds)
    def replay_everything(self, kind: Kind) -> None:
        for message in self.world.recorded[OTHER[kind]][-20:]:
            self.world.deliver(kind, message)

    @rule(kind=kinds, which=numbers)
    def reflect(self, kind: Kind, which: int) -> None:
        if recorded := self.world.recorded[kind]:
            self.world.deliver(kind, recorded[-1 - which % len(recorded)])

    @rule(kind=kinds, which=numbers, at=numbers, bit=st.integers(0, 7))
    def forge(self, kind: Kind, which: int, at: int, bit: int) -> None:
        if recorded := self.world.recorded[OTHER[kind]]:
            forged = bytearray(recorded[-1 - which % len(recorded)])
            forged[at % len(forged)] ^= 1 << bit
            self.world.deliver(kind, bytes(forged))

    @rule(kind=kinds, seed=numbers)
    def confuse_rooms(self, kind: Kind, seed: int) -> None:
        for message in messages_of(incarnation(OTHER[kind], seed, secret=bytes(32))[0]):
            self.world.deliver(kind, message)

    @rule()
    def settle(self) -> None:
        for kind in Kind:
            if self.world.alive(kind) is None:
                self.world.begin(kind)
        self.world.settle(limit=100)
        one, other = (self.world.session_of(kind) for kind in Kind)
        assert one.id == other.id
        assert one.peer is self.world.alive(Kind.ANSWER)
        assert other.peer is self.world.alive(Kind.OFFER)
        assert (one.heard, other.heard) == (other.said, one.said)
        assert one.said > 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.settle()


TestRendezvous = Rendezvous.TestCase
TestRendezvous.settings = settings(max_examples=60, stateful_step_count=30)
