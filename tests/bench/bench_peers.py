"""What a peer costs a node that has many: CPU time per virtual second, and memory.

    python -m tests.bench.bench_peers [--peers 10 100 1000] [--seconds 50]

A hub has so many peers, each a node of its own behind a socket of its own, over the simulated network. Only the hub is
measured. `idle` is a tunnel without traffic; `busy` one that carries a packet each way every second, each of them alone
in its batch. CPU seconds are this process's within calls of the hub's doors, crypto included. Memory is the size of
all that is reachable from the hub's node and from nothing before it had peers.

The exponent is the slope in the log-log plot, from all sizes: 1 is linear growth, 2 means that everybody is asked about
everybody.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import process_time
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TypeVar

from p2ptun.types import Endpoint, Transmit
from tests.node.star import HUB, Star, inner
from tests.sim.node import NodeHost, batch_of, ip_packet

PAYLOAD = bytes(64)
LONGEST_PAUSE = 25.0  # seconds between two checks on an idle path
SETTLING = 40.0  # virtual seconds until an unused tunnel is idle

T = TypeVar("T")


class MeteredHub(NodeHost):
    """Counts the CPU seconds that its doors take."""

    used = 0.0

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        self._meter(lambda: super(MeteredHub, self).receive(data, source, local, now))

    def handle_timeout(self, now: float) -> None:
        self._meter(lambda: super(MeteredHub, self).handle_timeout(now))

    def next_transmit(self) -> Transmit | None:
        return self._meter(super().next_transmit)

    def next_timeout(self) -> float | None:
        return self._meter(super().next_timeout)

    def give(self, packet: bytes) -> None:
        """Let the TUN device give a packet; the network takes what comes of it outside of the meter."""
        flights = self._meter(lambda: self.node.send_packets(batch_of([packet], len(packet)), self.network.now))
        for flight in flights:
            self._outgoing.extend(Transmit(bytes(each), flight.source, flight.destination) for each in flight.datagrams)

    def _meter(self, work: Callable[[], T]) -> T:
        began = process_time()
        result = work()
        self.used += process_time() - began
        return result


@dataclass(frozen=True, slots=True)
class Cost:
    """What a node of `peers` peers costs: CPU seconds, two of them per virtual second, and bytes."""

    peers: int
    setup: float
    idle: float
    busy: float
    memory: int


def reachable(root: object) -> Iterator[object]:
    """Yield every object that hangs on `root`: data, no code."""
    seen, open_ends = {id(root)}, [root]
    while open_ends:
        item = open_ends.pop()
        yield item
        found = (item.__closure__ or ()) if isinstance(item, FunctionType) else gc.get_referents(item)
        for each in found:
            if id(each) not in seen and not isinstance(each, type | ModuleType | BuiltinFunctionType):
                seen.add(id(each))
                open_ends.append(each)


def size_of(node: object) -> int:
    """Add up the bytes of what a node holds."""
    return sum(sys.getsizeof(item) for item in reachable(node))


def measure(peers: int, seconds: float) -> Cost:
    """Connect `peers` peers, let them be idle, then let them talk."""
    empty = size_of(Star(0).hub.node)
    star = Star(0, hub=MeteredHub)
    hub = star.hub
    assert isinstance(hub, MeteredHub)
    star.network.has_log = False
    for _ in range(peers):
        star.add_spoke()
    star.connect(60)
    setup = hub.used
    gc.freeze()  # the collector would go through the spokes as well
    star.network.run(SETTLING)
    idle = during(hub, seconds, lambda: star.network.run(seconds))
    busy = during(hub, seconds, lambda: talk(star, hub, seconds))
    return Cost(peers, setup, idle, busy, size_of(hub.node) - empty)


def during(hub: MeteredHub, seconds: float, work: Callable[[], object]) -> float:
    """Return the CPU seconds per virtual second that `work` took."""
    before = hub.used
    work()
    return (hub.used - before) / seconds


def talk(star: Star, hub: MeteredHub, seconds: float) -> None:
    """Let a packet go each way through every tunnel once a second, evenly spread."""
    pause = 1.0 / len(star.spokes)
    for _ in range(int(seconds)):
        for number, spoke in enumerate(star.spokes):
            hub.give(ip_packet(HUB, inner(number), PAYLOAD))
            spoke.send(ip_packet(inner(number), HUB, PAYLOAD))
            star.network.run(pause)
    star.network.run(1)
    lost = sum(int(seconds) - len(spoke.received) for spoke in star.spokes)
    if lost:
        raise AssertionError(f"{lost} packets got lost")


def exponent(costs: list[Cost], figure: Callable[[Cost], float]) -> float:
    """Return the slope of the straight line that fits the logarithms best; not a number for one size."""
    points = [(math.log(cost.peers), math.log(figure(cost))) for cost in costs]
    middle_x, middle_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else math.nan


def main(arguments: list[str]) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, nargs="+", default=[10, 100, 1000], help="how many peers the hub has")
    parser.add_argument("--seconds", type=float, default=50.0, help="virtual seconds, idle and busy each; 25 at least")
    options = parser.parse_args(arguments)
    if options.seconds < LONGEST_PAUSE:
        parser.error(f"an idle peer does something every {LONGEST_PAUSE:.0f} s only")
    print(f"{'':10}{'set-up':>14}{'idle: CPU':>14}{'per peer':>14}{'busy: CPU':>14}{'per peer':>14}{'memory':>14}")
    print(f"{'peers':10}{'ms/peer':>14}{'ms/s':>14}{'us/s':>14}{'ms/s':>14}{'us/s':>14}{'KiB/peer':>14}")
    costs = []
    for peers in options.peers:
        cost = measure(peers, options.seconds)
        costs.append(cost)
        each = 1 / peers
        print(
            f"{peers:<10}{cost.setup * 1e3 * each:>14.1f}{cost.idle * 1e3:>14.3f}{cost.idle * 1e6 * each:>14.1f}"
            f"{cost.busy * 1e3:>14.2f}{cost.busy * 1e6 * each:>14.0f}{cost.memory / 1024 * each:>14.1f}",
            flush=True,
        )
    print(
        f"{'exponent':10}{exponent(costs, lambda cost: cost.setup):>14.2f}"
        f"{exponent(costs, lambda cost: cost.idle):>14.2f}{'':14}{exponent(costs, lambda cost: cost.busy):>14.2f}"
        f"{'':14}{exponent(costs, lambda cost: float(cost.memory)):>14.2f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
