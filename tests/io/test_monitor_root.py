"""A monitor and a kernel: what is a change, what isn't, and how fast it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2ptun.io import netlink
from p2ptun.io.monitor import LONGEST_SHOWER, QUIET, Change, Monitor, NetworkChanged, RoutesChanged
from p2ptun.io.network import Network
from tests.io.namespace import LAN, in_namespace, shell

pytestmark = pytest.mark.root


async def read() -> Network:
    """Read in this thread: trio's others may belong to the machine's own namespace."""
    return netlink.read_network()


class Watch:
    """A running monitor, and what it told."""

    def __init__(self) -> None:
        self.told: list[Change] = []
        self._news = trio.Event()

    async def hear(self, change: Change) -> None:
        self.told.append(change)
        self._news.set()

    async def do(self, script: str) -> NetworkChanged:
        """Change something; return what is told of it, and hold it to the promise of 1 s."""
        self._news = trio.Event()
        shell(script)
        began = trio.current_time()
        with trio.fail_after(5):
            while True:
                await self._news.wait()
                change, self._news = self.told[-1], trio.Event()
                if isinstance(change, NetworkChanged):
                    assert trio.current_time() - began < 1
                    return change

    async def expect_calm(self, script: str) -> None:
        """Do something that is no change; it is noticed, and that is all."""
        before, self._news = len(self.told), trio.Event()
        shell(script)
        with trio.fail_after(5):
            await self._news.wait()
        assert {type(change) for change in self.told[before:]} == {RoutesChanged}


def watching(test: Callable[[Watch], Awaitable[None]]) -> None:
    """Run a test beside a monitor, on a host with a network."""

    async def run() -> None:
        shell(LAN)
        watch = Watch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Monitor(await read(), watch.hear, read).run)
            await watch.expect_calm("")  # the first look
            await test(watch)
            nursery.cancel_scope.cancel()

    trio.run(run)


@in_namespace
def test_addresses_and_routes_that_come_and_go() -> None:
    async def test(watch: Watch) -> None:
        change = await watch.do("ip address add 192.168.1.3/24 dev lan0")
        assert ([str(each.address) for each in change.gained], change.lost) == (["192.168.1.3"], ())
        change = await watch.do(
            "ip address del 192.168.1.3/24 dev lan0; ip address add 2001:db8:1::3/64 dev lan0 nodad"
        )
        assert [str(each.address) for each in change.gained] == ["2001:db8:1::3"]
        assert [str(each.address) for each in change.lost] == ["192.168.1.3"]
        change = await watch.do("ip route replace default via 192.168.1.9")
        assert (change.gained, change.lost) == ((), ())
        assert "lan0 by 192.168.1.9" in map(str, change.network.default_routes)
        change = await watch.do("ip -6 route del default")
        assert (change.gained, change.lost) == ((), ())
        assert [route.version for route in change.network.default_routes] == [4]
        change = await watch.do("ip link set lan0 down")
        assert {str(each.address) for each in change.lost} >= {"192.168.1.2", "2001:db8:1::2"}
        assert change.network.candidates == ()

    watching(test)


@in_namespace
def test_what_was_away_for_a_moment() -> None:
    async def test(watch: Watch) -> None:
        away = "ip address del 192.168.1.2/24 dev lan0; ip address add 192.168.1.2/24 dev lan0; "
        change = await watch.do(away + "ip route add default via 192.168.1.1")
        assert "192.168.1.2" in {str(each.address) for each in change.interrupted}
        assert (change.gained, change.lost) == ((), ())
        # IPv6 addresses would go with the link
        shell("echo 1 > /proc/sys/net/ipv6/conf/lan0/keep_addr_on_down")
        change = await watch.do("ip link set far0 down; ip link set far0 up")
        assert "192.168.1.2" in {str(each.address) for each in change.interrupted}

    watching(test)


@in_namespace
def test_our_own_tunnel_and_other_routes_are_no_change() -> None:
    async def test(watch: Watch) -> None:
        tunnel = "ip tuntap add tun0 mode tun; ip link set tun0 up; ip address add 10.77.0.1/31 dev tun0; "
        await watch.expect_calm(tunnel + "ip route add 0.0.0.0/1 dev tun0")
        await watch.expect_calm("ip route add default dev tun0 metric 5")
        await watch.expect_calm("ip route add 172.20.0.0/16 via 192.168.1.7")
        await watch.expect_calm("ip link delete tun0")
        await watch.expect_calm("ip -6 address change 2001:db8:1::2/64 dev lan0 valid_lft 9999 preferred_lft 999")

    watching(test)


@in_namespace
def test_a_storm_is_told_within_its_second() -> None:
    """Routes change faster than it gets quiet, and more of them than the socket holds."""

    async def test(watch: Watch) -> None:
        began, before, times = trio.current_time(), len(watch.told), 0
        while trio.current_time() - began < LONGEST_SHOWER * 2.5:
            networks = [f"172.{20 + number // 250}.{number % 250}.0/24" for number in range(1000)]
            routes = "\n".join(f"route replace {network} via 192.168.1.7" for network in networks)
            shell(f"ip -batch - << END\n{routes}\nEND")
            await trio.sleep(QUIET / 5)
            times += 1
        told = len(watch.told) - before
        assert times > 3
        assert 1 <= told <= 3
        change = await watch.do("ip address add 192.168.1.3/24 dev lan0")
        assert [str(each.address) for each in change.gained] == ["192.168.1.3"]

    watching(test)
