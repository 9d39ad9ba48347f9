"""How two machines that have met once meet again when their tunnel is lost and neither finds the other by itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import NoReturn

import trio

from p2ptun.daemon.attendance import FIRST_PAUSE, LAST_PAUSE, PATIENCE
from p2ptun.daemon.encounter import Encounter
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.errors import MalformedPacket, RendezvousError, RoomUnknown
from p2ptun.node.event import (
    LocalCandidateFound,
    LocalCandidateRemoved,
    NodeEvent,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
)
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import IceServers, Notice, Rendezvous, Room
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard
from p2ptun.signal.description import Description, Kind
from p2ptun.signal.letter import Letter, decode_letter, encode_letter
from p2ptun.signal.pinned import PinnedConversation, room_name, side_token

TROUBLE_PATIENCE = 2.0
"""Seconds for which nothing comes back over the path before the rendezvous is asked: most paths are found without."""

LINGERING = 10.0
"""Seconds that a side stays in the room when it is connected again: the other one may lack its last letter."""

PARTING_PATIENCE = 1.0  # seconds


class Reunion:
    """Waits beside a tunnel, without a sound, until nothing comes back over its path, or a relay's credential ends.

    Then it enters a room whose name only the two know, and tells there how this side's agent stands.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        peer: Peer,
        rendezvous: Rendezvous,
        secret: bytes,
        kind: Kind,
        own: Callable[[], Description],
    ) -> None:
        """`secret` is what the two share since they met; `own` describes this side."""
        self._tunnel = tunnel
        self._peer = peer
        self._rendezvous = rendezvous
        self._secret = secret
        self._kind = kind
        self._own = own
        self._encounter: Encounter | None = None
        self._has_confirmed = False
        self._room: Room | None = None
        self._presence = trio.Lock()
        self._trouble, self._relief = trio.Event(), trio.Event()
        tunnel.listeners.append(self._follow)

    async def run(self) -> NoReturn:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_path)
            nursery.start_soon(self._watch_credentials)
        raise AssertionError("both watch for ever")  # pragma: no cover

    async def _watch_path(self) -> NoReturn:
        while True:
            await self._trouble.wait()
            with trio.move_on_after(TROUBLE_PATIENCE):
                await self._relief.wait()
            if not self._relief.is_set():
                await self._meet()

    async def _watch_credentials(self) -> NoReturn:
        """Fetch new credentials for the relays that the rendezvous offered, when the old ones end."""
        relays = self._tunnel.relays
        while True:
            await relays.borrowed_ended.wait()
            relays.borrowed_ended = trio.Event()
            try:
                self._offer(await self._fetch_ice())
            except RendezvousError as error:
                self._tunnel.notices.tell(str(error), error.remedy)

    async def _fetch_ice(self) -> IceServers:
        """Ask in the room where we are, or enter it for that: never twice at once, or one would unseat the other."""
        if self._room is not None:
            return await self._room.renew_ice()
        async with self._presence:
            encounter = self._new_encounter()
            room = await self._rendezvous.enter_room(self._name, self._token, encounter.opening())
            await room.aclose()
            return room.ice

    async def _meet(self) -> None:
        """Tell and hear until the tunnel is up again."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stay)
                await self._relief.wait()
                with trio.move_on_after(LINGERING):
                    await self._trouble.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._encounter, self._has_confirmed = None, False

    async def _stay(self) -> NoReturn:
        """Be in the room, in another one of that name whenever that has ended or can't be entered; tell why once."""
        pause, told = FIRST_PAUSE, ""
        while True:
            began_at = trio.current_time()
            self._encounter, self._has_confirmed = self._new_encounter(), False
            try:
                await self._converse(self._encounter)
            except RendezvousError as error:
                if not isinstance(error, RoomUnknown) and str(error) != told:
                    told = str(error)
                    self._tunnel.notices.tell(told, error.remedy)
            if trio.current_time() - began_at > PATIENCE:
                pause = FIRST_PAUSE
            await trio.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, LAST_PAUSE)

    async def _converse(self, encounter: Encounter) -> None:
        async with self._presence:
            room = await self._rendezvous.enter_room(self._name, self._token, encounter.opening())
            try:
                self._room = room
                self._offer(room.ice)
                await encounter.run(room)
            finally:
                self._room = None
                with trio.move_on_after(PARTING_PATIENCE, shield=True):
                    await room.aclose()

    def _offer(self, ice: IceServers) -> None:
        self._tunnel.gathering.offer(ice)
        self._tunnel.driver.flush()

    def _new_encounter(self) -> Encounter:
        return Encounter(PinnedConversation(self._secret, self._kind, os.urandom), self._listen)

    @property
    def _name(self) -> str:
        return room_name(self._secret)

    @property
    def _token(self) -> str:
        return side_token(self._secret, self._kind)

    def _listen(self, event: ConversationEvent | Notice) -> None:
        match event:
            case Confirmed():
                self._has_confirmed = True
                self._say()
            case Heard(said):
                self._hear(said)
            case _:
                pass

    def _hear(self, said: bytes) -> None:
        try:
            letter = decode_letter(said)
        except MalformedPacket:
            return
        self._peer.receive_signal(letter.state, trio.current_time())
        self._tunnel.driver.flush()

    def _follow(self, event: NodeEvent) -> None:
        match event.event:
            case PeerStateChanged(PeerState.SUSPECT | PeerState.CONNECTING):
                self._relief = trio.Event()
                self._trouble.set()
            case PeerStateChanged():
                self._trouble = trio.Event()
                self._relief.set()
            case LocalCandidateFound() | LocalCandidateRemoved() | PeerRestarted():
                self._say()
            case _:
                pass

    def _say(self) -> None:
        if self._encounter is not None and self._has_confirmed:
            self._encounter.say(encode_letter(Letter(self._own(), self._peer.negotiation.write())))
