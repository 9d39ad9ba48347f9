"""A tunnel of a configuration, for as long as the machine runs: what `p2ptun daemon` does.

It waits for the other side in their room, all the time, and nothing ends it but a signal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from p2ptun.aead.algorithm import available_algorithms
from p2ptun.daemon.agreement import is_inside
from p2ptun.daemon.config import TunnelConfig
from p2ptun.daemon.event import Event, InterfaceEvent
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.partner import Partner
from p2ptun.daemon.tunnel import Tunnel, texts
from p2ptun.errors import ConfigError
from p2ptun.io import netlink
from p2ptun.rendezvous.base import Context, Rendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.registry import open_rendezvous
from p2ptun.types import IPInterface, IPNetwork

RENDEZVOUS: Final = "rendezvous"
"""The notice that stands while the rendezvous can't be reached."""

STDIN: Final = 0


class PinnedTunnel:
    """The tunnel of one configuration. `emit` is told what happens, as it happens."""

    def __init__(self, config: TunnelConfig, emit: Callable[[Event], None]) -> None:
        """Raises ConfigError when the other side's key is no key."""
        self._config = config
        self._tunnel = Tunnel(options_of(config), config.keys, emit)
        try:
            self._partner = Partner(self._tunnel, config.peer, self._dial)
        except ConfigError as error:
            raise ConfigError(str(config.path), error.key, error.problem, error.remedy) from error

    async def run(self) -> None:
        """Carry traffic until a signal, and clean up.

        Raises:
            P2ptunError: With a sentence and a remedy for the person who called.
        """
        self._dial()  # a place that can't be used is told before anything is opened
        async with self._tunnel.running() as nursery:
            await self._configure()
            nursery.start_soon(self._partner.run)
            nursery.start_soon(self._tunnel.driver.carry)
            await self._tunnel.gathering.find_servers(self._tunnel.driver)

    def _dial(self) -> Rendezvous:
        """Make a rendezvous that has no connection yet. Raises ConfigError when the configuration names none."""
        notices = self._tunnel.notices
        context = Context(
            lambda line: None,
            LineReader(STDIN),
            self._config.ca_file,
            lambda message, advice: notices.warn(RENDEZVOUS, message, advice),
            lambda: notices.withdraw(RENDEZVOUS),
        )
        try:
            return open_rendezvous(self._config.rendezvous, context)
        except ConfigError as error:
            raise ConfigError(str(self._config.path), "rendezvous.url", error.problem, error.remedy) from error

    async def _configure(self) -> None:
        """Give the interface its addresses, and lead to it what the other side may have."""
        tunnel, allowed = self._tunnel, self._config.peer.allowed_ips
        has_ipv6 = await trio.to_thread.run_sync(netlink.supports_ipv6)
        own = tuple(each for each in self._config.addresses if has_ipv6 or each.version == 4)
        routes = routes_into(own, allowed, has_ipv6)
        await tunnel.configure(own, routes)
        tunnel.roaming.agree(own, allowed)
        hosts = [str(each.network_address) for each in allowed if each.num_addresses == 1]
        tunnel.notices.emit(InterfaceEvent(tunnel.name, texts(own), tunnel.mtu, hosts, texts(routes)))


def routes_into(own: tuple[IPInterface, ...], allowed: tuple[IPNetwork, ...], has_ipv6: bool) -> tuple[IPNetwork, ...]:
    """Tell which routes lead to the other side, besides the networks of this side's addresses."""
    on_link = [address.network for address in own]
    usable = [each for each in allowed if has_ipv6 or each.version == 4]
    return tuple(each for each in usable if not any(is_inside(each, link) for link in on_link))


def options_of(config: TunnelConfig) -> AdhocOptions:
    """Say what the configuration asks for as options say it."""
    return AdhocOptions(
        name=config.name,
        addresses=config.addresses,
        stun=config.ice.stun,
        turn=tuple(each.uri for each in config.ice.turn),
        relay_credentials={each.uri.host: each.credentials for each in config.ice.turn if each.credentials},
        ca_file=config.ca_file,
        path_policy=config.peer.path,
        hides_addresses=config.ice.hides_addresses,
        maps_ports=config.ice.maps_ports,
        hard_nat=config.ice.hard_nat,
        mtu=config.mtu,
        algorithms=available_algorithms(),
        rendezvous=config.rendezvous,
    )
