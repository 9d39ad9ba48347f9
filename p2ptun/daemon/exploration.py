"""Explores the NAT before one address of this machine: sockets for the machines of `nat`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import trio

from p2ptun.daemon.machinery import Machinery
from p2ptun.io.address import LocalAddress
from p2ptun.io.guard import RouteGuard
from p2ptun.io.network import Network
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.io.underlay import ADDRESS_HOLDERS
from p2ptun.nat.behavior import NatBehavior
from p2ptun.nat.discovery import BASES, DEFAULT_PADDING, Discovery
from p2ptun.nat.event import DiscoveryEvent, LifetimeEvent
from p2ptun.nat.lifetime import BASES as LIFETIME_BASES
from p2ptun.nat.lifetime import LifetimeDiscovery
from p2ptun.types import Endpoint, IPAddress

LARGEST_MTU = 9216
"""Bytes: a link that takes larger frames (loopback does) splits nothing that STUN sends."""

SOCKET_BUFFER = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class Vantage:
    """An address of this machine to look from. `interface` is empty for loopback."""

    address: IPAddress
    interface: str = ""
    is_confined: bool = False

    def options(self, guard: RouteGuard) -> SocketOptions:
        """Say how sockets on it are set up: as the tunnel's are."""
        confined = self.interface if self.is_confined else None
        return SocketOptions(confined, buffer_size=SOCKET_BUFFER, guard=guard)

    @property
    def padding(self) -> int:
        """The padding that makes fragments: as long as the frames of the link; 0 where these are too long."""
        try:
            mtu = int(Path(f"/sys/class/net/{self.interface}/mtu").read_text()) if self.interface else LARGEST_MTU + 1
        except (OSError, ValueError):  # the interface is gone
            mtu = DEFAULT_PADDING
        return 0 if mtu > LARGEST_MTU else mtu // 4 * 4


def choose_vantage(network: Network, guard: RouteGuard, server: Endpoint) -> Vantage | None:
    """Choose the address from which the tunnel would reach a server: the best one that has a way there, else the best.

    None where this machine has no address of its family.
    """
    if server.address.is_loopback:
        return Vantage(ip_address("127.0.0.1" if server.address.version == 4 else "::1"))
    alike = [local for local in network.candidates if local.address.version == server.address.version]
    on_way = [local for local in alike if guard.way_out(Endpoint(local.address, 0), server) == local.index]
    return next(map(_vantage, (*on_way, *alike)), None)


def _vantage(local: LocalAddress) -> Vantage:
    return Vantage(local.address, local.interface, is_confined=local.kind not in ADDRESS_HOLDERS)


async def explore(
    vantage: Vantage, guard: RouteGuard, servers: Sequence[Endpoint], handle: Callable[[DiscoveryEvent], None]
) -> NatBehavior:
    """Find out what is between an address and these servers; within four seconds.

    Raises:
        DeviceError: If no socket can be bound.
    """
    with ExitStack() as stack:
        sockets = await _bind(vantage, guard, BASES, stack)
        discovery = Discovery([sock.local for sock in sockets], os.urandom, vantage.padding)
        machinery: Machinery[DiscoveryEvent] = Machinery(discovery, sockets, handle, discovery.record_send_error)
        for server in servers:
            discovery.add_server(server, trio.current_time())
        discovery.end_of_servers(trio.current_time())
        machinery.flush()
        await machinery.run()
        return discovery.behavior


class LifetimeMeasurement:
    """A measurement of a binding's lifetime that runs for minutes; what is known can be read all the time."""

    def __init__(self, vantage: Vantage, guard: RouteGuard, server: Endpoint) -> None:
        self._vantage = vantage
        self._guard = guard
        self._server = server
        self.machine: LifetimeDiscovery | None = None

    async def run(self, handle: Callable[[LifetimeEvent], None]) -> None:
        """Measure to the end. Raises DeviceError when no socket can be bound."""
        with ExitStack() as stack:
            sockets = await _bind(self._vantage, self._guard, LIFETIME_BASES, stack)
            bases = [sock.local for sock in sockets]
            self.machine = LifetimeDiscovery(self._server, bases, os.urandom, trio.current_time())
            machinery: Machinery[LifetimeEvent] = Machinery(self.machine, sockets, handle, _ignore)
            machinery.flush()
            await machinery.run()


def _ignore(source: Endpoint, destination: Endpoint, now: float) -> None:
    """A datagram that can't be sent is as good as lost."""


async def _bind(vantage: Vantage, guard: RouteGuard, count: int, stack: ExitStack) -> list[UdpSocket]:
    options = vantage.options(guard)
    return [stack.enter_context(await UdpSocket.bind(Endpoint(vantage.address, 0), options)) for _ in range(count)]


@contextmanager
def route_guard(network: Network) -> Iterator[RouteGuard]:
    """Open a guard that knows the tunnels of this machine."""
    guard = RouteGuard()
    try:
        guard.learn(network.links)
        yield guard
    finally:
        guard.close()
