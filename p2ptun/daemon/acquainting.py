"""Who comes for a code, and how far he has come: the conversation of two machines that pair (`signal.acquaintance`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from p2ptun.daemon.encounter import Encounter
from p2ptun.daemon.event import CodeEvent, ErrorEvent, Event, MeetingEvent
from p2ptun.daemon.group import single_error
from p2ptun.daemon.room_problem import CONFIRMATION_PATIENCE, CROWDED, PARTING_PATIENCE, Silence, why_gone
from p2ptun.errors import MalformedPacket, NotMet, RendezvousError, RoomGone, WrongCode
from p2ptun.rendezvous.base import BurnReason, Notice, Rendezvous, Room
from p2ptun.signal.acquaintance import Acquaintance, Stage, decode_acquaintance, encode_acquaintance
from p2ptun.signal.code import Code, draw_code
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Description, Kind
from p2ptun.signal.pairing import CodeConversation

AGAIN: Final = "Run p2ptun pair again on both sides, with a new code."
WRONG_CODE: Final = (
    "The other side has a wrong code: it was mistyped, or guessed. Nobody gets a second try at this one."
)


class Acquainting:
    """One conversation in one room: `enter` it, `run` it beside what waits for it, and `leave`.

    Attributes:
        own: What this side says of itself, from when the other one came.
        stage: How far this side has come.
    """

    def __init__(
        self, kind: Kind, name: str, describe: Callable[[bytes], Description], emit: Callable[[Event], None]
    ) -> None:
        """`name` is what this machine calls itself; `describe` describes it for the session of that id."""
        self.own: Description | None = None
        self.stage = Stage.PROPOSED
        self._kind = kind
        self._name = name
        self._describe = describe
        self._emit = emit
        self._theirs: Acquaintance | None = None
        self._confirmed: Confirmed | None = None
        self._problem: RendezvousError | None = None
        self._has_come = False
        self._news = trio.Event()
        self._conversation: CodeConversation
        self._encounter: Encounter
        self._room: Room | None = None

    @property
    def has_withdrawn(self) -> bool:
        """Whether the other side has said that it keeps nothing."""
        return self._theirs is not None and self._theirs.stage is Stage.WITHDRAWN

    async def enter(self, rendezvous: Rendezvous, code: Code | None) -> None:
        """Open a room and tell its code, or join the one that the code leads to. Raises RendezvousError."""
        if code is None:
            self._room = await rendezvous.open_room()
            code = draw_code(int(self._room.number or 0), os.urandom)
            self._begin(code)
            self._emit(CodeEvent(str(code)))
            return
        self._begin(code)
        try:
            self._room = await rendezvous.join_room(str(code.room), self._encounter.opening())
        except RoomGone as error:
            raise why_gone(error, AGAIN) from error

    async def run(self) -> None:
        """Carry the conversation until cancelled, or until there is a problem for those who wait."""
        assert self._room is not None  # noqa: S101 (entered)
        try:
            with single_error():
                await self._encounter.run(self._room)
        except RoomGone as error:
            self._fail(why_gone(error, AGAIN))
        except RendezvousError as error:
            self._fail(error)

    async def confirmed(self) -> Confirmed:
        """Wait until somebody has come and shown that he knows the code. Raises RendezvousError."""
        while not self._has_come:
            await self._wait()
        with trio.move_on_after(CONFIRMATION_PATIENCE):
            while self._confirmed is None:
                await self._wait()
        if self._confirmed is None:
            raise Silence("Somebody came, and didn't show that he knows the code.", AGAIN)
        return self._confirmed

    def say(self, stage: Stage) -> None:
        """Tell the other side that this one has come so far, while there is one that can be told."""
        self.stage = stage
        if self.own is not None and self._problem is None:
            self._encounter.say(encode_acquaintance(Acquaintance(stage, self._name, self.own)))

    async def reached(self, stage: Stage) -> Acquaintance:
        """Wait until the other side has come so far. Raises RendezvousError when it goes back, or can't be heard."""
        while True:
            if self.has_withdrawn:
                raise NotMet("The other side has given up.", AGAIN)
            if self._theirs is not None and self._theirs.stage >= stage:
                return self._theirs
            await self._wait()

    async def leave(self, reason: BurnReason) -> None:
        """Burn the room, when what this side said last has gone out."""
        room, self._room = self._room, None
        if room is None:
            return
        with trio.move_on_after(PARTING_PATIENCE, shield=True), suppress(RendezvousError):
            while self._problem is None and (message := self._conversation.next_message()) is not None:
                await room.send(message)
        with trio.move_on_after(PARTING_PATIENCE, shield=True), suppress(RendezvousError):
            await room.burn(reason)
        with trio.move_on_after(PARTING_PATIENCE, shield=True):
            await room.aclose()

    def _begin(self, code: Code) -> None:
        self._conversation = CodeConversation(self._kind, code, os.urandom)
        self._encounter = Encounter(self._conversation, self._listen)

    async def _wait(self) -> None:
        """Wait for something new. Raises the problem that there is."""
        if self._problem is not None:
            raise self._problem
        self._news = trio.Event()
        await self._news.wait()

    def _listen(self, event: ConversationEvent | Notice) -> None:
        match event:
            case Met(session_id):
                self._has_come = True
                self.own = self._describe(session_id)
                self.say(Stage.PROPOSED)
            case Confirmed():
                self._confirmed = event
            case Heard(said):
                self._hear(said)
            case Refused(RefusalReason.WRONG_CODE):
                self._problem = WrongCode(WRONG_CODE, AGAIN)
            case Refused():
                self._problem = _foreign()
            case Notice.JOINED:
                self._has_come = True
                self._emit(MeetingEvent())
            case Notice.CROWDED:
                self._emit(
                    ErrorEvent(
                        CROWDED,
                        "It may have been a mistyped number. If others know the code, pair again with a new one.",
                    )
                )
        self._news.set()

    def _hear(self, said: bytes) -> None:
        """Take what the other side says. It knows the code, so nonsense is another version, or another command."""
        try:
            theirs = decode_acquaintance(said)
        except MalformedPacket:
            self._problem = _foreign()
            return
        if theirs.description.kind is not self._kind:
            self._theirs = theirs

    def _fail(self, error: RendezvousError) -> None:
        self._problem = self._problem or error
        self._news.set()


def _foreign() -> RendezvousError:
    return RendezvousError(
        "What the other side says makes no sense here: it doesn't pair, or it is another version.",
        "Run p2ptun pair on both sides, and the same version of p2ptun.",
    )
