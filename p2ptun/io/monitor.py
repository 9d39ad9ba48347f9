"""Notices that the machine's network has changed, and that the machine or this process has slept."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import trio

from p2ptun.errors import DeviceError
from p2ptun.io import netlink
from p2ptun.io.address import LocalAddress
from p2ptun.io.bell import Bell, Ring
from p2ptun.io.network import Network

QUIET = 0.25  # seconds without a further message: changes come in showers, an address after its link
LONGEST_SHOWER = 1.0  # seconds, whatever still comes
LOOK_INTERVAL = 1.0  # seconds between two looks at the clocks
SLEPT = 1.0  # seconds that CLOCK_BOOTTIME ran on while CLOCK_MONOTONIC stood: the machine was suspended
STOPPED = 5.0  # seconds of delay that no load explains: SIGSTOP, a paused virtual machine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Addresses or default routes are others than before, or were away for a moment (`interrupted`)."""

    network: Network
    gained: tuple[LocalAddress, ...]
    lost: tuple[LocalAddress, ...]
    interrupted: tuple[LocalAddress, ...]


@dataclass(frozen=True, slots=True)
class RoutesChanged:
    """Something else changed, links of tunnels or routes: a route that was looked up may be another one by now."""

    network: Network


@dataclass(frozen=True, slots=True)
class Resumed:
    """The machine or the process stood still for about so many seconds."""

    seconds: float


Change: TypeAlias = NetworkChanged | RoutesChanged | Resumed
Reader: TypeAlias = Callable[[], Awaitable[Network]]


async def read_network() -> Network:
    """Read the state of the network in a thread. Raises DeviceError."""
    return await trio.to_thread.run_sync(netlink.read_network)


class Wakefulness:
    """Tells from two clocks, looked at about once an interval, whether time was lost in between."""

    def __init__(self, interval: float = LOOK_INTERVAL) -> None:
        self._interval = interval
        self._before: tuple[float, float] | None = None

    def look(self, monotonic: float, boottime: float) -> float | None:
        """Take the time by both clocks, seconds; return how many were lost, None for none."""
        before, self._before = self._before, (monotonic, boottime)
        if before is None:
            return None
        awake, passed = monotonic - before[0], boottime - before[1]
        has_slept = passed - awake > SLEPT
        was_stopped = awake - self._interval > STOPPED
        return passed - self._interval if has_slept or was_stopped else None


class Monitor:
    """Calls `handle` for every change, one after the other, beginning with those since `network` was read."""

    def __init__(
        self, network: Network, handle: Callable[[Change], Awaitable[None]], read: Reader = read_network
    ) -> None:
        self._network = network
        self._handle = handle
        self._read = read
        self._turn = trio.Lock()

    async def run(self) -> NoReturn:
        """Watch until cancelled."""
        wakefulness = Wakefulness()
        wakefulness.look(*_clocks())  # before anything else: a sleep may begin at any moment
        with Bell() as bell:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_clocks, wakefulness)
                await self._watch_network(bell)
        raise AssertionError  # neither ends

    async def _watch_clocks(self, wakefulness: Wakefulness) -> NoReturn:
        while True:
            await trio.sleep(LOOK_INTERVAL)
            lost = wakefulness.look(*_clocks())
            if lost is not None:
                await self._react(Ring(is_loud=True))  # the network first: what is gone needn't be tried again
                await self._tell(Resumed(lost))

    async def _watch_network(self, bell: Bell) -> NoReturn:
        ring = Ring(is_loud=True)  # something may have happened before the bell was there
        while True:
            await self._react(ring)
            await bell.wait()
            ring = await _listen(bell)

    async def _react(self, ring: Ring) -> None:
        """Find out what a ring means, and tell it."""
        async with self._turn:
            before = self._network
            if ring.is_loud:
                self._network = await self._read_patiently()
            await self._handle(compare(before, self._network, ring))

    async def _tell(self, change: Change) -> None:
        async with self._turn:
            await self._handle(change)

    async def _read_patiently(self) -> Network:
        while True:
            try:
                return await self._read()
            except DeviceError as error:  # memory is short, or an interface went while it was read
                logger.warning("the network can't be read: %s", error)
                await trio.sleep(LOOK_INTERVAL)


def _clocks() -> tuple[float, float]:
    """Read what `Wakefulness.look` takes."""
    return time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)


def compare(before: Network, now: Network, ring: Ring) -> Change:
    """Tell what is different, and what `ring` says that a comparison can't see."""
    interrupted = tuple(each for each in now.candidates if each in before.candidates and ring.has_interrupted(each))
    if before.fingerprint == now.fingerprint and not interrupted:
        return RoutesChanged(now)
    return NetworkChanged(
        network=now,
        gained=_missing(now.candidates, before.candidates),
        lost=_missing(before.candidates, now.candidates),
        interrupted=interrupted,
    )


def _missing(these: tuple[LocalAddress, ...], there: tuple[LocalAddress, ...]) -> tuple[LocalAddress, ...]:
    places = {(each.address, each.index) for each in there}
    return tuple(each for each in these if (each.address, each.index) not in places)


async def _listen(bell: Bell) -> Ring:
    """Sum up a shower of rings: until it is quiet for a moment, or for as long as we want to wait."""
    ring = bell.take()
    with trio.move_on_after(LONGEST_SHOWER):
        while True:
            with trio.move_on_after(QUIET) as quiet:
                await bell.wait()
            if quiet.cancelled_caught:
                break
            ring |= bell.take()
    return ring
