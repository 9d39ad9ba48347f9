"""What every tunnel stands on: the device, the sockets, the node between them, and who cares for them while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_network

import trio

from p2ptun.daemon.agreement import overlaps
from p2ptun.daemon.control import ControlServer
from p2ptun.daemon.event import ClosedEvent, Event
from p2ptun.daemon.gathering import NO_REFLEXIVE, Gathering, seen_from_outside
from p2ptun.daemon.group import single_error
from p2ptun.daemon.naming import Naming
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.portmapping import PortMapping
from p2ptun.daemon.privilege import drop_privileges
from p2ptun.daemon.relays import Relays
from p2ptun.daemon.report import report
from p2ptun.daemon.roaming import Roaming
from p2ptun.daemon.status import InterfaceStatus, Status
from p2ptun.ice.agent import Agent
from p2ptun.ice.config import PAC_TIMEOUT, AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import TIE_BREAKER_BYTES, Role
from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS
from p2ptun.io import netlink
from p2ptun.io.driver import Driver
from p2ptun.io.forwarding import SWITCHES, is_forwarding
from p2ptun.io.monitor import read_network
from p2ptun.io.tls import Trust
from p2ptun.io.tun import TunDevice
from p2ptun.io.underlay import Underlay
from p2ptun.node.event import NodeEvent
from p2ptun.node.names import HostNames
from p2ptun.node.node import Node
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.types import IPInterface, IPNetwork

DEFAULT_MTU = 1400
"""What fits 1500 bytes whichever path is taken, with 40 of IPv6, 8 of UDP and 46 of our own at most (`tunnel.wire`)."""

TUNNEL_POOL = ip_network("10.77.0.0/16")
"""Where agreed addresses come from: an address in there is a tunnel's, never one to send datagrams to."""


