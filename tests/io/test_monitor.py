"""Lost time, by two clocks, and what a comparison of two readings tells. With a kernel: test_monitor_root."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from p2ptun.errors import DeviceError
from p2ptun.io.bell import Ring
from p2ptun.io.monitor import Change, Monitor, NetworkChanged, RoutesChanged, Wakefulness, compare
from p2ptun.io.network import DefaultRoute, Network
from tests.io.test_network import NETWORK, WAY, WIFI, WIRE

HOUR = 3600.0


def looks(*times: tuple[float, float]) -> list[float | None]:
    """Look at the clocks at these monotonic and boot times, after a first look at 1000 and 5000."""
    wakefulness = Wakefulness()
    assert wakefulness.look(1000.0, 5000.0) is None
    return [wakefulness.look(*time) for time in times]


def test_time_that_passes_is_no_news() -> None:
    assert looks((1001.0, 5001.0), (1002.2, 5002.2), (1003.2, 5003.9), (1008.0, 5008.7)) == [None] * 4


def test_a_suspended_machine_has_slept() -> None:
    """CLOCK_MONOTONIC stands still meanwhile, CLOCK_BOOTTIME doesn't."""
    assert looks((1001.0, 5001.0 + HOUR), (1002.0, 5002.0 + HOUR)) == [HOUR, None]


def test_a_nap_counts_from_one_second_on() -> None:
    assert looks((1001.0, 5001.9), (1002.0, 5004.5)) == [None, pytest.approx(1.6)]


def test_a_stopped_process_wakes_late() -> None:
    """By both clocks alike: SIGSTOP, a debugger, a paused virtual machine whose clocks go on."""
    assert looks((1041.0, 5041.0), (1042.0, 5042.0)) == [40.0, None]


def test_a_virtual_machine_whose_clocks_stood_still_can_not_know() -> None:
    assert looks((1001.0, 5001.0)) == [None]


PROGRAM = """
import trio
from p2ptun.io.monitor import Monitor, Resumed
from p2ptun.io.network import Network

nothing = Network((), ())

async def read():
    return nothing

async def handle(change):
    print(f"resumed {change.seconds:.1f}" if isinstance(change, Resumed) else "ready", flush=True)

trio.run(Monitor(nothing, handle, read).run)
"""


def test_a_real_stop_is_noticed_when_it_is_over() -> None:
    """The one test that takes its time: it must be stopped for longer than any load would hold it up."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(7)
            process.send_signal(signal.SIGCONT)
            lines = [process.stdout.readline(), process.stdout.readline()]
        finally:
            process.kill()
    assert lines[0] == "ready\n", "the network is looked at first"
    word, seconds = lines[1].split()
    assert word == "resumed"
    assert 5 < float(seconds) < 60


LOUD = Ring(is_loud=True)


def test_nothing_that_matters() -> None:
    now = replace(NETWORK, links={1: True})
    assert compare(NETWORK, now, LOUD) == RoutesChanged(now)
    assert compare(NETWORK, NETWORK, Ring()) == RoutesChanged(NETWORK)
    assert compare(NETWORK, NETWORK, Ring(True, frozenset({(9, None)}))) == RoutesChanged(NETWORK)


def test_addresses_come_and_go() -> None:
    moved = replace(WIFI, address=ip_address("192.168.8.3"))
    now = replace(NETWORK, candidates=(WIRE, moved))
    assert compare(NETWORK, now, LOUD) == NetworkChanged(now, (moved,), (WIFI,), ())
    other = replace(NETWORK, candidates=(WIRE, replace(WIFI, interface="wlan1", index=4)))
    assert compare(NETWORK, other, LOUD) == NetworkChanged(other, other.candidates[1:], (WIFI,), ())


def test_another_gateway_is_a_change_though_all_addresses_stay() -> None:
    now = replace(NETWORK, default_routes=(DefaultRoute(4, "wlan0", 3, ip_address("192.168.7.2")), WAY))
    assert compare(NETWORK, now, LOUD) == NetworkChanged(now, (), (), ())


@pytest.mark.parametrize("what", [(3, None), (3, WIFI.address)])
def test_what_was_away_for_a_moment_is_a_change_though_all_is_as_before(what: tuple[int, None]) -> None:
    ring = Ring(True, frozenset({what}))
    assert compare(NETWORK, NETWORK, ring) == NetworkChanged(NETWORK, (), (), (WIFI,))


@pytest.mark.trio
async def test_a_network_that_can_not_be_read_is_read_again(autojump_clock: trio.testing.MockClock) -> None:
    failures = [DeviceError("no memory", ""), DeviceError("no memory", "")]
    told: list[Change] = []

    async def read() -> Network:
        if failures:
            raise failures.pop()
        return NETWORK

    async def hear(change: Change) -> None:
        told.append(change)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Monitor(NETWORK, hear, read).run)
        await trio.sleep(1.5)
        assert told == []
        await trio.sleep(1)
        assert told == [RoutesChanged(NETWORK)]
        nursery.cancel_scope.cancel()
