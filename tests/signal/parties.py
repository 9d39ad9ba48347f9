"""Two sides of a conversation to test with, and somebody who carries everything between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from p2ptun.signal.conversation import Conversation, ConversationEvent
from p2ptun.signal.description import Kind
from p2ptun.signal.missive import INCARNATION_SIZE
from p2ptun.signal.pinned import PinnedConversation

SECRET = Random(5).randbytes(32)


@dataclass
class Draws:
    """A source of randomness that remembers the first that was drawn: the id of an incarnation."""

    seed: int
    first: bytes = b""
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def __call__(self, size: int) -> bytes:
        drawn = self.random.randbytes(size)
        self.first = self.first or drawn
        return drawn


def incarnation(kind: Kind, seed: int, secret: bytes = SECRET) -> tuple[PinnedConversation, bytes]:
    """Begin a life of one side; return it and its id."""
    draws = Draws(seed)
    conversation = PinnedConversation(secret, kind, draws)
    assert len(draws.first) == INCARNATION_SIZE
    return conversation, draws.first


def messages_of(conversation: Conversation) -> list[bytes]:
    """Take all that a conversation has to send."""
    return list(iter(conversation.next_message, None))


def events_of(conversation: Conversation) -> list[ConversationEvent]:
    """Take all that has happened."""
    return list(iter(conversation.next_event, None))


def exchange(one: Conversation, other: Conversation) -> Iterator[bytes]:
    """Carry everything both ways until nobody has anything to say; yield each message. Events stay where they are."""
    while True:
        carried = [(other, message) for message in messages_of(one)]
        carried += [(one, message) for message in messages_of(other)]
        if not carried:
            return
        for receiver, message in carried:
            receiver.receive_message(message)
            yield message


def carry_all(one: Conversation, other: Conversation) -> list[bytes]:
    """Do that, and return what was carried."""
    return list(exchange(one, other))
