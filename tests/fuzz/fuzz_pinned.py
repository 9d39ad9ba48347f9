"""Pinned peers between a hostile rendezvous and one that has the secret and is hostile itself.

The input is cut into commands: a byte that says what and who, a byte that says how long, and so many bytes. What the
sides wrote can be named, damaged and brought to either; safety is checked by the model of the tests. In the end an
honest rendezvous lets them meet. The peer that is hostile itself gets a side of its own: it must do no worse than waste
that side's session.
"""

from __future__ import annotations

from random import Random

from p2ptun.aead.xchacha import KEY_SIZE, NONCE_SIZE, seal
from p2ptun.errors import AuthenticationFailed, MalformedPacket
from p2ptun.signal.conversation import Confirmed, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.missive import ANYBODY, Missive, decode_missive, encode_missive, open_missive
from p2ptun.signal.pinned import MAX_QUESTIONS, PinnedConversation
from tests.signal.mailroom import OTHER, Room, World
from tests.signal.parties import SECRET, Draws, events_of, messages_of

MAX_COMMANDS = 64
KINDS = tuple(Kind)
KEY, NONCE = bytes(KEY_SIZE), bytes(NONCE_SIZE)


def test_one_input(data: bytes) -> None:
    _read(data)
    world, victim = World([]), Victim()
    for kind in KINDS:
        world.begin(kind)
    at = 0
    for _ in range(MAX_COMMANDS):
        if at + 2 > len(data):
            break
        what, size = data[at], data[at + 1]
        argument = data[at + 2 : at + 2 + size]
        at += 2 + size
        _obey(world, victim, what, argument)
    world.rooms.append(Room(64))
    world.settle(limit=200)
    one, other = (world.session_of(kind) for kind in KINDS)
    assert one.id == other.id


def _read(data: bytes) -> None:
    try:
        missive = decode_missive(data)
    except MalformedPacket:
        pass
    else:
        assert decode_missive(encode_missive(missive)) == missive
    try:
        open_missive(KEY, data)
    except (AuthenticationFailed, MalformedPacket):
        return
    raise AssertionError("nobody sealed this")


def _obey(world: World, victim: Victim, what: int, argument: bytes) -> None:
    kind = KINDS[what & 1]
    match what >> 1 & 7:
        case 0:
            world.begin(kind)
        case 1:
            world.say(kind)
        case 2:
            world.reopen(kind)
        case 3:
            world.deliver(kind, argument)
        case 4 if argument:
            written = world.recorded[KINDS[argument[0] & 1]]
            message = bytearray(written[argument[-1] % len(written)])
            for place, flip in zip(argument[1:-1:2], argument[2:-1:2], strict=False):
                message[place % len(message)] ^= flip
            world.deliver(kind, bytes(message))
        case 5 if argument:
            written = world.recorded[OTHER[kind]]
            world.deliver(kind, written[-1 - argument[0] % min(4, len(written))])
        case 6:
            victim.receive(argument)
        case 7 if len(argument) >= 6:
            victim.receive(encode_missive(victim.missive(argument)))


class Victim:
    """A side whose peer is hostile."""

    def __init__(self) -> None:
        draws = Draws(1)
        self.conversation = PinnedConversation(SECRET, Kind.OFFER, draws)
        self.id = draws.first
        self.key = PinnedConversation(SECRET, Kind.ANSWER, Random(2).randbytes)._sealing_key
        self.written = len(messages_of(self.conversation))
        self.sessions = 0

    def missive(self, choices: bytes) -> Missive:
        """Write what the peer could write."""
        sender, serial, recipient, seen, revision, asks, *said = choices
        recipients = (ANYBODY, self.id, bytes([recipient]) * 16)
        name, to = bytes([sender & 7 or 8]) * 16, recipients[recipient % 3]
        return Missive(name, serial or 1, to, seen, revision, bytes(said), asks > 127)

    def receive(self, plain: bytes) -> None:
        """Bring what is authentic, but for its sense."""
        self.conversation.receive_message(NONCE + seal(self.key, NONCE, b"", plain))
        messages = messages_of(self.conversation)
        assert len(messages) <= 1
        self.written += len(messages)
        events = events_of(self.conversation)
        if events and isinstance(events[0], Met):
            assert isinstance(events[1], Confirmed)
            self.sessions += 1
            events = events[2:]
        assert len(events) <= self.sessions
        assert all(isinstance(event, Heard) for event in events)
        assert len(self.conversation._inquiry._waiting) == 0
        assert len(self.conversation._inquiry._asked) <= 2 * MAX_QUESTIONS
