"""The sockets below the tunnel: for each address of this machine that is fit for a host candidate one of UDP, and TCP.

TCP is for networks that block UDP, and always there: at what moment somebody would miss it nobody knows beforehand, and
its checks come after those of UDP. Each address opens connections, and takes some at the port number of its UDP socket,
which the other side is told by one bit. Only an address that needs no NAT also does both at once (simultaneous open):
there, a firewall may stand alone, and lets in what answers.

Besides, there is one for each allocation on a TURN server, as long as it is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from socket import if_indextoname
from typing import Protocol, TypeAlias

from p2ptun.errors import DeviceError
from p2ptun.ice.candidate_type import TcpType
from p2ptun.io.address import MAX_CANDIDATE_ADDRESSES, LocalAddress
from p2ptun.io.base import Socket
from p2ptun.io.guard import RouteGuard
from p2ptun.io.network import Network
from p2ptun.io.refusal import send_error
from p2ptun.io.server_socket import ServerSocket, anywhere, open_server_socket
from p2ptun.io.socket_options import SocketOptions, open_socket
from p2ptun.io.tcp import TcpBase
from p2ptun.io.tls import Trust
from p2ptun.io.udp import UdpSocket
from p2ptun.stun.trust import Scope, scope_of
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, IPAddress, SendError, Transport

ADDRESS_HOLDERS = frozenset({"dummy", "vrf"})
"""Link kinds that hold addresses but carry no packets: what is sent from there leaves by another interface."""

Place: TypeAlias = tuple[IPAddress, int]
"""An address and the index of its interface: a socket is good for both together only."""

logger = logging.getLogger(__name__)


class SocketUser(Protocol):
    """Who reads and writes the sockets: the driver."""

    def add_socket(self, socket: Socket) -> None: ...

    def remove_socket(self, base: Endpoint) -> None: ...


class Underlay:
    """Owns the sockets, and keeps them in step with the machine's addresses.

    Each is confined to the interface of its address, so that no route into the tunnel ever takes the tunnel's own
    datagrams; those that can't be ask `RouteGuard` about every new destination.
    """

    def __init__(self, port: int = 0, trust: Trust | None = None) -> None:
        """Bind to `port` on every address; 0 lets the kernel choose, for each address its own.

        `trust` tells whom to believe that a TURN server has its name; by default those whom this machine believes.
        """
        self._port = port
        self._trust = trust or Trust()
        self._guard = RouteGuard()
        self._network = Network((), ())
        self._servers: list[ServerSocket] = []
        self._sockets: dict[Place, list[Socket]] = {}
        self._spares: dict[Endpoint, UdpSocket] = {}
        self._last_ports: dict[IPAddress, int] = {}

    @property
    def sockets(self) -> list[Socket]:
        """The sockets there are: the oldest address first, and of each address UDP first."""
        return _flat(self._sockets.values())

    async def open(self, network: Network) -> None:
        """Bind a socket to each candidate address; one that can't be bound is passed over.

        Raises:
            DeviceError: If there is no address at all.
        """
        self.learn(network)
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
        same one; an address that comes back gets its own again. An address that is on its way out keeps its socket:
        what it carries goes on. Sockets to servers whose address is gone fail.
        """
        vanished = {each.address for each in self._network.present} - {each.address for each in network.present}
        self.learn(network)
        gone = self._outdated(network)
        wanted = [local for local in network.candidates if _place(local) not in self._sockets]
        moving = {local.address for local in wanted}
        self._remember_ports(gone)
        for place in gone:
            if place[0] in moving:  # to another interface: two sockets can't have one address and port
                _close(self._sockets[place])
        fresh = {_place(local): sockets for local in wanted if (sockets := await self._take_over(local, gone))}
        # what is best goes last, or traffic would move to what goes next
        old = _flat(self._sockets.pop(place) for place in gone)[::-1]
        self._sockets |= fresh
        taken = {socket.local for socket in _flat(fresh.values())}
        for socket in old:
            if socket.local in taken:
                user.remove_socket(socket.local)
        for socket in _flat(fresh.values()):
            user.add_socket(socket)
        for socket in old:
            if socket.local not in taken:
                user.remove_socket(socket.local)
            socket.close()
        for server in self._servers:
            if server.bound.address in vanished:
                server.lose(SendError.SOURCE_GONE)
        for spare in [each for each in self._spares.values() if each.local.address in vanished]:
            user.remove_socket(spare.local)
            spare.close()

    def learn(self, network: Network) -> None:
        """Ask anew which way datagrams go: routes have changed, or links of tunnels."""
        self._network = network
        self._guard.learn(network.links)
        self._servers = [each for each in self._servers if not each.is_closed]
        self._spares = {base: each for base, each in self._spares.items() if not each.is_closed}
        for socket in (*self.sockets, *self._servers, *self._spares.values()):
            socket.forget_routes()

    def open_spare(self, base: Endpoint) -> UdpSocket | SendError:
        """Open one more socket beside the one that is bound to `base`, on any port, or say why not. It never waits.

        Whoever asked for it closes it; `follow` does, too, when the address goes.
        """
        beside = next((each for each in self.sockets if each.local == base and isinstance(each, UdpSocket)), None)
        if beside is None:
            return SendError.SOURCE_GONE
        try:
            spare = UdpSocket(open_socket(Endpoint(base.address, 0), beside.options), beside.options)
        except OSError as error:
            return send_error(error.errno)
        self._spares[spare.local] = spare
        return spare

    def connect_server(self, token: Endpoint, server: Server) -> ServerSocket | SendError:
        """Open the socket of an allocation, or say why not. It waits for nothing; whoever reads it makes it go on."""
        options = self._way_to(server.endpoint)
        if isinstance(options, SendError):
            return options
        opened = open_server_socket(token, server, options, self._trust)
        if not isinstance(opened, SendError):
            self._servers = [each for each in self._servers if not each.is_closed]
            self._servers.append(opened)
        return opened

    def problem_of(self, server: Server) -> str:
        """Say in a sentence why a socket to that server has failed; empty where there is no more to say than the error.

        It is known as long as the socket isn't closed: when the event of the failure is handled.
        """
        return next((each.problem for each in reversed(self._servers) if each.server == server and each.problem), "")

    def close(self) -> None:
        """Close everything; twice is harmless."""
        _close((*self.sockets, *self._servers, *self._spares.values()))
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

    async def _take_over(self, local: LocalAddress, gone: Iterable[Place]) -> list[Socket]:
        """Bind sockets to an address that is new; none when that fails, as it does when the address is gone again."""
        for port in dict.fromkeys((self._port_for(local, gone), self._port)):
            try:
                return await self._bind(local, port)
            except DeviceError as error:
                logger.info("no socket on %s: %s", local.address, error)
        return []

    def _port_for(self, local: LocalAddress, gone: Iterable[Place]) -> int:
        """Choose the port that the address had, that of a socket that goes, best one of the same interface, or stays.

        Where there is none, the last one that was in use: between two networks there may be a moment without any.
        """
        if local.address in self._last_ports:
            return self._last_ports[local.address]
        alike = [place for place in (*gone, *self._sockets) if place[0].version == local.address.version]
        alike.sort(key=lambda place: place[1] != local.index)
        if alike:
            return self._sockets[alike[0]][0].local.port
        known = [port for address, port in self._last_ports.items() if address.version == local.address.version]
        return known[-1] if known else self._port

    def _remember_ports(self, gone: Iterable[Place]) -> None:
        """Note the ports of sockets that go, the latest last: after a break, NATs on both sides still know them."""
        for place in gone:
            self._last_ports.pop(place[0], None)
            self._last_ports[place[0]] = self._sockets[place][0].local.port
        for address in list(self._last_ports)[:-MAX_CANDIDATE_ADDRESSES]:
            del self._last_ports[address]

    def _way_to(self, destination: Endpoint) -> SocketOptions | SendError:
        """Choose the interface by which to reach a server: that of the route, and past tunnels that of the uplink."""
        index = self._guard.way_out(anywhere(destination), destination)
        if index is None:
            return SendError.UNREACHABLE
        if not self._network.links.get(index, True):
            try:
                return SocketOptions(if_indextoname(index), guard=self._guard)
            except OSError:  # it went in this moment
                return SendError.UNREACHABLE
        for route in self._network.default_routes:
            if route.version == destination.address.version:
                return SocketOptions(route.interface, guard=self._guard)
        return SendError.THROUGH_TUNNEL

    async def _bind(self, local: LocalAddress, port: int) -> list[Socket]:
        interface = None if local.kind in ADDRESS_HOLDERS else local.interface
        options = SocketOptions(interface, guard=self._guard)
        udp = await UdpSocket.bind(Endpoint(local.address, port), options)
        return [udp, *await _open_tcp(udp.local, options)]


