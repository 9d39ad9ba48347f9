"""What loopback can't show of TCP bases: firewalls on both sides, links that drop, interfaces."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.ice.candidate_type import TcpType
from p2ptun.io.address import LocalAddress
from p2ptun.io.network import Network
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.tcp import TcpBase
from p2ptun.io.underlay import Underlay
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.namespace import in_namespace, shell
from tests.io.test_driver import until
from tests.io.test_tcp import DATA, reading, request
from tests.io.test_udp import batch_of
from tests.io.test_udp_root import run

pytestmark = pytest.mark.root

# Two addresses of one machine, each behind a firewall that lets in only what answers: a SYN for a connection that
# nobody has begun is dropped, as routers do.
FIREWALLS = """
ip link add here0 type veth peer there0
ip address add 10.9.0.1/24 dev here0
ip address add fd09::1/64 dev here0 nodad
ip link set here0 up
ip link set there0 up
ip address add 10.9.0.2/32 dev lo
ip address add fd09::2/128 dev lo
nft -f - <<'END'
table inet firewalls {
    set begun4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; flags timeout; timeout 60s; }
    set begun6 { type ipv6_addr . inet_service . ipv6_addr . inet_service; flags timeout; timeout 60s; }
    chain out {
        type filter hook output priority 0;
        meta l4proto tcp update @begun4 { ip saddr . tcp sport . ip daddr . tcp dport }
        meta l4proto tcp update @begun6 { ip6 saddr . tcp sport . ip6 daddr . tcp dport }
    }
    chain in {
        type filter hook input priority 0;
        meta l4proto tcp ip daddr . tcp dport . ip saddr . tcp sport @begun4 accept
        meta l4proto tcp ip6 daddr . tcp dport . ip6 saddr . tcp sport @begun6 accept
        meta l4proto tcp drop
    }
}
END
"""

OPEN = TcpType.SIMULTANEOUS_OPEN


def tcp(address: str) -> Endpoint:
    return Endpoint.of(address, 0, Transport.TCP)


@pytest.mark.parametrize("addresses", [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")])
@in_namespace
def test_simultaneous_open_passes_two_firewalls(addresses: tuple[str, str]) -> None:
    shell(FIREWALLS)

    async def body() -> None:
        one, other = [await TcpBase.listen(tcp(address), OPEN) for address in addresses]
        async with reading(one, other) as readers:
            assert one.send(request(), other.local) is None  # dropped by the other side's firewall, and sent again
            assert other.send(request(), one.local) is None
            await until(lambda: all(len(reader.datagrams) == 1 for reader in readers))
            one.send_batch(batch_of(DATA), other.local)
            other.send_batch(batch_of(DATA), one.local)
            await until(lambda: all(reader.datagrams[1:] == [DATA] for reader in readers))
            assert (one.connections, other.connections) == (1, 1)
            assert not any(connection.is_inbound for connection in one._connections.values())
            assert not any(connection.is_inbound for connection in other._connections.values())

    run(body)


@in_namespace
def test_the_same_firewalls_stop_one_that_only_waits() -> None:
    shell(FIREWALLS)

    async def body() -> None:
        active, passive = TcpBase.active(tcp("10.9.0.1").address), await TcpBase.listen(tcp("10.9.0.2"))
        async with reading(active, passive) as (one, other):
            assert active.send(request(), passive.local) is None
            await until(lambda: one.failures == [(passive.local, SendError.TIMED_OUT)])
            assert other.datagrams == []

    run(body)


@in_namespace
def test_an_interface_is_not_left_and_a_firewall_of_ours_is_told() -> None:
    shell("ip link add here0 type veth peer there0; ip address add 10.9.0.1/24 dev here0; ip link set here0 up")

    async def body() -> None:
        confined = TcpBase.active(tcp("127.0.0.1").address, SocketOptions(interface="here0"))
        with await TcpBase.listen(tcp("127.0.0.1")) as near:
            async with reading(confined) as [reader]:
                confined.send(request(), near.local)
                await until(lambda: reader.failures != [] or bool(confined.send_errors))
        with TcpBase.active(tcp("10.9.0.1").address) as base:
            assert base.send(request(), Endpoint.of("192.0.2.1", 9, Transport.TCP)) is SendError.UNREACHABLE
            shell("ip link set here0 down")
            assert base.send(request(), Endpoint.of("10.9.0.2", 9, Transport.TCP)) is SendError.UNREACHABLE

    run(body)


@in_namespace
def test_addresses_that_need_no_nat_also_open_simultaneously() -> None:
    shell("ip link add here0 type veth peer there0; ip address add 203.0.113.8/24 dev here0; ip link set here0 up")

    async def body() -> None:
        with Underlay() as underlay:
            here = (LocalAddress(ip_address("203.0.113.8"), 24, "here0", 2, "veth", True),)
            await underlay.open(Network(here, here))
            assert [each.tcp_type for each in underlay.sockets] == [None, TcpType.ACTIVE, TcpType.PASSIVE, OPEN]
            assert len({each.local for each in underlay.sockets}) == 4

    run(body)
