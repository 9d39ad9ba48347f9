"""The sockets that a node orders: to relays, known by their tokens, and more of them for port searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from p2ptun.node.node import Node
from p2ptun.node.order import CloseSpares, OpenSpares
from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, IPAddress, SendError, Transmit, Transport

from .host import Host
from .network import Network

FIRST_PORT = 20000


class OrderedSockets:
    """Opens and closes them; `bases` gives the ordinary sockets there are.

    Attributes:
        spares: The sockets of port searches that are open.
        tokens: The sockets to relays that are open, by token.
    """

    def __init__(self, network: Network, host: Host, node: Node, bases: Callable[[], Iterable[Endpoint]]) -> None:
        self.spares: set[Endpoint] = set()
        self.tokens: dict[Endpoint, Endpoint] = {}
        self._names: dict[Endpoint, Endpoint] = {}
        self._servers: dict[Endpoint, Endpoint] = {}
        self._network = network
        self._host = host
        self._node = node
        self._bases = bases
        self._ports = count(FIRST_PORT)
        self._outdated: list[Endpoint] = []

    def obey(self) -> None:
        """Open what the node wants opened. What it wants closed stays open until everything has been sent."""
        while (order := self._node.next_order()) is not None:
            match order:
                case OpenSocket(token, server):
                    self._open(token, server)
                case CloseSocket(token):
                    self._outdated.append(token)
                case OpenSpares(peer, base, number):
                    self._open_spares(peer, base, number)
                case CloseSpares(bases):
                    self._outdated.extend(bases)

    def close_outdated(self) -> None:
        """Close what isn't wanted any more: everything has been sent."""
        outdated, self._outdated = self._outdated, []
        for each in outdated:
            socket = self.tokens.pop(each, None) or each
            self._names.pop(socket, None)
            self.spares.discard(socket)
            self._unplug(socket)

    def leave(self, address: IPAddress) -> None:
        """Lose all that are bound to an address which is gone."""
        for socket in self._at(address):
            self._unplug(socket)

    def report_left(self, address: IPAddress) -> None:
        """Tell the node that they are gone."""
        for socket in self._at(address):
            now = self._network.time_of(self._host)
            if socket in self._names:
                token = self._names[socket]
                self._node.record_send_error(token, self._servers[token], SendError.SOURCE_GONE, now)
            else:
                self.spares.remove(socket)
                self._node.remove_local_address(socket, now)

    def name_of(self, socket: Endpoint) -> Endpoint:
        """Give what the node calls a socket."""
        return self._names.get(socket, socket)

    def addressed(self, packet: Transmit) -> Transmit:
        """Let a datagram leave from the socket that its source means."""
        socket = self.tokens.get(packet.source)
        return packet if socket is None else replace(packet, source=socket)

    def _open(self, token: Endpoint, server: Server) -> None:
        beside = next((base for base in self._bases() if _is_beside(base, server.endpoint)), None)
        if beside is None or not self._network.has_socket(self._host, beside):
            self._node.record_send_error(
                token, server.endpoint, SendError.UNREACHABLE, self._network.time_of(self._host)
            )
            return
        socket = Endpoint(beside.address, next(self._ports), token.transport)
        self.tokens[token], self._names[socket], self._servers[token] = socket, token, server.endpoint
        self._network.plug_beside(self._host, socket, beside)

    def _open_spares(self, peer: str, base: Endpoint, number: int) -> None:
        for _ in range(number if self._network.has_socket(self._host, base) else 0):
            spare = replace(base, port=next(self._ports))
            self.spares.add(spare)
            self._network.plug_beside(self._host, spare, base)
            self._node.add_spare_address(peer, spare, self._network.time_of(self._host))

    def _at(self, address: IPAddress) -> list[Endpoint]:
        return [each for each in (*self._names, *sorted(self.spares, key=str)) if each.address == address]

    def _unplug(self, socket: Endpoint) -> None:
        if self._network.has_socket(self._host, socket):
            self._network.unplug(socket)


def _is_beside(base: Endpoint, server: Endpoint) -> bool:
    """Tell whether a socket for a server can stand beside that one."""
    return base.transport is Transport.UDP and base.address.version == server.address.version
