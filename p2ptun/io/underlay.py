"""The sockets below the tunnel: one for each address of this machine that is fit for a host candidate."""

from __future__ import annotations

from contextlib import ExitStack

import trio

from p2ptun.errors import DeviceError
from p2ptun.io import netlink
from p2ptun.io.address import LocalAddress
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint

ADDRESS_HOLDERS = frozenset({"dummy", "vrf"})
"""Link kinds that hold addresses but carry no packets: what is sent from there leaves by another interface."""


async def open_sockets(stack: ExitStack, port: int = 0) -> list[UdpSocket]:
    """Bind a socket to each candidate address, closed by `stack`; one that can't be bound is passed over.

    Each is confined to the interface of its address, so that no route into the tunnel ever takes the tunnel's own
    datagrams.

    Raises:
        DeviceError: If there is no address at all.
    """
    sockets, problem = [], None
    for local in await trio.to_thread.run_sync(netlink.candidate_addresses):
        try:
            sockets.append(stack.enter_context(await UdpSocket.bind(Endpoint(local.address, port), _options(local))))
        except DeviceError as error:
            problem = error
    if not sockets:
        raise problem or DeviceError("This machine has no network address.", "Connect it to a network: ip -br address")
    return sockets


def _options(local: LocalAddress) -> SocketOptions:
    return SocketOptions(interface=None if local.kind in ADDRESS_HOLDERS else local.interface)