async def _open_tcp(udp: Endpoint, options: SocketOptions) -> list[Socket]:
    """Open the TCP bases beside a UDP socket; without one of them the tunnel only has fewer ways."""
    bases: list[Socket] = [TcpBase.active(udp.address, options)]
    bases += await _listen(udp, (udp.port, 0), TcpType.PASSIVE, options)
    if scope_of(udp.address) is Scope.PUBLIC:  # others reach the internet through a NAT, or not at all
        bases += await _listen(udp, (0,), TcpType.SIMULTANEOUS_OPEN, options)
    return bases


async def _listen(udp: Endpoint, ports: tuple[int, ...], tcp_type: TcpType, options: SocketOptions) -> list[TcpBase]:
    """Listen on the first of `ports` that is free; give no base when none is."""
    for port in ports:
        try:
            return [await TcpBase.listen(Endpoint(udp.address, port, Transport.TCP), tcp_type, options)]
        except DeviceError as error:
            logger.info("no %s TCP base: %s", tcp_type.value, error)
    return []


def _flat(groups: Iterable[list[Socket]]) -> list[Socket]:
    return [socket for group in groups for socket in group]


def _close(sockets: Iterable[Socket]) -> None:
    for socket in sockets:
        socket.close()


def _place(local: LocalAddress) -> Place:
    return local.address, local.index
