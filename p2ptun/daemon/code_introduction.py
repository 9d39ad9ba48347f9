"""How two people with a code bring their machines together: a room, a PAKE, and sealed letters."""

from __future__ import annotations

import os
from contextlib import suppress

import trio

from p2ptun.daemon.encounter import Encounter
from p2ptun.daemon.event import CodeEvent, MeetingEvent, VerifyEvent
from p2ptun.daemon.group import single_error
from p2ptun.daemon.introduction import Introduced, describe
from p2ptun.daemon.options import Side
from p2ptun.daemon.room_problem import (
    CONFIRMATION_PATIENCE,
    CROWDED,
    PARTING_PATIENCE,
    Silence,
    burn_reason,
    why_gone,
)
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.daemon.verification import confirm_words
from p2ptun.errors import MalformedPacket, RendezvousError, RoomGone, RoomUnknown, WrongCode
from p2ptun.node.event import (
    GatheringCompleted,
    LocalCandidateFound,
    LocalCandidateRemoved,
    NodeEvent,
    PeerRestarted,
)
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import BurnReason, Notice, Rendezvous, Room
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.code import Code, draw_code
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Description, Kind
from p2ptun.signal.letter import Letter, decode_letter, encode_letter
from p2ptun.signal.pairing import CodeConversation

AGAIN = {
    Side.SHARE: "Share again, and give the new code to the other side.",
    Side.JOIN: "Let the other side share again, and join with its new code.",
}
WRONG_CODE = {
    Side.SHARE: "Somebody came with a wrong code: it was mistyped, or guessed. Nobody gets a second try at this one.",
    Side.JOIN: "This isn't the other side's code: it was mistyped, or is an old one. Nobody gets a second try at it.",
}
VERIFY_ADVICE = "Share again, and give the code to the other side over a channel that nobody else reads."
SILENCE = {
    Side.SHARE: "Somebody came, and didn't show that he knows the code. Nobody gets a second try at this one.",
    Side.JOIN: "The other side doesn't answer: p2ptun share has ended there, or has no network.",
}

STALE = (GatheringCompleted, LocalCandidateFound, LocalCandidateRemoved, PeerRestarted)
"""What makes the last letter out of date."""


