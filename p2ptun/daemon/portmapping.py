"""Has gateways forward the ports of this side's sockets, and tells the node where they do."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import Final

import trio

from p2ptun.io.driver import Driver
from p2ptun.io.network import Network
from p2ptun.io.portmap import GatewayClient, GatewayPlace, places_of
from p2ptun.nat.portmap_event import GatewayRestarted, PortMapEvent, PortMapped, PortRefused, PortUnmapped
from p2ptun.node.drop import labelled
from p2ptun.node.event import NodeEvent, PeerState, PeerStateChanged
from p2ptun.types import Endpoint, Transport

SETTLING_PATIENCE: Final = 0.6
"""Seconds that a description waits for mappings: a gateway is one hop away, and was asked twice by then."""

RELEASE_PATIENCE: Final = 0.2  # seconds: what a person who ends the program doesn't notice
NOWHERE: Final = Network((), ())

logger = logging.getLogger(__name__)


class PortMapping:
    """Port mapping for a node, as long as `run` does; on the way out the mappings are given back.

    Refusals are told in the log only: a person who can be reached without doesn't want to know.
    """

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._driver: Driver | None = None
        self._nursery: trio.Nursery | None = None
        self._clients: dict[GatewayPlace, GatewayClient] = {}

    @property
    def drops(self) -> Counter[str]:
        """What was thrown away, by reason."""
        counted: Counter[str] = Counter()
        for client in self._clients.values():
            counted += labelled("port mapping", client.mapper.drops)
        return counted

    async def run(
        self, driver: Driver, network: Network, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the node of `driver`, which has its sockets, until cancelled; give the mappings back then."""
        if not self._is_wanted:
            task_status.started()
            return
        self._driver = driver
        try:
            async with trio.open_nursery() as self._nursery:
                self.follow(network)
                task_status.started()
                await trio.sleep_forever()
        finally:
            with trio.move_on_after(RELEASE_PATIENCE, shield=True):
                await self._release()
            self.follow(NOWHERE)

    def follow(self, network: Network) -> None:
        """Ask the gateways of this network for the ports of the sockets there are now."""
        if self._driver is None or self._nursery is None:
            return
        places = list(places_of(network))
        for place in [place for place in self._clients if place not in places]:
            self._clients.pop(place).close()
        for place in places:
            if place not in self._clients:
                self._add(place, self._nursery)
        for place, client in self._clients.items():
            self._ask(place, client, self._driver)

    def renew(self) -> None:
        """Ask again for all mappings: a gateway that has restarted has lost them, and only its answer shows that."""
        for client in self._clients.values():
            client.mapper.renew(trio.current_time())
            client.flush()

    def handle(self, event: NodeEvent) -> None:
        """Take an event of the node: that a path is lost may mean that the gateway has restarted."""
        match event.event:
            case PeerStateChanged(PeerState.CONNECTING, _):
                self.renew()
            case _:
                pass

    async def settle(self) -> None:
        """Wait until the gateways have answered, or for as long as a person may be kept waiting."""
        with trio.move_on_after(SETTLING_PATIENCE):
            for client in list(self._clients.values()):
                await client.settle()

    async def _release(self) -> None:
        async with trio.open_nursery() as nursery:
            for client in self._clients.values():
                nursery.start_soon(client.release)

    def _add(self, place: GatewayPlace, nursery: trio.Nursery) -> None:
        try:
            client = GatewayClient(place, partial(self._handle, place))
        except OSError as error:
            logger.info("no port mapping for %s: %s", place.address, error)
            return
        self._clients[place] = client
        nursery.start_soon(client.run)

    def _ask(self, place: GatewayPlace, client: GatewayClient, driver: Driver) -> None:
        """Have the UDP ports of an address mapped, and those that are closed no longer."""
        now, bases = trio.current_time(), driver.sockets
        ports = {base.port for base in bases if (base.address, base.transport) == (place.address, Transport.UDP)}
        for port in client.mapper.ports - ports:
            client.mapper.remove_port(port, now)
        for port in ports:
            client.mapper.add_port(port, now)
        client.flush()

    def _handle(self, place: GatewayPlace, event: PortMapEvent) -> None:
        """Tell the node what a gateway does for one of its bases."""
        driver = self._driver
        if driver is None:
            return
        node, now = driver.node, trio.current_time()
        match event:
            case PortMapped(port, external, lifetime, protocol):
                base = Endpoint(place.address, port)
                logger.debug("%s maps %s to %s for %g s (%s)", place.gateway, external, base, lifetime, protocol.value)
                if external != base:  # else there is a hole in its firewall for what everybody knows already
                    node.add_mapped_address(base, external, self._clients[place].mapper.gateway, now)
            case PortUnmapped(port, external, reason):
                logger.info("%s doesn't map %s any more: %s", place.gateway, external, reason.value)
                node.remove_mapped_address(Endpoint(place.address, port), self._clients[place].mapper.gateway, now)
            case PortRefused(port, problem, external):
                where = "" if external is None else f" ({external})"
                logger.info("no port mapping for %s:%d: %s%s", place.address, port, problem.value, where)
            case GatewayRestarted():
                logger.info("%s has restarted: its port mappings are being renewed", place.gateway)
        driver.flush()
