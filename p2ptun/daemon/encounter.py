"""Carries a conversation over a room of a rendezvous."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

import trio

from p2ptun.daemon.group import single_error
from p2ptun.rendezvous.base import Delivery, Notice, Room
from p2ptun.signal.conversation import Conversation, ConversationEvent

Listener: TypeAlias = Callable[[ConversationEvent | Notice], None]


class Encounter:
    """Gives a room what a conversation has to say, and a conversation what the room brings.

    `listen` is told every event before the next message is sent, and may `say` something then: what is said at once
    leaves together with what the conversation itself has to send.
    """

    def __init__(self, conversation: Conversation, listen: Listener) -> None:
        self._conversation = conversation
        self._listen = listen
        self._news = trio.Event()

    def opening(self) -> bytes:
        """Return the message with which to join or enter a room; later ones go through `run`."""
        return self._conversation.next_message() or b""

    def say(self, said: bytes) -> None:
        """Say something in this session. Raises LocalProtocolError before there is one."""
        self._conversation.say(said)
        self._news.set()

    async def run(self, room: Room) -> NoReturn:
        """Carry messages until cancelled. Raises RendezvousError as the room does."""
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, room)
                while True:
                    self._take(await room.receive())
        raise AssertionError("it goes on until it is cancelled")  # pragma: no cover

    def _take(self, delivery: Delivery) -> None:
        if isinstance(delivery, Notice):
            self._listen(delivery)
        else:
            self._conversation.receive_message(delivery)
        while (event := self._conversation.next_event()) is not None:
            self._listen(event)
        self._news.set()

    async def _send(self, room: Room) -> NoReturn:
        while True:
            self._news = trio.Event()
            while (message := self._conversation.next_message()) is not None:
                await room.send(message)
            await self._news.wait()
