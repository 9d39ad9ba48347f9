"""What two sides say to each other through rooms of a rendezvous: the doors that every conversation has.

A conversation is a machine without time. It takes messages as a rendezvous brings them, whatever that did to them, and
gives messages to send, whole, and events. `CodeConversation` is for two people who share a code, `PinnedConversation`
for two machines that share a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from p2ptun.tunnel.psk import PskSource

MAX_SAID = 12_000
"""Bytes that can be said at once: with a PAKE, a key and a tag it is still one message of a rendezvous (16 KiB)."""

SESSION_ID_SIZE = 8


class RefusalReason(Enum):
    """Why a conversation is over before it began."""

    WRONG_CODE = "the other side has another code"
    MALFORMED = "what came is no message of p2ptun's"


@dataclass(frozen=True, slots=True)
class Met:
    """The other side is there: what is said from now on is for it, in this session, and only it can read it.

    Both sides know the session by the same id. Another `Met` means that the other side began anew; whatever was said
    before is forgotten.
    """

    session_id: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """It has proved that it knows the code or the secret. Nothing is heard before this.

    Attributes:
        secrets: What both share now and may mix into keys; none when the secret was shared before.
        verifier: Six words that are the same on both sides, and nowhere else, unless somebody sits in between who knew
            the code. Empty where there is nothing to verify.
        standing_secret: 32 bytes by which the two can meet again in a named room; empty when they share that already.
    """

    secrets: dict[PskSource, bytes] = field(default_factory=dict, repr=False)
    verifier: tuple[str, ...] = ()
    standing_secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """The other side said this. Authentic, later than all that was heard in this session, and not to be trusted."""

    said: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """It is over: nothing more is sent or heard."""

    reason: RefusalReason


ConversationEvent: TypeAlias = Met | Confirmed | Heard | Refused


class Conversation(Protocol):
    """The doors. After each input the owner takes all of `next_event`, says what it has to, and then takes all of
    `next_message`: what is said at once travels with what the conversation itself has to send."""

    def say(self, said: bytes) -> None:
        """Say something in this session. What is said later makes what was said before out of date.

        Raises:
            LocalProtocolError: Before `Met`, or more than `MAX_SAID` bytes.
        """
        ...

    def receive_message(self, message: bytes) -> None:
        """Take what a rendezvous brought. Never raises: what isn't authentic and new is dropped."""
        ...

    def next_message(self) -> bytes | None:
        """Return the next message for the rendezvous. There is one from the beginning: the opening."""
        ...

    def next_event(self) -> ConversationEvent | None:
        """Return the next thing that happened."""
        ...
