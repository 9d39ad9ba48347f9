"""Interfaces, addresses and routes for real, in a network namespace."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from p2ptun.errors import DeviceError
from p2ptun.io import netlink
from p2ptun.io.address import AddressFlag, LocalAddress
from p2ptun.io.tun import TunDevice
from tests.io.namespace import LAN, in_namespace, shell

MTU = 1420
V4, V6 = ip_interface("10.77.3.0/31"), ip_interface("fd5c:1:2:3::/127")

pytestmark = pytest.mark.root


@contextmanager
def tun(name: str = "home") -> Iterator[str]:
    with TunDevice.open(name, MTU) as device:
        yield device.name


def show(command: str) -> list[Any]:
    found: list[Any] = json.loads(shell(f"ip -j {command}") or "[]")
    return found


def routes(name: str, family: str = "-4") -> set[str]:
    return {route["dst"] for route in show(f"{family} route show dev {name} proto {netlink.ROUTE_PROTOCOL}")}


def find(text: str) -> LocalAddress:
    (found,) = [each for each in netlink.list_addresses() if str(each.address) == text]
    return found


@in_namespace
def test_a_tunnel_is_usable_at_once() -> None:
    with tun() as name:
        netlink.configure(name, [V4, V6], MTU, [ip_network("192.168.7.0/24"), ip_network("fd99::/64"), V4.network])
        (link,) = show(f"-d address show dev {name}")
        assert (link["mtu"], link["txqlen"]) == (MTU, netlink.QUEUE_LENGTH)
        assert {"UP", "LOWER_UP", "POINTOPOINT"} <= set(link["flags"])
        assert {(each["local"], each["prefixlen"]) for each in link["addr_info"]} == {
            ("10.77.3.0", 31),
            ("fd5c:1:2:3::", 127),
        }
        assert routes(name) == {"192.168.7.0/24"}
        assert routes(name, "-6") == {"fd99::/64"}
        for address in (V4, V6):
            with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind((str(address.ip), 0))
                sock.sendto(b"x", (str(address.ip + 1), 7))
    assert show("link") == show("link show dev lo")
    assert show("route") == []


@in_namespace
def test_a_network_instead_of_a_pair() -> None:
    with tun() as name:
        netlink.configure(name, [ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64")], MTU)
        network = netlink.read_network()
        assert network.tunnel_networks == (ip_network("10.77.0.0/24"), ip_network("fd77::/64"))
        assert network.links[socket.if_nametoindex(name)] is True


@in_namespace
def test_the_kernel_makes_no_address_of_its_own() -> None:
    with tun() as name:
        netlink.configure(name, [V6], MTU)
        assert [each.address for each in netlink.list_addresses() if each.interface == name] == [V6.ip]


@in_namespace
def test_addresses_with_kind_and_flags() -> None:
    shell(LAN)
    shell("ip address add 2001:db8:1::3/64 dev lan0 preferred_lft 0 valid_lft 100 nodad")
    with tun() as name:
        netlink.configure(name, [V4], MTU)
        lan = find("192.168.1.2")
        assert (lan.interface, lan.prefix, lan.kind, lan.is_tunnel, lan.is_running) == ("lan0", 24, "veth", False, True)
        ours = find("10.77.3.0")
        assert (ours.interface, ours.kind, ours.is_tunnel, ours.is_running) == (name, "tun", True, True)
        assert find("2001:db8:1::3").flags & AddressFlag.DEPRECATED
        assert not find("2001:db8:1::2").flags
        (link_local,) = {each.address for each in netlink.list_addresses() if str(each.address).endswith("%lan0")}
        assert link_local.is_link_local


@in_namespace
def test_secondary_ipv4_addresses_are_not_taken_for_temporary_ones() -> None:
    shell(LAN + "ip address add 192.168.1.3/24 dev lan0")
    assert find("192.168.1.3").flags is AddressFlag.NONE


@in_namespace
def test_candidates() -> None:
    shell("ip link add br0 type bridge; ip address add 172.17.0.1/16 dev br0; ip link set br0 up")
    shell(LAN + "ip link set far0 master br0")
    shell("ip link add off0 type veth peer off1; ip address add 10.5.0.1/24 dev off0")
    with tun() as name:
        netlink.configure(name, [V4, V6], MTU)
        found = [str(each.address) for each in netlink.read_network().candidates]
        assert found == ["2001:db8:1::2", "192.168.1.2", "172.17.0.1"]


@in_namespace
def test_a_tentative_address_is_no_candidate() -> None:
    shell("ip link add lan0 type veth peer far0; ip link set lan0 up; ip link set far0 up")
    shell("sysctl -qw net.ipv6.conf.lan0.dad_transmits=100; ip address add 2001:db8:1::2/64 dev lan0")
    assert find("2001:db8:1::2").flags & AddressFlag.TENTATIVE
    assert "2001:db8:1::2" not in {str(each.address) for each in netlink.read_network().candidates}


@in_namespace
def test_networks_in_use() -> None:
    shell(LAN)
    shell("ip route add 10.0.0.0/8 via 192.168.1.1; ip route add 10.77.3.0/24 via 192.168.1.1")
    shell("ip route add unreachable 10.99.0.0/16; ip route add 10.66.0.0/16 nexthop via 192.168.1.1")
    shell("ip route add 10.55.0.0/16 nexthop via 192.168.1.1 nexthop via 192.168.1.3")
    assert [str(each) for each in netlink.existing_networks()] == [
        "10.55.0.0/16",
        "10.66.0.0/16",
        "10.77.3.0/24",
        "192.168.1.0/24",
        "2001:db8:1::/64",
    ]


@in_namespace
def test_an_address_in_use() -> None:
    shell(LAN)
    with tun() as name:
        with pytest.raises(DeviceError, match=r"192.168.1.2 is already in use on lan0") as caught:
            netlink.configure(name, [V4, ip_interface("192.168.1.2/32")], MTU)
        assert "--address" in caught.value.remedy
        assert "ip address del 192.168.1.2/24 dev lan0" in caught.value.remedy
        with pytest.raises(DeviceError, match=r"192.168.0.0/16 overlaps with 192.168.1.0/24 on lan0") as caught:
            netlink.configure(name, [ip_interface("192.168.9.1/16")], MTU)
        assert "--address" in caught.value.remedy
        with pytest.raises(DeviceError, match=r"2001:db8:1::2 is already in use on lan0"):
            netlink.configure(name, [ip_interface("2001:db8:1::2/128")], MTU)
        assert not [each for each in netlink.list_addresses() if each.interface == name]


@in_namespace
def test_a_route_in_use() -> None:
    shell(LAN + "ip route add 10.66.0.0/16 via 192.168.1.1")
    with tun() as name:
        for destination in ("10.66.0.0/16", "192.168.1.0/24", "0.0.0.0/0", "::/0"):
            with pytest.raises(DeviceError, match=f"A route to {destination} already leads to lan0") as caught:
                netlink.configure(name, [V4], MTU, [ip_network(destination)])
            assert f"ip route del {destination} dev lan0" in caught.value.remedy
        assert not [each for each in netlink.list_addresses() if each.interface == name]
        netlink.configure(name, [V4], MTU, [ip_network("10.66.1.0/24")])
        with pytest.raises(DeviceError, match=r"10.66.0.0/16 already leads to lan0"):
            netlink.add_routes(name, [ip_network("10.66.2.0/24"), ip_network("10.66.0.0/16")])
        assert routes(name) == {"10.66.1.0/24"}


@in_namespace
def test_two_tunnels_side_by_side() -> None:
    with tun("one") as one, tun("two") as two:
        netlink.configure(one, [ip_interface("10.77.3.0/31"), ip_interface("fd5c::/127")], MTU)
        netlink.configure(two, [ip_interface("10.77.3.2/31"), ip_interface("fd5c::2/127")], MTU)
        with pytest.raises(DeviceError, match="already in use on one"):
            netlink.configure(two, [ip_interface("10.77.3.0/31")], MTU)


@in_namespace
def test_routes_come_and_go() -> None:
    with tun() as name:
        netlink.configure(name, [V4], MTU)
        wanted = [ip_network("10.1.0.0/16"), ip_network("fd99::/64"), ip_network("10.2.0.0/16")]
        netlink.add_routes(name, wanted)
        netlink.add_routes(name, wanted)
        shell(f"ip route add 10.3.0.0/16 dev {name}")
        assert routes(name) == {"10.1.0.0/16", "10.2.0.0/16"}
        assert {str(each.destination) for each in netlink.list_routes() if each.protocol == netlink.ROUTE_PROTOCOL} == {
            "10.1.0.0/16",
            "10.2.0.0/16",
            "fd99::/64",
        }
        somebody_elses = ip_network("10.3.0.0/16")
        netlink.remove_routes(name, [wanted[0], wanted[1], somebody_elses, ip_network("10.4.0.0/16")])
        assert routes(name) == {"10.2.0.0/16"}
        assert routes(name, "-6") == set()
        assert "10.3.0.0/16" in {route["dst"] for route in show(f"route show dev {name}")}


@in_namespace
def test_configuring_twice_says_what_is_there_already() -> None:
    with tun() as name:
        netlink.configure(name, [V4], MTU)
        with pytest.raises(DeviceError, match=f"The address {V4} can't be set on {name}: File exists"):
            netlink.configure(name, [V4], MTU)


@in_namespace
def test_an_mtu_that_is_refused() -> None:
    with tun() as name, pytest.raises(DeviceError, match="The MTU 67 is refused") as caught:
        netlink.configure(name, [V4], 67)
    assert "--mtu" in caught.value.remedy


@in_namespace
def test_with_ipv6_switched_off() -> None:
    shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    assert not netlink.supports_ipv6()
    with tun() as name:
        netlink.configure(name, [V4], MTU)
        with pytest.raises(DeviceError, match="can't be set") as caught:
            netlink.configure(name, [V6], MTU)
        assert "IPv6" in caught.value.remedy


@in_namespace
def test_what_matters_of_the_network() -> None:
    shell(LAN + "ip route add 198.51.100.0/24 via 192.168.1.7")
    shell("ip link add off0 type veth peer off1; ip address add 10.5.0.1/24 dev off0")
    network = netlink.read_network()
    assert [str(route) for route in network.default_routes] == ["lan0 by 192.168.1.1", "lan0 by 2001:db8:1::1"]
    assert {str(each.address) for each in network.present} >= {"192.168.1.2", "2001:db8:1::2"}
    assert "10.5.0.1" not in {str(each.address) for each in network.present}
    with tun() as name:
        netlink.configure(name, [V4, V6], MTU, [ip_network("172.20.0.0/16")])
        shell(f"ip route add default dev {name} metric 5")
        assert netlink.read_network().fingerprint == network.fingerprint
    shell("ip route replace default via 192.168.1.9")
    assert netlink.read_network().fingerprint != network.fingerprint


@in_namespace
def test_default_routes_in_order_of_preference() -> None:
    shell(LAN + "ip route flush default; ip route add default via 192.168.1.1 metric 300")
    shell("ip link add p0 type veth peer p1; ip link set p0 up; ip link set p1 up; ip address add 10.6.0.2/24 dev p0")
    shell("ip -4 route add default via inet6 fe80::1 dev p0 metric 20; ip -6 route add default dev p0 metric 9")
    network = netlink.read_network()
    ways = ["p0", "p0 by fe80::1", "lan0 by 192.168.1.1", "lan0 by 2001:db8:1::1"]
    assert [str(route) for route in network.default_routes] == ways
    assert [str(each.address) for each in network.candidates] == ["2001:db8:1::2", "10.6.0.2", "192.168.1.2"]


@in_namespace
def test_several_ways_at_once_are_all_told() -> None:
    shell(LAN + "ip -4 route flush default; ip route add default nexthop via 192.168.1.3 nexthop via 192.168.1.4")
    found = [str(route) for route in netlink.read_network().default_routes if route.version == 4]
    assert found == ["lan0 by 192.168.1.3", "lan0 by 192.168.1.4"]


STACKS = {
    "a VLAN on a TAP": "ip link add top0 link tap0 type vlan id 7",
    "a VLAN on a macvlan on a TAP": "ip link add mid0 link tap0 type macvlan; ip link set mid0 up; "
    "ip link add top0 link mid0 type vlan id 7",
    "IPv4 in IPv4": "ip link add top0 type ipip local 192.168.1.2 remote 192.168.1.3",
    "IPv6 in IPv4": "ip link add top0 type sit local 192.168.1.2 remote 192.168.1.3",
    "GRE": "ip link add top0 type gre local 192.168.1.2 remote 192.168.1.3",
    "Ethernet in GRE": "ip link add top0 type gretap local 192.168.1.2 remote 192.168.1.3",
    "WireGuard": "ip link add top0 type wireguard",
    "a macvlan on a TAP": "ip link add top0 link tap0 type macvlan",
    "a macvlan on a macvlan on a TAP": "ip link add mid0 link tap0 type macvlan; ip link set mid0 up; "
    "ip link add top0 link mid0 type macvlan",
    "a bridge with nothing but a VXLAN": "ip link add vx0 type vxlan id 7 dev lan0 dstport 4789; ip link set vx0 up; "
    "ip link add top0 type bridge; ip link set vx0 master top0",
}


@pytest.mark.parametrize("stack", list(STACKS))
@in_namespace
def test_what_stands_on_a_tunnel_is_one(stack: str) -> None:
    shell(LAN + "ip tuntap add tap0 mode tap; ip link set tap0 up")
    made = subprocess.run(["sh", "-euc", STACKS[stack]], capture_output=True, text=True, check=False)
    if "Unknown device type" in made.stderr:
        pytest.skip(f"needs a kernel with {stack}")
    assert made.returncode == 0, made.stderr
    shell("ip link set top0 up; ip address add 10.7.0.1/24 dev top0")
    assert find("10.7.0.1").is_tunnel
    network = netlink.read_network()
    assert "10.7.0.1" not in {str(each.address) for each in network.candidates + network.present}
    assert ip_network("10.7.0.0/24") in network.tunnel_networks
    assert network.links[socket.if_nametoindex("top0")] is True


@in_namespace
def test_a_bridge_for_virtual_machines_and_what_stands_on_a_network_card_are_none() -> None:
    shell(
        LAN + "ip tuntap add vm0 mode tap; ip link set vm0 up; ip link add br0 type bridge; ip link set vm0 master br0"
    )
    shell("ip link set br0 up; ip address add 192.168.122.1/24 dev br0")
    shell("ip link add top0 link lan0 type macvlan; ip link set top0 up; ip address add 10.7.0.1/24 dev top0")
    assert not find("192.168.122.1").is_tunnel
    assert not find("10.7.0.1").is_tunnel


@in_namespace
def test_a_network_that_lies_on_another_link_too_belongs_to_no_tunnel() -> None:
    shell(LAN + "ip tuntap add t0 mode tun; ip address add 192.168.0.9/16 dev t0; ip address add 10.7.0.1/24 dev t0")
    assert netlink.read_network().tunnel_networks == (ip_network("10.7.0.0/24"),)
