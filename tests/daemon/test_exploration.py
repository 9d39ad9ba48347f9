"""From where to look: the address that the tunnel would send from."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.daemon.exploration import Vantage, choose_vantage, route_guard
from p2ptun.io.address import LocalAddress
from p2ptun.io.network import Network
from p2ptun.nat.discovery import DEFAULT_PADDING
from p2ptun.types import Endpoint

SERVER4, SERVER6 = Endpoint.of("203.0.113.2", 3478), Endpoint.of("2001:db8::2", 3478)


def local(address: str, interface: str = "nosuch0", kind: str = "ether") -> LocalAddress:
    """Make an address on an interface that isn't there: the kernel has no way from it."""
    return LocalAddress(ip_address(address), 24, interface, 4711, kind, is_running=True)


def chosen(server: Endpoint, *candidates: LocalAddress) -> Vantage | None:
    network = Network(candidates, candidates)
    with route_guard(network) as guard:
        return choose_vantage(network, guard, server)


def test_the_best_address_of_the_family() -> None:
    candidates = [local("192.168.1.10"), local("2001:db8:1::10"), local("192.168.2.10")]
    assert chosen(SERVER4, *candidates) == Vantage(ip_address("192.168.1.10"), "nosuch0", is_confined=True)
    assert chosen(SERVER6, *candidates) == Vantage(ip_address("2001:db8:1::10"), "nosuch0", is_confined=True)


def test_no_address_of_the_family() -> None:
    assert chosen(SERVER6, local("192.168.1.10")) is None
    assert chosen(SERVER4) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_server_on_this_machine_is_asked_from_this_machine(address: str) -> None:
    assert chosen(Endpoint.of(address, 3478)) == Vantage(ip_address(address))


def test_an_interface_that_only_holds_addresses_confines_nothing() -> None:
    vantage = chosen(SERVER4, local("192.168.1.10", "dummy0", "dummy"))
    assert vantage == Vantage(ip_address("192.168.1.10"), "dummy0", is_confined=False)
    with route_guard(Network((), ())) as guard:
        assert vantage is not None
        assert vantage.options(guard).interface is None
        assert Vantage(ip_address("192.168.1.10"), "eth0", is_confined=True).options(guard).interface == "eth0"


def test_fragments_need_a_link_with_frames_of_usual_size() -> None:
    assert Vantage(ip_address("127.0.0.1")).padding == 0
    assert Vantage(ip_address("127.0.0.1"), "lo").padding == 0
    assert Vantage(ip_address("192.168.1.10"), "nosuch0").padding == DEFAULT_PADDING
