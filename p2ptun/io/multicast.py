"""Multicast DNS on real links: the sockets of an `MdnsAgent`, and what drives it (RFC 6762 3, 11, 15).

Each interface has one socket for IPv4 and one for IPv6, on port 5353, confined to the interface: what it sends leaves
there, and what it receives came from there. The port is shared with other programs that speak multicast DNS, such as
avahi-daemon and systemd-resolved: all of them get what is sent to the group.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn

import trio

from p2ptun.io.address import LocalAddress
from p2ptun.io.network import Network
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import confine
from p2ptun.io.underlay import ADDRESS_HOLDERS
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.event import MdnsEvent
from p2ptun.mdns.link import GROUP_V4, GROUP_V6, MDNS_PORT
from p2ptun.mdns.message import MAX_MESSAGE_SIZE
from p2ptun.types import Endpoint, IPAddress, IPNetwork, Transmit

MESSAGES_PER_WAKE: Final = 16
"""Messages taken before trio gets its turn: a link full of chatter keeps nobody from work."""

HOP_LIMIT: Final = 255  # RFC 6762 11: SHOULD

_IP_PKTINFO: Final = 8  # linux/in.h
_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(20)  # the larger one, struct in6_pktinfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MulticastLink:
    """An interface as one IP version sees it: an address of it, and which addresses are neighbours."""

    interface: str
    index: int
    address: IPAddress
    networks: tuple[IPNetwork, ...]

    @property
    def local(self) -> Endpoint:
        """What the machine calls the socket on it."""
        return Endpoint(self.address, MDNS_PORT)

    def has(self, address: IPAddress) -> bool:
        """Tell whether an address is that of a neighbour (RFC 6762 11)."""
        return address.is_link_local or any(address in network for network in self.networks)


class MulticastSocket:
    """One socket on one link. `drops` counts what was lost or refused, and why."""

    def __init__(self, link: MulticastLink) -> None:
        """Open it. Raises OSError: the interface is gone, has no multicast, or somebody keeps the port to himself."""
        self.link = link
        self.drops: Counter[str] = Counter()
        family = socket.AF_INET if link.address.version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                _join_ipv6(self._socket, link)
            else:
                _join_ipv4(self._socket, link)
            self.is_shared = _bind(self._socket, link)
        except BaseException:
            self._socket.close()
            raise

    def receive(self) -> tuple[bytes, Endpoint] | None:
        """Take the next message that came over the link, and who sent it; None when there is none.

        Of those that came from elsewhere it drops so many at most: a flood of them keeps nobody from work.

        Raises:
            trio.ClosedResourceError: If the socket is closed.
        """
        self._check_open()
        for _ in range(MESSAGES_PER_WAKE):
            try:
                data, ancillary, _, sockaddr = self._socket.recvmsg(MAX_MESSAGE_SIZE + 1, _ANCILLARY_SIZE)
            except BlockingIOError:
                return None
            source = endpoint_of(sockaddr)
            if self._came_over_link(source, ancillary):
                return data, source
            self.drops["from another link"] += 1
        return None

    def send(self, payload: bytes, destination: Endpoint) -> None:
        """Send a message; one that is lost is asked for again, or sent again.

        Nothing goes to a host beyond the link: who forges its address shall not have it answered.
        """
        if not (destination.address.is_multicast or self.link.has(destination.address)):
            self.drops["to another link"] += 1
            return
        try:
            self._socket.sendto(payload, sockaddr_of(destination))
        except OSError as error:
            self.drops[f"send: {errno.errorcode.get(error.errno or 0, 'unknown')}"] += 1

    async def wait_readable(self) -> None:
        """Wait until a message is there.

        Raises:
            trio.ClosedResourceError: If the socket is closed before or meanwhile.
        """
        self._check_open()
        await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close it; twice is harmless."""
        if self._socket.fileno() >= 0:
            if trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError

    def _came_over_link(self, source: Endpoint, ancillary: Sequence[tuple[int, int, bytes]]) -> bool:
        """Tell whether a message was sent to the group, or to us alone by a neighbour, over this interface."""
        index, destination = _arrival(ancillary)
        return index == self.link.index and (destination.is_multicast or self.link.has(source.address))