class CodeIntroduction:
    """One room and one conversation, from `introduce` to `part`. Candidates follow as they come.

    Attributes:
        standing_secret: By what the two can meet again when the tunnel is lost; empty before they have met.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        peer: Peer,
        side: Side,
        rendezvous: Rendezvous,
        lines: LineReader,
        opened: Room | None,
    ) -> None:
        """`lines` are what the person types; `opened` is a room of ours, if there is one by now."""
        self.standing_secret = b""
        self._tunnel = tunnel
        self._peer = peer
        self._side = side
        self._rendezvous = rendezvous
        self._lines = lines
        self._own: Description | None = None
        self._letter: Letter | None = None
        self._confirmed: Confirmed | None = None
        self._problem: RendezvousError | None = None
        self._told = -1
        self._has_come = False
        self._news = trio.Event()
        self._room = opened
        self._encounter: Encounter | None = None
        tunnel.listeners.append(self._follow)

    @property
    def has_place(self) -> bool:
        """Whether there has been a room."""
        return self._encounter is not None

    async def introduce(self, nursery: trio.Nursery) -> Introduced:
        """Show or use the code, and return what both sides say once both have proved that they know it.

        Raises:
            WrongCode: Somebody had another one, or the person saw other words than the other side. The room is burnt.
            RendezvousError: The two sides can't be brought together.
        """
        self._tunnel.gathering.expects_offer = True
        nursery.start_soon(self._tunnel.gathering.find_servers, self._tunnel.driver)
        try:
            confirmed, letter = await self._meet(nursery)
            if self._tunnel.options.verifies:
                await self._verify(confirmed.verifier)
        except RendezvousError as error:
            await self._burn(burn_reason(error))
            raise
        except BaseException:  # the end of the program, which comes as a group where several tasks hear of it
            await self._burn(BurnReason.LEFT)
            raise
        own = self._own
        assert own is not None  # noqa: S101 (it was said before anything was heard)
        self.standing_secret = confirmed.standing_secret
        pair = (own, letter.description) if self._side is Side.SHARE else (letter.description, own)
        return Introduced(*pair, confirmed.secrets, letter.state)

    async def complete(self, introduced: Introduced, nursery: trio.Nursery) -> None:
        """Take in what has come to be known of the other side since it described itself."""
        if self._letter is not None:
            self._hear_state(self._letter)

    async def part(self) -> None:
        """Burn the room: it has served."""
        await self._burn(BurnReason.DONE)

    # Meeting

    async def _meet(self, nursery: trio.Nursery) -> tuple[Confirmed, Letter]:
        begun = trio.Event()
        nursery.start_soon(self._gather, begun)
        while True:
            try:
                encounter, room = await (self._open() if self._side is Side.SHARE else self._join())
            except RoomGone as error:
                raise why_gone(error, AGAIN[self._side]) from error
            self._encounter, self._room = encounter, room
            self._tunnel.gathering.offer(room.ice)
            begun.set()
            nursery.start_soon(self._carry, encounter, room)
            try:
                return await self._settle()
            except RoomUnknown:
                if self._side is Side.JOIN or self._own is not None:
                    raise
                self._problem, self._has_come, self._room = None, False, None
                self._tunnel.notices.tell(
                    "The rendezvous has forgotten this side's room: it was started anew, it seems.",
                    "Give the other side the new code.",
                )

    async def _gather(self, begun: trio.Event) -> None:
        """Tell how this side looks from outside, as soon as it is known whom to ask; nothing waits for that."""
        await begun.wait()
        await self._tunnel.gathering.gather(self._peer)

    async def _open(self) -> tuple[Encounter, Room]:
        room = self._room or await self._rendezvous.open_room()
        code = draw_code(int(room.number or 0), os.urandom)
        self._tunnel.notices.emit(CodeEvent(str(code)))
        return self._converse(Kind.OFFER, code), room

    async def _join(self) -> tuple[Encounter, Room]:
        code = self._tunnel.options.code
        if code is None:
            raise RendezvousError("There is no code.", "Run p2ptun join CODE with the code that the other side shows.")
        encounter = self._converse(Kind.ANSWER, code)
        return encounter, await self._rendezvous.join_room(str(code.room), encounter.opening())

    def _converse(self, kind: Kind, code: Code) -> Encounter:
        return Encounter(CodeConversation(kind, code, os.urandom), self._listen)

    async def _carry(self, encounter: Encounter, room: Room) -> None:
        try:
            await encounter.run(room)
        except RoomGone as error:
            told = why_gone(error, AGAIN[self._side])
            if self._has_introduced and not self._tunnel.narrator.has_met and error.reason != BurnReason.DONE.value:
                raise _about_words(told) from error  # a person over there took longer than the one here, and said no
            self._fail(told)
        except RendezvousError as error:
            self._fail(error)

    async def _settle(self) -> tuple[Confirmed, Letter]:
        """Wait until both sides have proved themselves and said what they are.

        Who shares waits for somebody to come, as long as it takes; who joins comes to somebody who should be there. Who
        comes without a word has taken the only place, and doesn't keep it.
        """
        while self._side is Side.SHARE and not self._has_come and self._problem is None:
            await self._wait()
        with trio.move_on_after(CONFIRMATION_PATIENCE):
            while self._problem is None:
                if self._confirmed is not None and self._letter is not None:
                    return self._confirmed, self._letter
                await self._wait()
        raise self._problem or Silence(SILENCE[self._side], AGAIN[self._side])

    @property
    def _has_introduced(self) -> bool:
        """Whether the node knows the other side by now."""
        return self._peer.link is not None

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    # What the conversation tells

    def _listen(self, event: ConversationEvent | Notice) -> None:
        match event:
            case Met(session_id):
                self._meet_other(session_id)
            case Confirmed():
                self._confirmed = event
            case Heard(said):
                self._hear(said)
            case Refused(RefusalReason.WRONG_CODE):
                self._problem = WrongCode(WRONG_CODE[self._side], AGAIN[self._side])
            case Refused():
                self._problem = RendezvousError(
                    "What the other side says makes no sense to this version of p2ptun.",
                    "Install the same version of p2ptun on both sides.",
                )
            case Notice.JOINED:
                self._has_come = True
                self._tunnel.notices.emit(MeetingEvent())
            case Notice.CROWDED:
                self._tunnel.notices.tell(
                    CROWDED,
                    "It may have been a mistyped number. If codes of yours are known to others, share again.",
                )
        self._news.set()

    def _meet_other(self, session_id: bytes) -> None:
        self._has_come = True
        self._tunnel.narrator.began_at = trio.current_time()
        self._own = describe(self._tunnel, self._peer, self._side.kind, session_id)
        self._say()

    def _hear(self, said: bytes) -> None:
        """Take a letter. Who has proved to know the code may still say nonsense; that is as good as silence."""
        with suppress(MalformedPacket):
            letter = decode_letter(said)
            if letter.description.kind is self._side.kind:
                return
            self._letter = letter
            if self._has_introduced:
                self._hear_state(letter)

    def _hear_state(self, letter: Letter) -> None:
        self._peer.receive_signal(letter.state, trio.current_time())
        self._tunnel.driver.flush()

    def _fail(self, error: RendezvousError) -> None:
        """Take note that the room is of no more use. When the two know each other by then, that is nothing new."""
        if not self._has_introduced:
            self._problem = error
            self._news.set()

    # What this side tells

    def _follow(self, event: NodeEvent) -> None:
        if isinstance(event.event, STALE) and self._own is not None and not self._tunnel.narrator.has_met:
            self._say()

    def _say(self) -> None:
        """Say what this side is, and how its agent stands, if that is news."""
        state = self._peer.negotiation.write()
        if self._own is not None and self._encounter is not None and state.revision != self._told:
            self._told = state.revision
            self._encounter.say(encode_letter(Letter(self._own, state)))

    # The end

    async def _verify(self, words: tuple[str, ...]) -> None:
        """Have the person compare words, for as long as the other side has nothing against it.

        Raises:
            WrongCode: The words differ, says a person here or there; or nobody says that they don't.
            RendezvousError: The other side has gone.
        """
        self._tunnel.notices.emit(VerifyEvent(list(words)))
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed)
                await confirm_words(self._lines, self._tunnel.notices.tell, VERIFY_ADVICE)
                nursery.cancel_scope.cancel()

    async def _heed(self) -> None:
        while self._problem is None:
            await self._wait()
        raise _about_words(self._problem)

    async def _burn(self, reason: BurnReason) -> None:
        if self._room is not None:
            with trio.move_on_after(PARTING_PATIENCE, shield=True), suppress(RendezvousError):
                await self._room.burn(reason)
            with trio.move_on_after(PARTING_PATIENCE, shield=True):
                await self._room.aclose()
            self._room = None


def _about_words(error: RendezvousError) -> RendezvousError:
    """Put into words what ended the comparing of words: who says at the other side that they differ, burns the room."""
    if not isinstance(error, WrongCode):
        return error
    return WrongCode("At the other side the words weren't confirmed: somebody may sit in between.", VERIFY_ADVICE)
