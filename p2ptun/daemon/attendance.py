"""Keeps one side of a named room, where a machine that shares a secret with this one can find it at any time."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Final, NoReturn

import trio

from p2ptun.daemon.encounter import Encounter, Listener
from p2ptun.daemon.group import single_error
from p2ptun.daemon.notice import Notices
from p2ptun.errors import RendezvousError, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import IceServers, Rendezvous, Room
from p2ptun.signal.description import Kind
from p2ptun.signal.pinned import PinnedConversation, room_name, side_token

PATIENCE: Final = 30.0
"""Seconds in a room after which the next one is entered at once: it wasn't the room that failed."""

FIRST_PAUSE: Final = 0.25  # seconds before it is entered again, at first; twice as many each time
LAST_PAUSE: Final = 30.0

FRESH: Final = 2.0  # seconds: what was open for less is as good as new

CLOSING_PATIENCE: Final = 1.0  # seconds for a goodbye to a server

ABSENT: Final = "rendezvous-room"
"""The notice that stands while there is no room to be in."""


class Attendance:
    """Stays in the room as long as `run` does, whatever becomes of the rendezvous.

    One that can't be reached is no event: the room waits for it. One that has forgotten the room is entered anew. What
    is open towards it may be as dead as a path that has gone silent, without anybody being told: then `refresh`.
    """

    def __init__(
        self,
        dial: Callable[[], Rendezvous],
        secret: bytes,
        kind: Kind,
        notices: Notices,
        listen: Listener,
        offer: Callable[[IceServers], None],
    ) -> None:
        """`dial` makes the rendezvous, without a connection, and `secret` is what the two machines share.

        `listen` is told what happens, `offer` which servers there are.
        """
        self._dial = dial
        self._secret = secret
        self._kind = kind
        self._notices = notices
        self._listen = listen
        self._offer = offer
        self._room: Room | None = None
        self._entered_at = 0.0
        self._scope = trio.CancelScope()
        self.begin_anew()

    def say(self, said: bytes) -> None:
        """Say something in this session. Raises LocalProtocolError before there is one."""
        self._encounter.say(said)

    def begin_anew(self) -> None:
        """Be somebody who has just come: the next session is another one, for the other side as well."""
        self._conversation = PinnedConversation(self._secret, self._kind, os.urandom)
        self._encounter = Encounter(self._conversation, self._listen)
        self._scope.cancel()

    def refresh(self) -> None:
        """Enter the room over new connections, as soon as the present ones aren't new themselves."""
        if self._room is not None:
            self._scope.deadline = min(self._scope.deadline, self._entered_at + FRESH)

    async def run(self) -> NoReturn:
        """Stay until cancelled."""
        pause = FIRST_PAUSE
        while True:
            began_at = trio.current_time()
            problem: RendezvousError | None = None
            with trio.CancelScope() as self._scope:
                problem = await self._stay()
            if trio.current_time() - began_at > PATIENCE or problem is None:
                pause = FIRST_PAUSE
            if problem is not None:
                if not isinstance(problem, (RoomUnknown, RoomGone)):
                    self._notices.warn(ABSENT, str(problem), problem.remedy)
                await trio.sleep(pause * (0.5 + random.random()))
                pause = min(2 * pause, LAST_PAUSE)
            self._conversation.reopen()

    async def renew_ice(self) -> None:
        """Have servers and credentials offered anew, if there is a room."""
        if self._room is not None:
            try:
                self._offer(await self._room.renew_ice())
            except RendezvousError:
                return  # the room has ended: the next one offers some

    async def _stay(self) -> RendezvousError:
        """Be in the room until that fails, and tell why."""
        rendezvous, encounter = self._dial(), self._encounter
        try:
            name, token = room_name(self._secret), side_token(self._secret, self._kind)
            self._room = await rendezvous.enter_room(name, token, encounter.opening())
            self._entered_at = trio.current_time()
            self._notices.withdraw(ABSENT)
            self._offer(self._room.ice)
            with single_error():
                await encounter.run(self._room)
        except RendezvousError as error:
            return error
        finally:
            self._room = None
            with trio.move_on_after(CLOSING_PATIENCE, shield=True):
                await rendezvous.aclose()
