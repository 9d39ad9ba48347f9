"""Finds the servers that show this side from outside, or relay for it, and waits as long for them as makes sense."""

from __future__ import annotations

import trio

from p2ptun.daemon.event import GatheredEvent, GatheringEvent
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.relays import Relays
from p2ptun.errors import P2ptunError
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.io.driver import Driver
from p2ptun.io.resolver import resolve
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import IceServers
from p2ptun.rendezvous.together import first_of
from p2ptun.stun.uri import StunUri
from p2ptun.turn.server import Server
from p2ptun.types import Transport

GATHERING_PATIENCE = 1.0
"""A description goes out when every server has answered, or after so long. Later candidates travel in the tunnel."""

RELAY_PATIENCE = 4.0
"""How much longer it waits while no relay has given an address, and one still may: without it there may never be a
tunnel for later candidates to travel in."""

MAX_OFFERED = 32
"""Servers that a rendezvous may name in a tunnel's life. One that means harm names others each time it is asked."""

NO_REFLEXIVE = "no-reflexive-address"


class Gathering:
    """The servers of one tunnel: those that the person named, and those that a rendezvous offers.

    Attributes:
        reflectors: Servers to ask over UDP what this side looks like from outside.
        relay_uris: Servers to ask for an address.
        expects_offer: Whether a rendezvous is still to say what it offers: before that it isn't known who is to be
            asked, and gathering goes on.
    """

    def __init__(self, options: AdhocOptions, narrator: Narrator, notices: Notices, relays: Relays) -> None:
        self.reflectors = dict.fromkeys(options.reflectors)
        self.relay_uris = dict.fromkeys(options.relays)
        self.expects_offer = False
        self._options = options
        self._narrator = narrator
        self._notices = notices
        self._relays = relays
        self._found: set[StunUri] = set()
        self._taken: set[StunUri] = set()
        self._offered = trio.Event()

    def offer(self, ice: IceServers) -> None:
        """Use what a rendezvous offers as well; known servers of it get their new credentials.

        Relays for which the person has credentials are used as the person named them: over another transport, or at
        another port, those would go where nobody wanted them.
        """
        servers = [each for each in ice.servers if self._takes(each.uri)]
        offered = self._options.offered(each.uri for each in servers)
        self.reflectors |= dict.fromkeys(offered.reflectors)
        self.relay_uris |= dict.fromkeys(offered.relays)
        for each in servers:
            if each.uri in offered.relays and each.credential is not None:
                self._relays.accept(each.uri.host, each.credential, ice.lifetime, trio.current_time())
        self.expects_offer = False
        self._offered.set()

    async def find_servers(self, driver: Driver) -> None:
        """Look up the servers' names, all at once; the agents ask each as soon as its address is known.

        Those that aren't found are looked up again in the next network. Runs as long as the tunnel.
        """
        while True:
            moved, self._offered = self._narrator.moved, trio.Event()
            async with trio.open_nursery() as nursery:
                for uri in {*self.reflectors, *self.relay_uris} - self._found:
                    nursery.start_soon(self._find_server, driver, uri)
            if not self.expects_offer:
                driver.node.end_of_servers(trio.current_time())
            driver.flush()
            await first_of([moved.wait, self._offered.wait])

    async def gather(self, peer: Peer) -> None:
        """Wait until every server has answered, or for as long as a person may be kept waiting; tell the outcome."""
        if not self._narrator.gathered.is_set():
            self._notices.emit(GatheringEvent(len(self.reflectors), len(self.relay_uris)))
        await self.wait()
        self.tell(peer)

    async def wait(self) -> None:
        """Wait until every server has answered; not long once what they are asked for is there."""
        with trio.move_on_after(GATHERING_PATIENCE):
            await self._narrator.gathered.wait()
        with trio.move_on_after(RELAY_PATIENCE):
            await self._relays.settle(is_wanted=bool(self.relay_uris))

    def tell(self, peer: Peer) -> None:
        """Tell what has been gathered."""
        hosts = {each.base.address for each in peer.agent.local_candidates if each.base not in self._narrator.relays}
        reflexive, relays, asked = seen_from_outside(peer), self._relays.names, len(self.reflectors)
        self._notices.emit(GatheredEvent(len(hosts), reflexive, asked, relays, len(self.relay_uris)))
        if asked and not reflexive:
            self._notices.warn(
                NO_REFLEXIVE,
                "No STUN server has answered yet, so this side's public address isn't known.",
                "It goes on over the relay."
                if relays
                else "It goes on without: that is enough in one network, or when the other side can be reached.",
            )

    def _takes(self, uri: StunUri) -> bool:
        """Tell whether an offered server is one of those that are used, or becomes one."""
        if uri.scheme.is_turn and self._relays.has_own(uri.host):
            return False
        if len(self._taken) < MAX_OFFERED:
            self._taken.add(uri)
        return uri in self._taken

    async def _find_server(self, driver: Driver, uri: StunUri) -> None:
        try:
            servers = await resolve(uri)
        except P2ptunError as error:
            self._notices.warn(f"server-{uri.host}", str(error), error.remedy)
            return
        self._found.add(uri)
        self._notices.withdraw(f"server-{uri.host}")
        now = trio.current_time()
        for server in servers:
            if uri in self.reflectors and server.transport is Transport.UDP:
                driver.node.add_stun_server(server, now)
            if uri in self.relay_uris:
                self._relays.add(Server(server, uri.host), now)
        driver.flush()


def seen_from_outside(peer: Peer) -> list[str]:
    """Return as text where servers see our sockets of UDP: at another address, or at their own when that is public."""
    agent = peer.agent
    return [
        str(each.endpoint)
        for each in agent.local_candidates
        if each.transport is Transport.UDP
        and (each.type is CandidateType.SERVER_REFLEXIVE or each.endpoint.address in agent.public_addresses)
    ]
