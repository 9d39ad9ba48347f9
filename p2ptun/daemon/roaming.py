"""Follows the machine from network to network, and through sleep."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import NoReturn

import trio

from p2ptun.daemon.event import AddressPlace, Event, NetworkEvent, ResumedEvent
from p2ptun.daemon.naming import Naming
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.portmapping import PortMapping
from p2ptun.daemon.relays import Relays
from p2ptun.ice.event import RestartReason
from p2ptun.io.address import LocalAddress
from p2ptun.io.driver import Driver
from p2ptun.io.monitor import Change, Monitor, NetworkChanged, Resumed
from p2ptun.io.network import Network
from p2ptun.io.underlay import Underlay
from p2ptun.node.peer import Peer
from p2ptun.types import IPInterface, IPNetwork, without_zone

NO_NETWORK = "no-network"
"""The notice that stands while there is no address to send from."""

NO_NETWORK_AFTER = 1.0  # seconds


class Roaming:
    """Keeps the sockets in step with the machine, and lets the node look for a path when an old one may be gone.

    Before the two sides have met there is nothing to restart: the other side knows this one by its description, and a
    new one is printed when the addresses in it are out of date.
    """

    def __init__(
        self,
        network: Network,
        underlay: Underlay,
        driver: Driver,
        naming: Naming,
        narrator: Narrator,
        notices: Notices,
        relays: Relays,
        port_mapping: PortMapping,
    ) -> None:
        self._underlay = underlay
        self._driver = driver
        self._naming = naming
        self._narrator = narrator
        self._notices = notices
        self._relays = relays
        self._port_mapping = port_mapping
        self._monitor = Monitor(network, self.handle)
        self._agreed: tuple[IPNetwork, ...] = ()
        self._lost, self._found = trio.Event(), trio.Event()
        self._refuse_tunnels(network)

    @property
    def tunnel_networks(self) -> tuple[IPNetwork, ...]:
        """What the tunnels of this machine lead to, this one's included."""
        return self._network.tunnel_networks

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._monitor.run)
            nursery.start_soon(self.complain)

    async def complain(self) -> NoReturn:
        """Say that there is no network once that has lasted: a cable that is moved is back before anybody reads it."""
        while True:
            await self._lost.wait()
            with trio.move_on_after(NO_NETWORK_AFTER) as patience:
                await self._found.wait()
            if patience.cancelled_caught:
                self._notices.warn(
                    NO_NETWORK,
                    "This machine has no network address any more.",
                    "Connect it to a network; the tunnel goes on there by itself.",
                )
                await self._found.wait()
                self._notices.withdraw(NO_NETWORK)
            self._lost, self._found = trio.Event(), trio.Event()
            if not self._underlay.sockets:
                self._lost.set()

    def agree(self, addresses: Iterable[IPInterface], networks: Iterable[IPNetwork] = ()) -> None:
        """Know the addresses in the tunnel on both sides, and the networks that it leads to.

        The other side can't be reached there without it.
        """
        self._agreed = (*(ip_network(address.ip) for address in addresses), *networks)
        self._refuse_tunnels(self._network)

    def shield(self, peer: Peer) -> None:
        """Let a new peer's candidates lead into no tunnel of this machine, this one or another."""
        peer.agent.refuse_networks((*self._agreed, *self.tunnel_networks))

    async def handle(self, change: Change) -> None:
        """Act on one change."""
        match change:
            case NetworkChanged():
                await self._follow(change)
            case Resumed(seconds):
                self._notices.emit(ResumedEvent(round(seconds, 3)))
                self._relays.wake()
                self._port_mapping.renew()
                self._restart(RestartReason.RESUMED)
            case _:
                self._refuse_tunnels(change.network)
                self._underlay.learn(change.network)

    async def _follow(self, change: NetworkChanged) -> None:
        self._notices.emit(network_event(change))
        if change.gained and self._narrator.is_described and not self._narrator.has_met:
            self._narrator.outdate()
        self._refuse_tunnels(change.network)
        await self._underlay.follow(change.network, self._driver)
        self._naming.follow(change.network)
        self._port_mapping.follow(change.network)
        self._port_mapping.renew()
        self._narrator.move()
        if self._underlay.sockets:
            if self._lost.is_set():
                self._found.set()
            self._restart(RestartReason.NETWORK_CHANGED)
        else:
            self._lost.set()

    def _refuse_tunnels(self, network: Network) -> None:
        """Let no candidate of any peer lead into a tunnel of this machine."""
        self._network = network
        for peer in self._driver.node.peers:
            self.shield(peer)

    def _restart(self, reason: RestartReason) -> None:
        if self._narrator.has_met:
            self._driver.node.restart(reason, trio.current_time())
            self._driver.flush()


def network_event(change: NetworkChanged) -> Event:
    """Describe a change for people and programs."""
    return NetworkEvent(
        gained=_places(change.gained),
        lost=_places(change.lost),
        interrupted=_places(change.interrupted),
        default_routes=[str(route) for route in change.network.default_routes],
    )


def _places(addresses: tuple[LocalAddress, ...]) -> list[AddressPlace]:
    return [AddressPlace(each.interface, str(without_zone(each.address))) for each in addresses]
