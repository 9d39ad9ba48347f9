"""Reading this machine's addresses and routes, which needs no privilege. Changing them: test_netlink_root."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
import trio

from p2ptun.errors import DeviceError
from p2ptun.io import netlink
from p2ptun.io.address import AddressFlag


def test_loopback_is_listed() -> None:
    found = [each for each in netlink.list_addresses() if each.address == ip_address("127.0.0.1")]
    assert [(each.interface, each.prefix, each.kind, each.is_tunnel, each.flags) for each in found] == [
        ("lo", 8, "", False, AddressFlag.NONE)
    ]


def test_loopback_is_no_candidate_and_no_network_in_use() -> None:
    assert not [each for each in netlink.read_network().candidates if each.address.is_loopback]
    assert not [each for each in netlink.existing_networks() if each.is_loopback or each.prefixlen == 0]


@pytest.mark.trio
async def test_inside_trio_and_from_its_threads() -> None:
    here = netlink.list_addresses()
    assert await trio.to_thread.run_sync(netlink.list_addresses) == here


def test_ipv6_is_there_when_the_kernel_says_so() -> None:
    switch = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    assert netlink.supports_ipv6() == (switch.exists() and switch.read_text() == "0\n")


def test_without_ipv6_in_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(netlink, "_IPV6_SWITCH", tmp_path / "absent")
    assert not netlink.supports_ipv6()


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="There is no interface nowhere0") as caught:
        netlink.configure("nowhere0", [ip_interface("10.77.0.1/31")], 1420)
    assert "ip -br link" in caught.value.remedy
    with pytest.raises(DeviceError, match="There is no interface nowhere0"):
        netlink.add_routes("nowhere0", [ip_network("10.77.0.0/24")])
    netlink.remove_routes("nowhere0", [ip_network("10.77.0.0/24")])  # it went, and its routes with it


def test_ipv6_needs_its_minimum_mtu() -> None:
    with pytest.raises(DeviceError, match="too small for IPv6") as caught:
        netlink.configure("lo", [ip_interface("fd00::1/127")], 1279)
    assert "--mtu 1280" in caught.value.remedy
