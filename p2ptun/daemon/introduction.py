"""How two sides come to know each other: one description each way, over whatever way there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from p2ptun.daemon.event import WaitingEvent
from p2ptun.daemon.options import Side
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.errors import RendezvousEnded, RendezvousError
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import Room
from p2ptun.signal.address import bid
from p2ptun.signal.blob import check_answer, check_offer, read_description
from p2ptun.signal.description import Description, Kind, draw_session_id, encode_description
from p2ptun.tunnel.control import IceDescription
from p2ptun.tunnel.psk import PskSource


@dataclass(frozen=True, slots=True)
class Introduced:
    """What an introduction came to.

    Attributes:
        offer, answer: What the two sides say of themselves.
        secrets: What they share besides, for their keys.
        state: How the other side's agent stood last, where that is known apart from its description.
    """

    offer: Description
    answer: Description
    secrets: dict[PskSource, bytes] = field(default_factory=dict, repr=False)
    state: IceDescription | None = None


class Introduction(Protocol):
    """Brings two descriptions together for the tunnel that owns it. Raises RendezvousError from any method."""

    @property
    def has_place(self) -> bool:
        """Whether the place where the two sides meet has answered."""
        ...

    async def introduce(self, nursery: trio.Nursery) -> Introduced:
        """Return what both sides say. What has to go on beside the tunnel runs in `nursery`."""
        ...

    async def complete(self, introduced: Introduced, nursery: trio.Nursery) -> None:
        """Let the other side know the rest: this side can be met from now on."""
        ...

    async def part(self) -> None:
        """Take leave of the rendezvous: the tunnel carries what there is to say."""
        ...


class PasteIntroduction:
    """People carry one description each way, in clear, and newer ones when addresses change."""

    def __init__(self, tunnel: Tunnel, peer: Peer, side: Side, room: Room) -> None:
        self._tunnel = tunnel
        self._peer = peer
        self._side = side
        self._room = room

    @property
    def has_place(self) -> bool:
        """Say yes: people are there."""
        return True

    async def introduce(self, nursery: trio.Nursery) -> Introduced:
        """Return offer and answer. The side that shares has sent its own; the answer waits for `complete`."""
        nursery.start_soon(self._tunnel.gathering.find_servers, self._tunnel.driver)
        await self._tunnel.port_mapping.settle()
        return Introduced(*await (self._share() if self._side is Side.SHARE else self._join()))

    async def complete(self, introduced: Introduced, nursery: trio.Nursery) -> None:
        """Give the answer, if it is this side's; there is no other way for what comes later than the tunnel."""
        if self._side is Side.JOIN:
            await self._send(introduced.answer)
            nursery.start_soon(self._keep_current, introduced.answer)
        self._peer.end_of_candidates(trio.current_time())
        self._tunnel.driver.flush()

    async def part(self) -> None:
        """Leave stdin and stdout alone."""
        await self._room.aclose()

    async def _send(self, description: Description) -> None:
        """Give the other side our description."""
        await self._room.send(encode_description(description))
        self._tunnel.narrator.is_described = True

    async def _keep_current(self, old: Description) -> None:
        """Send a new description whenever a changed public address has made the last one out of date."""
        narrator = self._tunnel.narrator
        while True:
            await narrator.changed.wait()
            narrator.changed = trio.Event()
            await self._tunnel.gathering.wait()
            await self._send(self._describe(old.kind, old.session_id))

    async def _share(self) -> tuple[Description, Description]:
        """Give an offer, take the answer."""
        await self._tunnel.gathering.gather(self._peer)
        offer = self._describe(Kind.OFFER, draw_session_id(os.urandom))
        async with trio.open_nursery() as nursery:
            await self._send(offer)
            nursery.start_soon(self._keep_current, offer)
            answer = await self._receive(lambda answer: check_answer(offer, answer), Kind.ANSWER)
            nursery.cancel_scope.cancel()
        return offer, answer

    async def _join(self) -> tuple[Description, Description]:
        """Take an offer, work out the answer."""
        offer = await self._receive(check_offer, Kind.OFFER)
        await self._tunnel.gathering.gather(self._peer)
        return offer, self._describe(Kind.ANSWER, offer.session_id)

    def _describe(self, kind: Kind, session_id: bytes) -> Description:
        return describe(self._tunnel, self._peer, kind, session_id)

    async def _receive(self, check: Callable[[Description], None], kind: Kind) -> Description:
        """Wait for the other side's description. A person at a terminal may try again after a bad one."""
        while True:
            self._tunnel.notices.emit(WaitingEvent(kind.value))
            try:
                delivery = await self._room.receive()
                description = read_description(delivery if isinstance(delivery, bytes) else b"")
                check(description)
                return description
            except RendezvousEnded:
                raise
            except RendezvousError as error:
                if not self._tunnel.options.is_interactive:
                    raise
                self._tunnel.notices.tell(str(error), error.remedy)


def describe(tunnel: Tunnel, peer: Peer, kind: Kind, session_id: bytes) -> Description:
    """Describe this side of a tunnel as it is now."""
    tunnel.relays.note_described()
    return Description(
        kind=kind,
        session_id=session_id,
        credentials=peer.agent.local_credentials,
        public_key=tunnel.keys.public,
        candidates=peer.describe(),
        end_of_candidates=tunnel.narrator.gathered.is_set(),
        addresses=tunnel.options.addresses,
        address_bids=bid(session_id, tunnel.used),
        routes=tunnel.options.routes,
        features=peer.agent.nat_hint.encode(),
    )
