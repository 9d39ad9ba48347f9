"""Port mapping on real networks: one socket for each address of ours and its gateway, and what drives the mappers.

A socket is bound to the address whose ports are mapped, for the gateway maps for whoever asks (RFC 6887 8.1), and
connected to the gateway: nobody else's datagrams get in, and a gateway without such a port says so by ICMP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, NoReturn

import trio

from p2ptun.io.network import Network
from p2ptun.io.refusal import send_error
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import SocketOptions, confine, open_socket
from p2ptun.io.underlay import ADDRESS_HOLDERS
from p2ptun.nat.pcp import MAX_SIZE, PORT
from p2ptun.nat.portmap import PortMapper
from p2ptun.nat.portmap_event import PortMapEvent
from p2ptun.nat.portmap_lease import is_private
from p2ptun.types import Endpoint, IPAddress, SendError

BUFFER_SIZE: Final = 1 << 16  # bytes: dozens of answers, each a hundred bytes at most
MESSAGES_PER_WAKE: Final = 16  # then trio gets its turn: whoever floods us keeps nobody from work


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """An address of ours that needs mapped ports, and the gateway that can map them."""

    address: IPAddress
    interface: str
    gateway: IPAddress


class GatewaySocket:
    """A UDP socket to one gateway."""

    def __init__(self, place: GatewayPlace) -> None:
        """Open it. Raises OSError: the address or the interface is gone, or there is no way to the gateway."""
        self._socket = open_socket(Endpoint(place.address, 0), SocketOptions(buffer_size=BUFFER_SIZE))
        try:
            confine(self._socket, place.interface)
            self._socket.connect(sockaddr_of(Endpoint(place.gateway, PORT)))
            self.local = endpoint_of(self._socket.getsockname())
            self.gateway = endpoint_of(self._socket.getpeername())
        except BaseException:
            self._socket.close()
            raise

    def send(self, payload: bytes) -> SendError | None:
        """Send a request; one that is lost is repeated."""
        try:
            self._socket.send(payload)
        except OSError as error:
            return send_error(error.errno)
        return None

    def receive(self) -> bytes | SendError | None:
        """Take the next answer, or what the kernel was told of a request; None when there is nothing.

        Raises:
            trio.ClosedResourceError: If the socket is closed.
        """
        self._check_open()
        try:
            return self._socket.recv(MAX_SIZE + 1)
        except BlockingIOError:
            return None
        except OSError as error:
            return send_error(error.errno)

    async def wait_readable(self) -> None:
        """Wait until something is there.

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


class GatewayClient:
    """Runs one `PortMapper` over its socket.

    Commands reach the mapper through `mapper` itself; whoever calls one calls `flush` afterwards. `handle_event` is
    called for every event, in order, in the task that caused it; it must not block.
    """

    def __init__(self, place: GatewayPlace, handle_event: Callable[[PortMapEvent], None]) -> None:
        """Open the socket. Raises OSError."""
        self._socket = GatewaySocket(place)
        self.mapper = PortMapper(self._socket.local, self._socket.gateway.address, os.urandom)
        self._handle_event = handle_event
        self._timer = trio.CancelScope()
        self._is_settled = trio.Event()
        self._is_released = trio.Event()

    async def run(self) -> None:
        """Serve until the socket is closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_timer)
            await self._read()
            nursery.cancel_scope.cancel()

    def flush(self) -> None:
        """Send what the mapper wants sent, hand on its events and set the clock for its next deadline."""
        while (transmit := self.mapper.next_transmit()) is not None:
            error = self._socket.send(transmit.payload)
            if error is not None:
                self.mapper.record_send_error(error, trio.current_time())
        while (event := self.mapper.next_event()) is not None:
            self._handle_event(event)
        if self.mapper.is_settled:
            self._is_settled.set()
        if self.mapper.is_released:
            self._is_released.set()
        self._timer.deadline = self._deadline()

    async def settle(self) -> None:
        """Wait until it is known for the first time what becomes of the ports."""
        await self._is_settled.wait()

    async def release(self) -> None:
        """Give the mappings back, and wait until the gateway has said that it knows or was told often enough."""
        self._is_released = trio.Event()
        self.mapper.close(trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            self.flush()
            await self._is_released.wait()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket, after saying once that the mappings aren't needed any more. Twice is harmless."""
        self.mapper.close(trio.current_time())
        self.flush()
        self._socket.close()

    async def _read(self) -> None:
        try:
            while True:
                await self._socket.wait_readable()
                for _ in range(MESSAGES_PER_WAKE):
                    if not self._take():
                        break
                self.flush()
        except trio.ClosedResourceError:
            return  # its address is gone, or its gateway

    def _take(self) -> bool:
        """Take one message; False when there is none."""
        message, now = self._socket.receive(), trio.current_time()
        match message:
            case None:
                return False
            case SendError():
                self.mapper.record_send_error(message, now)
            case bytes():
                self.mapper.receive_datagram(message, self._socket.gateway, self._socket.local, now)
        return True

    async def _run_timer(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._timer:
                await trio.sleep_forever()
            self.mapper.handle_timeout(trio.current_time())
            self.flush()

    def _deadline(self) -> float:
        at = self.mapper.next_timeout()
        return float("inf") if at is None else at


def places_of(network: Network) -> Iterator[GatewayPlace]:
    """Yield the addresses behind a gateway that translates or filters, each with the gateway that its packets take.

    That are private addresses of IPv4, behind a NAT, and public ones of IPv6, behind what is mostly a firewall: there
    the gateway is asked for a hole in it (RFC 6887 2.1).
    """
    for local in network.candidates:
        address = local.address
        if address.is_link_local or local.kind in ADDRESS_HOLDERS or is_private(address) is (address.version == 6):
            continue
        for route in network.default_routes:
            if (route.version, route.index) == (address.version, local.index) and route.gateway is not None:
                if route.gateway.version == address.version:
                    yield GatewayPlace(address, local.interface, _on_link(route.gateway, local.interface))
                break


def _on_link(gateway: IPAddress, interface: str) -> IPAddress:
    """Give a link-local address its zone."""
    if isinstance(gateway, IPv6Address) and gateway.is_link_local and gateway.scope_id is None:
        return IPv6Address(f"{gateway}%{interface}")
    return gateway