class Multicast:
    """Runs one `MdnsAgent` over the links of this machine.

    Commands reach the agent through `agent` itself; whoever calls one calls `flush` afterwards. `handle_event` is
    called for every event, in order, in the task that caused it; it must not block.
    """

    def __init__(self, agent: MdnsAgent, handle_event: Callable[[MdnsEvent], None]) -> None:
        self.agent = agent
        self._handle_event = handle_event
        self._sockets: dict[Endpoint, MulticastSocket] = {}
        self._timer = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    @property
    def sockets(self) -> list[MulticastSocket]:
        """The sockets there are."""
        return list(self._sockets.values())

    def start(self, nursery: trio.Nursery, network: Network) -> None:
        """Open the sockets and start the tasks that serve them in `nursery`; they end with it."""
        self._nursery = nursery
        nursery.start_soon(self._run_timer)
        self.follow(network)

    def follow(self, network: Network) -> None:
        """Keep the sockets in step with the machine's links. A link where none can be opened goes without names."""
        links = {link.local: link for link in links_of(network)}
        for local, sock in list(self._sockets.items()):
            if links.get(local) != sock.link:
                self._remove(local)
        for local, link in links.items():
            if local not in self._sockets:
                self._add(link)
        self.flush()

    def flush(self) -> None:
        """Send what the agent wants sent, hand on its events and set the clock for its next deadline."""
        while (transmit := self.agent.next_transmit()) is not None:
            self._send(transmit)
        while (event := self.agent.next_event()) is not None:
            self._handle_event(event)
        self._timer.deadline = self._deadline()

    def close(self) -> None:
        """Say goodbye for all names, and close the sockets."""
        self.agent.close()
        self.flush()
        for sock in self._sockets.values():
            sock.close()

    def _add(self, link: MulticastLink) -> None:
        try:
            sock = MulticastSocket(link)
        except OSError as error:
            logger.info("no multicast DNS on %s for IPv%d: %s", link.interface, link.address.version, error)
            return
        self._sockets[link.local] = sock
        self.agent.add_local(link.local, link.interface, sock.is_shared, trio.current_time())
        if self._nursery is not None:
            self._nursery.start_soon(self._read, sock)

    def _remove(self, local: Endpoint) -> None:
        self.agent.remove_local(local)
        self._sockets.pop(local).close()

    def _send(self, transmit: Transmit) -> None:
        sock = self._sockets.get(transmit.source)
        if sock is not None:  # else its link went after the message was made
            sock.send(transmit.payload, transmit.destination)

    async def _read(self, sock: MulticastSocket) -> None:
        try:
            while True:
                await sock.wait_readable()
                for _ in range(MESSAGES_PER_WAKE):
                    message = sock.receive()
                    if message is None:
                        break
                    self.agent.receive_datagram(*message, sock.link.local, trio.current_time())
                self.flush()
        except trio.ClosedResourceError:
            return  # its link is gone

    async def _run_timer(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._timer:
                await trio.sleep_forever()
            self.agent.handle_timeout(trio.current_time())
            self.flush()

    def _deadline(self) -> float:
        at = self.agent.next_timeout()
        return float("inf") if at is None else at


def links_of(network: Network) -> Iterator[MulticastLink]:
    """Yield the links that host candidates are on, once for each IP version that these have there."""
    seen: set[tuple[int, int]] = set()
    for local in network.candidates:
        place = (local.index, local.address.version)
        if place not in seen and local.kind not in ADDRESS_HOLDERS:
            seen.add(place)
            yield MulticastLink(local.interface, local.index, local.address, tuple(_networks_like(local, network)))


def _networks_like(local: LocalAddress, network: Network) -> Iterator[IPNetwork]:
    for other in dict.fromkeys((*network.candidates, *network.present)):
        if other.index == local.index and other.address.version == local.address.version:
            yield other.network


def _join_ipv4(sock: socket.socket, link: MulticastLink) -> None:
    request = struct.pack("=4s4si", GROUP_V4.address.packed, bytes(4), link.index)  # struct ip_mreqn
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # another program here may be the other side
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _join_ipv6(sock: socket.socket, link: MulticastLink) -> None:
    request = struct.pack("=16si", GROUP_V6.address.packed, link.index)  # struct ipv6_mreq
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def _bind(sock: socket.socket, link: MulticastLink) -> bool:
    """Bind to the port and let others have it too; tell whether somebody has. Raises OSError."""
    confine(sock, link.interface)
    everywhere = "" if link.address.version == 4 else "::"
    try:
        sock.bind((everywhere, MDNS_PORT))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _share(sock)
        sock.bind((everywhere, MDNS_PORT))
        return True
    _share(sock)
    return False


def _share(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _arrival(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, IPAddress]:
    """Read the interface that a message came in by and the address it was sent to; interface 0 when untold."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            index, _, destination = struct.unpack("=i4s4s", data)  # struct in_pktinfo
            return index, IPv4Address(destination)
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            destination, index = struct.unpack("=16si", data)  # struct in6_pktinfo
            return index, IPv6Address(destination)
    return 0, IPv4Address(0)
