"""How two sides come to know each other: gathering, and one description each way."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from p2ptun.daemon.event import GatheredEvent, GatheringEvent, WaitingEvent
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions, Side
from p2ptun.daemon.relays import Relays
from p2ptun.errors import P2ptunError, RendezvousEnded, RendezvousError
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.io.driver import Driver
from p2ptun.io.resolver import resolve
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import Rendezvous
from p2ptun.signal.address import bid
from p2ptun.signal.blob import check_answer, check_offer, read_description
from p2ptun.signal.description import Description, Kind, draw_session_id, encode_description
from p2ptun.stun.uri import StunUri
from p2ptun.turn.server import Server
from p2ptun.types import IPNetwork, Transport

GATHERING_PATIENCE = 1.0
"""A description goes out when every server has answered, or after so long. Later candidates travel in the tunnel."""

RELAY_PATIENCE = 4.0
"""How much longer it waits while no relay has given an address, and one still may: without it there may never be a
tunnel for later candidates to travel in."""

NO_REFLEXIVE = "no-reflexive-address"


class Introduction:
    """Brings two descriptions together for the tunnel that owns it.

    `find_servers` runs beside `introduce`, and `keep_current` from when a description was sent.
    """

    def __init__(
        self,
        options: AdhocOptions,
        side: Side,
        rendezvous: Rendezvous,
        narrator: Narrator,
        notices: Notices,
        relays: Relays,
        peer: Peer,
        public_key: bytes,
        used: list[IPNetwork],
    ) -> None:
        """`public_key` is what this side will prove to have, `used` are the networks in use on this machine."""
        self._options = options
        self._side = side
        self._rendezvous = rendezvous
        self._narrator = narrator
        self._notices = notices
        self._relays = relays
        self._peer = peer
        self._public_key = public_key
        self._used = used

    async def introduce(self) -> tuple[Description, Description]:
        """Return offer and answer. The side that shares has sent its own; the answer waits for `send`.

        Raises:
            RendezvousError: When the other side's description can't be had.
        """
        return await (self._share() if self._side is Side.SHARE else self._join())

    async def find_servers(self, driver: Driver) -> None:
        """Look up the servers' names, all at once; the agent asks each as soon as its address is known.

        Those that aren't found are looked up again in the next network.
        """
        missing = {*self._options.reflectors, *self._options.relays}
        while True:
            moved = self._narrator.moved
            async with trio.open_nursery() as nursery:
                for uri in missing:
                    nursery.start_soon(self._find_server, driver, uri, missing)
            driver.node.end_of_servers(trio.current_time())
            driver.flush()
            if not missing:
                return
            await moved.wait()

    async def send(self, description: Description) -> None:
        """Give the other side our description. Raises RendezvousError."""
        await self._rendezvous.send(encode_description(description))
        self._narrator.is_described = True

    async def keep_current(self, old: Description) -> None:
        """Send a new description whenever a changed public address has made the last one out of date."""
        while True:
            await self._narrator.changed.wait()
            self._narrator.changed = trio.Event()
            await self._wait_for_servers()
            await self.send(self._describe(old.kind, old.session_id))

    async def _share(self) -> tuple[Description, Description]:
        """Give an offer, take the answer."""
        await self._gather()
        offer = self._describe(Kind.OFFER, draw_session_id(os.urandom))
        async with trio.open_nursery() as nursery:
            await self.send(offer)
            nursery.start_soon(self.keep_current, offer)
            answer = await self._receive(lambda answer: check_answer(offer, answer), Kind.ANSWER)
            nursery.cancel_scope.cancel()
        return offer, answer

    async def _join(self) -> tuple[Description, Description]:
        """Take an offer, work out the answer."""
        offer = await self._receive(check_offer, Kind.OFFER)
        await self._gather()
        return offer, self._describe(Kind.ANSWER, offer.session_id)

    async def _gather(self) -> None:
        """Wait until every server has answered, or for as long as a person may be kept waiting."""
        if not self._narrator.gathered.is_set():
            self._notices.emit(GatheringEvent(len(self._options.reflectors), len(self._options.relays)))
        await self._wait_for_servers()
        hosts = {
            each.base.address for each in self._peer.agent.local_candidates if each.base not in self._narrator.relays
        }
        reflexive, relays = seen_from_outside(self._peer), self._relays.names
        asked = len(self._options.reflectors)
        self._notices.emit(GatheredEvent(len(hosts), reflexive, asked, relays, len(self._options.relays)))
        if asked and not reflexive:
            self._notices.warn(
                NO_REFLEXIVE,
                "No STUN server has answered yet, so this side's public address isn't known.",
                "It goes on over the relay."
                if relays
                else "It goes on without: that is enough in one network, or when the other side can be reached.",
            )

    async def _wait_for_servers(self) -> None:
        """Wait until every server has answered; not long once what they are asked for is there."""
        with trio.move_on_after(GATHERING_PATIENCE):
            await self._narrator.gathered.wait()
        with trio.move_on_after(RELAY_PATIENCE):
            await self._relays.settle()

    async def _find_server(self, driver: Driver, uri: StunUri, missing: set[StunUri]) -> None:
        try:
            servers = await resolve(uri)
        except P2ptunError as error:
            self._notices.warn(f"server-{uri.host}", str(error), error.remedy)
            return
        missing.discard(uri)
        self._notices.withdraw(f"server-{uri.host}")
        now = trio.current_time()
        for server in servers:
            if uri in self._options.reflectors and server.transport is Transport.UDP:
                driver.node.add_stun_server(server, now)
            if uri in self._options.relays:
                self._relays.add(Server(server, uri.host), now)
        driver.flush()

    def _describe(self, kind: Kind, session_id: bytes) -> Description:
        self._relays.note_described()
        return Description(
            kind=kind,
            session_id=session_id,
            credentials=self._peer.agent.local_credentials,
            public_key=self._public_key,
            candidates=self._peer.describe(),
            end_of_candidates=self._narrator.gathered.is_set(),
            addresses=self._options.addresses,
            address_bids=bid(session_id, self._used),
            routes=self._options.routes,
            features=self._peer.agent.nat_hint.encode(),
        )

    async def _receive(self, check: Callable[[Description], None], kind: Kind) -> Description:
        """Wait for the other side's description. A person at a terminal may try again after a bad one."""
        while True:
            self._notices.emit(WaitingEvent(kind.value))
            try:
                description = read_description(await self._rendezvous.receive())
                check(description)
                return description
            except RendezvousEnded:
                raise
            except RendezvousError as error:
                if not self._options.is_interactive:
                    raise
                self._notices.tell(str(error), error.remedy)


def seen_from_outside(peer: Peer) -> list[str]:
    """Return as text where servers see our sockets of UDP: at another address, or at their own when that is public."""
    agent = peer.agent
    return [
        str(each.endpoint)
        for each in agent.local_candidates
        if each.transport is Transport.UDP
        and (each.type is CandidateType.SERVER_REFLEXIVE or each.endpoint.address in agent.public_addresses)
    ]
