"""Any message into a conversation over a code, in each of its states: nothing raises, and nobody is let in or heard."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy

from p2ptun.errors import MalformedPacket
from p2ptun.signal.code import Code
from p2ptun.signal.conversation import Confirmed, Heard
from p2ptun.signal.description import Kind
from p2ptun.signal.envelope import Frame, FrameKind, decode_envelope, encode_envelope
from p2ptun.signal.pairing import CodeConversation

CODE = Code(42, 123)


def states() -> Iterator[tuple[CodeConversation, bytes]]:
    """Yield both sides at the beginning, when they have met and when confirmed, each with what comes to it next."""
    sides = [CodeConversation(kind, CODE, random.Random(kind.value).randbytes) for kind in Kind]
    for state in range(3):
        if state == 2:
            for side in sides:
                side.say(b"said")
        messages = [side.next_message() or b"" for side in sides]
        for side, message in zip(sides, reversed(messages), strict=True):
            yield deepcopy(side), message
            side.receive_message(message)
            while side.next_event():
                pass


STATES = list(states())


def choose(number: int) -> tuple[CodeConversation, bytes]:
    """Choose a state; the first two seldom, since a point costs milliseconds to take in."""
    return STATES[number % 16 if number % 16 < 2 else 2 + number % 4]


def offers(data: bytes, message: bytes) -> Iterator[bytes]:
    """Yield the input as a message and as each kind of frame, and what should come next, cut and changed by it."""
    yield data
    for kind in FrameKind:
        yield encode_envelope([Frame(kind, data[:8000])])
    at = int.from_bytes(data[1:3], "big") % len(message)
    yield message[:at]
    if data[3:4] > b"\0":
        yield message[:at] + bytes([message[at] ^ data[3]]) + message[at + 1 :]


def test_one_input(data: bytes) -> None:
    with suppress(MalformedPacket):
        assert len(encode_envelope(decode_envelope(data))) <= len(data)
    template, message = choose(data[0] if data else 0)
    conversation = deepcopy(template)
    for offer in offers(data, message):
        conversation.receive_message(offer)
    events = list(iter(conversation.next_event, None))
    assert not any(isinstance(event, Confirmed | Heard) for event in events)
    while conversation.next_message():
        pass
