"""The conversation of two people who share a code."""

from __future__ import annotations

from p2ptun.signal.code import Code
from p2ptun.signal.conversation import ConversationEvent
from p2ptun.signal.description import Kind
from p2ptun.types import RandomBytes


class CodeConversation:
    """One side of a room that was opened for a code: `Kind.OFFER` shares it, `Kind.ANSWER` joins.

    Take the events first, say what is to be said, and then take the messages: what is said right after `Met` travels
    with the proof of knowing the code, in one message.
    """

    def __init__(self, kind: Kind, code: Code, random_bytes: RandomBytes) -> None:
        raise NotImplementedError

    def say(self, said: bytes) -> None:
        """Say something in this session; what was said before and hasn't left yet is forgotten.

        Raises:
            LocalProtocolError: Before `Met`, or more than `MAX_SAID` bytes.
        """
        raise NotImplementedError

    def receive_message(self, message: bytes) -> None:
        """Take what a rendezvous brought. Never raises: what isn't authentic and new is dropped."""
        raise NotImplementedError

    def next_message(self) -> bytes | None:
        """Return the next message for the rendezvous."""
        raise NotImplementedError

    def next_event(self) -> ConversationEvent | None:
        """Return the next thing that happened."""
        raise NotImplementedError
