"""The sockets below the tunnel: one for each address of this machine that is fit for a host candidate."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from p2ptun.errors import DeviceError
from p2ptun.io.address import MAX_CANDIDATE_ADDRESSES, LocalAddress
from p2ptun.io.guard import RouteGuard
from p2ptun.io.network import Network
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint, IPAddress

ADDRESS_HOLDERS = frozenset({"dummy", "vrf"})
"""Link kinds that hold addresses but carry no packets: what is sent from there leaves by another interface."""

Place: TypeAlias = tuple[IPAddress, int]
"""An address and the index of its interface: a socket is good for both together only."""

logger = logging.getLogger(__name__)


class SocketUser(Protocol):
    """Who reads and writes the sockets: the driver."""

    def add_socket(self, socket: UdpSocket) -> None: ...

    def remove_socket(self, base: Endpoint) -> None: ...


class Underlay:
    """Owns the sockets, and keeps them in step with the machine's addresses.

    Each is confined to the interface of its address, so that no route into the tunnel ever takes the tunnel's own
    datagrams; those that can't be ask `RouteGuard` about every new destination.
    """

    def __init__(self, port: int = 0) -> None:
        """Bind to `port` on every address; 0 lets the kernel choose, for each address its own."""
        self._port = port
        self._guard = RouteGuard()
        self._sockets: dict[Place, UdpSocket] = {}

    @property
    def sockets(self) -> list[UdpSocket]:
        """The sockets there are, the oldest first."""
        return list(self._sockets.values())

    async def open(self, network: Network) -> None:
        """Bind a socket to each candidate address; one that can't be bound is passed over.

        Raises:
            DeviceError: If there is no address at all.
        """
        self._guard.learn(network.links)
        problem: DeviceError | None = None
        for local in network.candidates:
            try:
                self._sockets[_place(local)] = await self._bind(local, self._port)
            except DeviceError as error:
                problem = error
        if not self._sockets:
            raise problem or DeviceError(
                "This machine has no network address.", "Connect it to a network: ip -br address"
            )

    async def follow(self, network: Network, user: SocketUser) -> None:
        """Open sockets for new addresses and close those whose address is gone; tell `user` about both.

        A new socket gets the port of the one that it takes over from, so that a NAT which preserves ports shows the
        same one. An address that is on its way out keeps its socket: what it carries goes on.
        """
        self.learn(network)
        gone = self._outdated(network)
        wanted = [local for local in network.candidates if _place(local) not in self._sockets]
        moving = {local.address for local in wanted}
        for place in gone:
            if place[0] in moving:  # to another interface: two sockets can't have one address and port
                self._sockets[place].close()
        fresh = {_place(local): socket for local in wanted if (socket := await self._take_over(local, gone))}
        old = [self._sockets.pop(place) for place in gone]
        self._sockets |= fresh
        taken = {socket.local for socket in fresh.values()}
        for socket in old:
            if socket.local in taken:
                user.remove_socket(socket.local)
        for socket in fresh.values():
            user.add_socket(socket)
        for socket in old:
            if socket.local not in taken:
                user.remove_socket(socket.local)
            socket.close()

    def learn(self, network: Network) -> None:
        """Ask anew which way datagrams go: routes have changed, or links of tunnels."""
        self._guard.learn(network.links)
        for socket in self._sockets.values():
            socket.forget_routes()

    def close(self) -> None:
        """Close everything; twice is harmless."""
        for socket in self._sockets.values():
            socket.close()
        self._guard.close()

    def __enter__(self) -> Underlay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _outdated(self, network: Network) -> list[Place]:
        """List the sockets to close: their address is gone, or on its way out with too many others."""
        present = {_place(local) for local in network.present}
        candidates = {_place(local) for local in network.candidates}
        leaving = [place for place in self._sockets if place in present - candidates]
        excess = max(0, len(candidates) + len(leaving) - MAX_CANDIDATE_ADDRESSES)
        return [place for place in self._sockets if place not in present] + leaving[:excess]

    async def _take_over(self, local: LocalAddress, gone: Iterable[Place]) -> UdpSocket | None:
        """Bind a socket to an address that is new; None when that fails, as it does when the address is gone again."""
        for port in dict.fromkeys((self._port_for(local, gone), self._port)):
            try:
                return await self._bind(local, port)
            except DeviceError as error:
                logger.info("no socket on %s: %s", local.address, error)
        return None

    def _port_for(self, local: LocalAddress, gone: Iterable[Place]) -> int:
        """Choose the port of a socket that goes, best one of the same interface, else of one that stays."""
        alike = [place for place in (*gone, *self._sockets) if place[0].version == local.address.version]
        alike.sort(key=lambda place: place[1] != local.index)
        return self._sockets[alike[0]].local.port if alike else self._port

    async def _bind(self, local: LocalAddress, port: int) -> UdpSocket:
        interface = None if local.kind in ADDRESS_HOLDERS else local.interface
        return await UdpSocket.bind(Endpoint(local.address, port), SocketOptions(interface, guard=self._guard))


def _place(local: LocalAddress) -> Place:
    return local.address, local.index
