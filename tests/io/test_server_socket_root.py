"""What loopback can't show of sockets to servers: routes into tunnels, addresses that go, links that drop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io import netlink
from p2ptun.io.base import Socket
from p2ptun.io.server_socket import ServerSocket
from p2ptun.io.underlay import Underlay
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.namespace import LAN, in_namespace, shell
from tests.io.test_driver import until
from tests.io.test_udp_root import run
from tests.stun.vectors import REQUEST

pytestmark = pytest.mark.root

TUNNEL = """
ip tuntap add tun0 mode tun
ip link set tun0 up
ip address add 10.8.0.1/24 dev tun0
ip address add fd08::1/64 dev tun0 nodad
ip route add 0.0.0.0/1 dev tun0
ip route add 128.0.0.0/1 dev tun0
ip -6 route add ::/1 dev tun0
ip -6 route add 2000::/3 dev tun0
"""
"""A VPN that takes everything, as the usual ones do it: by routes that are more specific than the default."""

COUNTERS = """
nft add table inet t
nft add chain inet t o '{ type filter hook output priority 0; }'
nft add rule inet t o oifname tun0 meta l4proto '{ tcp, udp }' counter
nft add rule inet t o oifname lan0 meta l4proto '{ tcp, udp }' counter
"""

TRANSPORTS = pytest.mark.parametrize("transport", list(Transport))
ADDRESSES = pytest.mark.parametrize("address", ["198.51.100.9", "2001:db8:9::9"])


class Nobody:
    """Who uses no sockets but those to servers."""

    def add_socket(self, socket: Socket) -> None:
        """Leave it alone."""

    def remove_socket(self, base: Endpoint) -> None:
        """Leave it alone."""


def counted() -> tuple[int, int]:
    """Count what left by the tunnel, and by the network card."""
    words = shell("nft list chain inet t o").split()
    tunnel, lan = [int(words[at + 1]) for at, word in enumerate(words) if word == "packets"]
    return tunnel, lan


def with_underlay(body: Callable[[Underlay], Awaitable[None]]) -> None:
    async def main() -> None:
        with Underlay() as underlay:
            await underlay.open(netlink.read_network())
            await body(underlay)

    run(main)


def connect(underlay: Underlay, address: str, transport: Transport) -> ServerSocket | SendError:
    token = Endpoint.of("0.0.0.0", 1, transport)  # noqa: S104 (a token)
    return underlay.connect_server(token, Server(Endpoint.of(address, 3478, transport), "turn.example"))


@TRANSPORTS
@ADDRESSES
@in_namespace
def test_a_vpn_that_takes_everything_doesnt_take_this(transport: Transport, address: str) -> None:
    async def body(underlay: Underlay) -> None:
        opened = connect(underlay, address, transport)
        assert not isinstance(opened, SendError)
        assert str(opened.bound.address) in ("192.168.1.2", "2001:db8:1::2")
        assert opened.send(REQUEST, opened.server.endpoint) is None
        opened.close()

    shell(LAN + "ip neighbour add 192.168.1.1 lladdr 02:00:00:00:00:01 dev lan0")
    shell("ip neighbour add 2001:db8:1::1 lladdr 02:00:00:00:00:01 dev lan0")
    shell(TUNNEL + COUNTERS)
    with_underlay(body)
    tunnel, lan = counted()
    assert tunnel == 0
    assert lan > 0


@TRANSPORTS
@in_namespace
def test_a_vpn_that_comes_later_doesnt_take_it_either(transport: Transport) -> None:
    async def body(underlay: Underlay) -> None:
        opened = connect(underlay, "198.51.100.9", transport)
        assert not isinstance(opened, SendError)
        shell(TUNNEL + COUNTERS)
        await underlay.follow(netlink.read_network(), Nobody())
        assert opened.send(REQUEST, opened.server.endpoint) is None
        await until(lambda: counted()[1] > 0, 0.1)  # a SYN is repeated after a second
        assert opened.next_failure() is None

    shell(LAN + "ip neighbour add 192.168.1.1 lladdr 02:00:00:00:00:01 dev lan0")
    with_underlay(body)
    assert counted()[0] == 0


@TRANSPORTS
@in_namespace
def test_a_machine_that_has_nothing_but_a_tunnel(transport: Transport) -> None:
    async def body(underlay: Underlay) -> None:
        assert connect(underlay, "198.51.100.9", transport) is SendError.THROUGH_TUNNEL
        assert connect(underlay, "2001:db8:9::9", transport) is SendError.THROUGH_TUNNEL

    shell(LAN + "ip route delete default; ip -6 route delete default")
    shell(TUNNEL + COUNTERS)
    with_underlay(body)
    assert counted() == (0, 0)


@TRANSPORTS
@in_namespace
def test_without_a_route_there_is_no_way(transport: Transport) -> None:
    async def body(underlay: Underlay) -> None:
        assert connect(underlay, "198.51.100.9", transport) is SendError.UNREACHABLE

    shell(LAN + "ip route delete default")
    with_underlay(body)


@TRANSPORTS
@pytest.mark.parametrize(
    "event", ["ip address delete 192.168.1.2/24 dev lan0", "ip link set lan0 down", "ip link delete lan0"]
)
@in_namespace
def test_an_address_that_goes_takes_the_socket_along(transport: Transport, event: str) -> None:
    async def body(underlay: Underlay) -> None:
        opened = connect(underlay, "198.51.100.9", transport)
        assert not isinstance(opened, SendError)
        shell(event)
        await underlay.follow(netlink.read_network(), Nobody())
        assert opened.next_failure() == (opened.server.endpoint, SendError.SOURCE_GONE)

    shell(LAN)
    with_underlay(body)


@in_namespace
def test_a_server_that_drops_everything_is_given_up() -> None:
    """SYNs are repeated by the kernel, so this takes its real time: 7 s."""

    async def body(underlay: Underlay) -> None:
        opened = connect(underlay, "198.51.100.9", Transport.TCP)
        assert not isinstance(opened, SendError)
        began = trio.current_time()
        while (failure := opened.next_failure()) is None:
            await opened.wait_readable()
            opened.receive_batch(Batch(0), [])
        assert failure == (opened.server.endpoint, SendError.TIMED_OUT)
        assert 5 < trio.current_time() - began < 12

    shell(LAN + "ip neighbour add 192.168.1.1 lladdr 02:00:00:00:00:01 dev lan0")
    with_underlay(body)