class Tunnel:
    """One TUN device with a node, from `running` to its end. `emit` is told what happens, as it happens.

    Attributes:
        used: Networks in use on this machine, known while it runs; so are `driver` and `roaming`.
        listeners: Who else is told the node's events, after all those who are here anyway.
    """

    driver: Driver
    roaming: Roaming
    _device: TunDevice

    def __init__(self, options: AdhocOptions, keys: KeyPair, emit: Callable[[Event], None]) -> None:
        self.options = options
        self.keys = keys
        self.notices = Notices(emit)
        self.node = Node(os.urandom)
        self.narrator = Narrator(emit)
        self.relays = Relays(options, self.node, self.narrator, self.notices)
        self.gathering = Gathering(options, self.narrator, self.notices, self.relays)
        self.port_mapping = PortMapping(options.wants_mapping)
        self.used: list[IPNetwork] = []
        self.listeners: list[Callable[[NodeEvent], None]] = []
        self._naming = Naming(HostNames(os.urandom) if options.hides_addresses else None)
        self._addresses: tuple[IPInterface, ...] = ()

    @property
    def name(self) -> str:
        """The interface."""
        return self._device.name

    @property
    def mtu(self) -> int:
        """The largest IP packet that it carries."""
        return self.options.mtu or DEFAULT_MTU

    @asynccontextmanager
    async def running(self) -> AsyncIterator[trio.Nursery]:
        """Open everything and have it run; yield the nursery, which a signal cancels; clean up afterwards.

        Raises:
            P2ptunError: With a sentence and a remedy for the person who called.
        """
        with ExitStack() as stack:
            signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            self._device = stack.enter_context(TunDevice.open(self.options.name, self.mtu))
            control = ControlServer(self.name, {"status": lambda: self._status(started_at)})
            listener = stack.enter_context(control.claim())
            drop_privileges()
            netlink.check_mtu(self.mtu, self._wants_ipv6())
            await trio.to_thread.run_sync(netlink.check_addresses, self.options.addresses)
            self.used = await trio.to_thread.run_sync(netlink.existing_networks)
            network = await read_network()
            underlay = stack.enter_context(Underlay(trust=Trust(self.options.ca_file)))
            await underlay.open(network)
            self._check_forwarding()
            self.driver = Driver(self.node, self._device, self._handle, underlay)
            parts = (self._naming, self.narrator, self.notices, self.relays, self.port_mapping)
            self.roaming = Roaming(network, underlay, self.driver, *parts)
            started_at = trio.current_time()
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(control.serve, listener)
                    self._naming.start(nursery, self.driver, network)
                    self.driver.start(nursery, underlay.sockets)
                    nursery.start_soon(self.roaming.run)
                    await nursery.start(self.port_mapping.run, self.driver, network)
                    nursery.start_soon(self.relays.run, self.driver, underlay.problem_of)
                    yield nursery
                    nursery.cancel_scope.cancel()
            self._close(started_at)

    def new_peer(self, name: str, role: Role, patience: float = PAC_TIMEOUT) -> Peer:
        """Add a peer that nothing is known of yet; its agent checks for `patience` seconds at least (RFC 8863).

        What may become an address in the tunnel is never one to send datagrams to, unless it is in use outside of
        tunnels. What is in one by now, `Roaming` refuses.
        """
        outside = [each for each in self.used if not overlaps(each, self.roaming.tunnel_networks)]
        pool = [TUNNEL_POOL, *(address.network for address in self.options.addresses)]
        tunnels = tuple(each for each in pool if not overlaps(each, outside))
        config = AgentConfig(
            refused_networks=DEFAULT_REFUSED_NETWORKS + tunnels,
            pac_timeout=patience,
            path_policy=self.options.path_policy,
            hard_nat=self.options.hard_nat,
        )
        tie_breaker = int.from_bytes(os.urandom(TIE_BREAKER_BYTES), "big")
        agent = Agent(config, Credentials.generate(os.urandom), role, tie_breaker, os.urandom, self.node.pacer)
        peer = Peer(name, agent, self._naming.names)
        self.node.add_peer(peer, trio.current_time())
        self.roaming.shield(peer)
        self.driver.flush()
        return peer

    async def configure(self, addresses: tuple[IPInterface, ...], routes: tuple[IPNetwork, ...]) -> None:
        """Give the interface its addresses and routes. Raises DeviceError."""
        await trio.to_thread.run_sync(netlink.configure, self.name, addresses, self.mtu, routes)
        self._addresses = addresses
        self.narrator.mtu = self.mtu

    def _close(self, started_at: float) -> None:
        """Say goodbye to the other sides and to the network."""
        now = trio.current_time()
        self.node.close(now)
        self.driver.flush()
        self._naming.close()
        self.keys.wipe()
        carried = [peer.link.traffic for peer in self.node.peers if peer.link is not None]
        if carried:
            sent, received = (sum(getattr(each, way) for each in carried) for way in ("tx_bytes", "rx_bytes"))
            self.notices.emit(ClosedEvent(round(now - started_at, 3), sent, received))

    def _handle(self, event: NodeEvent) -> None:
        self._naming.handle(event)
        self.narrator.handle(event)
        self.relays.handle(event)
        self.port_mapping.handle(event)
        for listen in self.listeners:
            listen(event)

    def _wants_ipv6(self) -> bool:
        """Tell whether this side will have an IPv6 address in the tunnel, as far as it can know beforehand."""
        addresses = self.options.addresses
        return netlink.supports_ipv6() and (not addresses or any(address.version == 6 for address in addresses))

    def _check_forwarding(self) -> None:
        """Say so when networks are offered that nobody can reach through this machine."""
        for version in sorted({network.version for network in self.options.routes}):
            if not is_forwarding(version):
                networks = ", ".join(str(each) for each in self.options.routes if each.version == version)
                self.notices.warn(
                    f"no-forwarding-v{version}",
                    f"This machine doesn't forward, so the other side can't reach {networks} through it.",
                    f"Run: sysctl -w {SWITCHES[version]}=1",
                )

    def _status(self, started_at: float) -> Status:
        now = trio.current_time()
        uptime = round(now - started_at, 3)
        if any(map(seen_from_outside, self.node.peers)):
            self.notices.withdraw(NO_REFLEXIVE)
        interface = InterfaceStatus(self.name, texts(self._addresses), self.mtu, encode_key(self.keys.public), uptime)
        drops = self.driver.drops + self._naming.drops + self.port_mapping.drops
        return report(self.node, interface, self.notices, drops, now)


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def texts(addresses: Iterable[IPInterface | IPNetwork]) -> list[str]:
    """Write addresses or networks for events."""
    return [str(address) for address in addresses]
