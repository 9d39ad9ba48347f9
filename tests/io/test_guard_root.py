"""Sockets that aren't confined to an interface, and routes that lead into a tunnel."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import trio

from p2ptun.io import netlink
from p2ptun.io.guard import RouteGuard
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.namespace import LAN, in_namespace, shell

pytestmark = pytest.mark.root

TUNNEL = """
ip tuntap add tun0 mode tun
ip link set tun0 up
ip address add 10.8.0.1/24 dev tun0
"""
INSIDE, OUTSIDE, IPV6 = Endpoint.of("172.20.0.9", 9), Endpoint.of("198.51.100.9", 9), Endpoint.of("2001:db8:9::9", 9)


def learned() -> RouteGuard:
    guard = RouteGuard()
    guard.learn(netlink.read_network().links)
    return guard


@in_namespace
def test_a_route_into_a_tunnel_is_refused_and_others_are_not() -> None:
    shell(LAN + TUNNEL + "ip route add 172.20.0.0/16 dev tun0; ip -6 route add 2001:db8:9::/48 dev tun0")
    guard, here = learned(), Endpoint.of("192.168.1.2", 4000)
    assert guard.refuses(here, INSIDE)
    assert not guard.refuses(here, OUTSIDE)
    assert guard.way_out(here, OUTSIDE) == socket.if_nametoindex("lan0")
    assert guard.refuses(Endpoint.of("2001:db8:1::2", 4000), IPV6)
    assert not guard.refuses(Endpoint.of("2001:db8:1::2", 4000), Endpoint.of("2001:db8:8::1", 9))
    link_local = next(str(each.address) for each in netlink.list_addresses() if each.address.is_link_local)
    zone = link_local.partition("%")[2]
    way = guard.way_out(Endpoint.of(link_local, 4000), Endpoint.of(f"fe80::9%{zone}", 9))
    assert way == socket.if_nametoindex(zone)
    guard.close()


@in_namespace
def test_rules_by_source_and_port_count() -> None:
    shell(
        LAN
        + TUNNEL
        + "ip route add default dev tun0 table 77; ip rule add from 192.168.1.2 ipproto udp dport 51 table 77"
    )
    guard, here = learned(), Endpoint.of("192.168.1.2", 4000)
    assert not guard.refuses(here, OUTSIDE)
    assert guard.refuses(here, Endpoint(OUTSIDE.address, 51))
    assert not guard.refuses(here, Endpoint(OUTSIDE.address, 51, Transport.TCP))
    guard.close()


@in_namespace
def test_a_socket_that_is_not_confined_sends_nothing_into_a_tunnel() -> None:
    """The route comes and goes while the socket is in use; it notices when told that routes changed."""
    shell(LAN + TUNNEL)
    trio.run(send_while_routes_change)


async def send_while_routes_change() -> None:
    guard, here = learned(), Endpoint.of("192.168.1.2", 0)
    with ExitStack() as stack:
        free = stack.enter_context(await UdpSocket.bind(here, SocketOptions(guard=guard)))
        confined = stack.enter_context(await UdpSocket.bind(here, SocketOptions(interface="lan0", guard=guard)))
        assert (free.is_confined, confined.is_confined) == (False, True)
        assert free.send(b"x", INSIDE) is None
        shell("ip route add 172.20.0.0/16 dev tun0")
        assert free.send(b"x", INSIDE) is None, "asked once, remembered"
        for each in (free, confined):
            each.forget_routes()
        assert [free.send(b"x", INSIDE), free.send(b"x", INSIDE)] == [SendError.THROUGH_TUNNEL] * 2
        assert free.send(b"x", OUTSIDE) is None
        assert confined.send(b"x", INSIDE) is None, "its packets go out by lan0, whatever the routes say"
        shell("ip route del 172.20.0.0/16 dev tun0")
        free.forget_routes()
        assert free.send(b"x", INSIDE) is None
        assert free.send_errors == {SendError.THROUGH_TUNNEL: 2}
    guard.close()
