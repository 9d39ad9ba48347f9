"""One address that opens rooms as fast as it can, with the limits as they are.

    python -m tests.bench.bench_flood [OPENS]

100,000 opens, unless told otherwise, over 32 connections. Printed are the answers by status, how much the memory of the
server grew, and how many rooms another address opened meanwhile, one a second. Asserts nothing.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections import Counter

import trio

from tests.bench.bench_rendezvous import ADDRESS, Bench, Connection, wait_until_ready
from tests.free_port import free_port
from tests.server.serving import P2PTUN

AT_ONCE = 32


async def flood(port: int, opens: int, answers: Counter[int]) -> None:
    """Open rooms; a connection that is cut off is made anew."""
    left = opens

    async def ask() -> None:
        nonlocal left
        connection = await Connection.open(port, "127.0.0.9")
        while left > 0:
            left -= 1
            try:
                answers[(await connection.ask("POST", "/v1/rooms")).status] += 1
            except (ConnectionError, trio.BrokenResourceError):
                answers[0] += 1
                await connection.close()
                connection = await Connection.open(port, "127.0.0.9")
        await connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(ask)


async def run(port: int, pid: int, opens: int) -> None:
    """Measure, and print."""
    bench, answers, others = Bench(port, pid), Counter[int](), Counter[int]()
    await bench.ask_for_health(200)
    before, began = bench.resident, time.perf_counter()

    async def be_another() -> None:
        connection = await Connection.open(port, "127.0.0.10")
        while True:
            others[(await connection.ask("POST", "/v1/rooms")).status] += 1
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_another)
        await flood(port, opens, answers)
        nursery.cancel_scope.cancel()
    took = time.perf_counter() - began
    told = ", ".join(f"{count} x {status or 'cut off'}" for status, count in sorted(answers.items()))
    print(f"  {opens} opens from one address in {took:.0f} s: {told}")
    print(f"  memory: {before / 2**20:.1f} MiB before, {(bench.resident - before) / 2**20:+.1f} MiB")
    print(f"  another address meanwhile: {', '.join(f'{count} x {status}' for status, count in others.items())}")


def main() -> None:
    """Start the server, with its own limits, and flood it."""
    opens = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = free_port()
    command = [P2PTUN, "serve", "--json", "--listen", f"{ADDRESS}:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            wait_until_ready(server)
            trio.run(run, port, server.pid, opens)
        finally:
            server.terminate()
            server.communicate()


if __name__ == "__main__":
    main()
