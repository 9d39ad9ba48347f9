"""How much a room with a waiting poll costs, in each store, and how fast a message comes through.

    python -m tests.bench.bench_rooms [ROOMS] [STORE...]

One process opens ROOMS rooms (10,000), has a poll of each side wait in every one, and leaves messages. `memory` is what
the process has grown by, divided by the rooms: what a store keeps, and two tasks that wait (an HTTP server has more per
poll). `through` is from before `post` until the other side's `read` has returned, in an otherwise idle process, and
`burst` the messages per second when one is left in every room at once. STORE is as after `--store`, with memory, a file
and a Redis of its own when none is named.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import trio

from p2ptun.server.rooms import Rooms, Seat
from p2ptun.server.store.base import RoomLimits
from p2ptun.server.store.choice import open_store
from tests.server.redis_server import RedisServer

MESSAGES = 500
WAIT = 3600.0


def resident() -> int:
    """Tell the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def bench(text: str, count: int) -> None:
    """Measure one store, and print a line."""
    limits = RoomLimits(rooms=2 * count, wait=WAIT, polls=3 * count)
    rooms = Rooms(open_store(text, limits))
    async with trio.open_nursery() as nursery:
        await nursery.start(rooms.run)
        gc.collect()
        before = resident()
        began_at = time.perf_counter()
        openers = [await rooms.open() for _ in range(count)]
        opened_in = time.perf_counter() - began_at
        gc.collect()
        idle = resident() - before
        began_at = time.perf_counter()
        joiners = [(await rooms.join(seat.room, b"")).seat for seat in openers]
        joined_in = time.perf_counter() - began_at
        for seat in openers:
            nursery.start_soon(poll, rooms, seat, 1, trio.Event())
        arrivals = [trio.Event() for _ in joiners]
        for seat, arrival in zip(joiners, arrivals, strict=True):
            nursery.start_soon(poll, rooms, seat, 0, arrival)
        while (await rooms.count()).waiting < 2 * count:
            await trio.lowlevel.checkpoint()
        gc.collect()
        waiting = resident() - before
        times = [await through(rooms, openers[n], arrivals[n]) for n in range(min(MESSAGES, count // 2))]
        rest = list(zip(openers, arrivals, strict=True))[len(times) :]
        began_at = time.perf_counter()
        async with trio.open_nursery() as burst:
            for seat, arrival in rest:
                burst.start_soon(through, rooms, seat, arrival)
        burst_in = time.perf_counter() - began_at
        print(
            f"{text.partition(':')[0]:6} {count} rooms: {count / opened_in:5.0f} opens/s,"
            f" {count / joined_in:5.0f} joins/s; memory {idle / count:5.0f} B a room,"
            f" {waiting / count:5.0f} B with two polls;"
            f" through {percentile(times, 0.5) * 1e3:.2f} ms (p99 {percentile(times, 0.99) * 1e3:.2f} ms);"
            f" burst {len(rest) / burst_in:6.0f} messages/s"
        )
        nursery.cancel_scope.cancel()


async def poll(rooms: Rooms, seat: Seat, after: int, arrival: trio.Event) -> None:
    await rooms.read(seat.token, seat.room, after, WAIT)
    arrival.set()


async def through(rooms: Rooms, seat: Seat, arrival: trio.Event) -> float:
    """Leave a message, and wait until it has arrived."""
    began_at = time.perf_counter()
    await rooms.post(seat.token, seat.room, b"x" * 300)
    await arrival.wait()
    return time.perf_counter() - began_at


def main(count: int, texts: list[str]) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not texts:
            server = RedisServer(directory)
            stack.callback(server.kill)
            server.start()
            texts = ["memory", f"sqlite:{directory}/rooms.db", server.url]
        for text in texts:
            trio.run(bench, text, count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, sys.argv[2:])
