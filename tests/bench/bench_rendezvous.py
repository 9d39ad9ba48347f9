"""The rendezvous under load: rooms in which somebody waits, and the way of a message through it.

    python -m tests.bench.bench_rendezvous [ROOMS [memory|sqlite|redis://...]]

The server is `p2ptun serve` on one core, with 10,000 rooms unless told otherwise; the clients are on the other. Each
room has a connection of its own on which its first side waits in a long poll. Printed are rooms a second, next to what
the same server does of its smallest answer (`GET /healthz`), memory for each room that is waited in, and how long a
message takes from one side to the other while all the others wait.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import trio

from tests.free_port import free_port
from tests.server.serving import P2PTUN

ADDRESS = "127.0.0.1"
SERVER_CORE, CLIENT_CORE = "0", "1"
AT_ONCE = 32  # requests on their way while rooms are opened
MESSAGES = 1000
WARM_UP = 200
MESSAGE = bytes(300)  # a sealed letter's size
NO_LIMIT = str(10_000_000)

_SOURCES = count()


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


class Connection:
    """One HTTP/1.1 connection that asks one thing at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._pending = b""

    @classmethod
    async def open(cls, port: int, source: str = "") -> Connection:
        """Connect, from one of many addresses of loopback, unless from `source`: one alone has too few ports."""
        sock = trio.socket.socket()
        await sock.bind((source or f"127.0.1.{next(_SOURCES) % 200 + 1}", 0))
        await sock.connect((ADDRESS, port))
        return cls(trio.SocketStream(sock))

    async def ask(self, method: str, path: str, token: str = "", body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        head += "Content-Type: application/octet-stream\r\n" if body else ""
        await self._stream.send_all(head.encode() + b"\r\n" + body)
        return await self._answer()

    async def close(self) -> None:
        await self._stream.aclose()

    async def _answer(self) -> Answer:
        while b"\r\n\r\n" not in self._pending:
            await self._more()
        head, _, self._pending = self._pending.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        size = int(next(line.split(":")[1] for line in lines if line.startswith("content-length:")))
        while len(self._pending) < size:
            await self._more()
        body, self._pending = self._pending[:size], self._pending[size:]
        return Answer(int(lines[0].split()[1]), body)

    async def _more(self) -> None:
        data = await self._stream.receive_some(65536)
        if not data:
            raise ConnectionError("the server closed a connection")
        self._pending += bytes(data)


@dataclass(slots=True)
class Waiting:
    """A room and the connection on which its first side waits. `came` is set when its poll has brought something."""

    room: str
    token: str
    connection: Connection
    came: trio.Event
    at: float = 0.0

    async def wait(self) -> None:
        """Poll until something comes: a notice first, when somebody joins; then the message."""
        after = 0
        while True:
            path = f"/v1/rooms/{self.room}/messages?after={after}&wait=25"
            answer = await self.connection.ask("GET", path, self.token)
            entries = answer.json()["messages"]
            assert isinstance(entries, list), answer
            after += len(entries)
            if any("body" in entry for entry in entries):
                self.at = time.perf_counter()
                self.came.set()
                return


class Bench:
    """One server and its crowd."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid
        self.rooms: list[Waiting] = []

    @property
    def resident(self) -> int:
        """Bytes of memory that the server holds."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    @property
    def cpu(self) -> float:
        """Seconds that the server has worked."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def ask_for_health(self, requests: int) -> float:
        """Ask for the smallest answer; return answers a second."""

        async def ask() -> None:
            connection = await Connection.open(self._port)
            for _ in range(requests // AT_ONCE):
                await connection.ask("GET", "/healthz")
            await connection.close()

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(ask)
        return requests / (time.perf_counter() - began)

    async def fill(self, rooms: int, nursery: trio.Nursery) -> float:
        """Open rooms and wait in each; return rooms a second, without the waiting."""
        limit = trio.CapacityLimiter(AT_ONCE)

        async def open_one() -> None:
            async with limit:
                connection = await Connection.open(self._port)
                answer = await connection.ask("POST", "/v1/rooms")
                assert answer.status == 201, answer
                seat = answer.json()
                self.rooms.append(Waiting(str(seat["room"]), str(seat["side_token"]), connection, trio.Event()))

        began = time.perf_counter()
        async with trio.open_nursery() as opening:
            for _ in range(rooms):
                opening.start_soon(open_one)
        took = time.perf_counter() - began
        for room in self.rooms:
            nursery.start_soon(room.wait)
        return rooms / took

    async def settle(self) -> None:
        """Wait until the server has taken in what was sent: it rests."""
        before = -1.0
        while (now := self.cpu) != before:
            before = now
            await trio.sleep(0.5)

    async def carry(self, messages: int) -> list[float]:
        """Join rooms and leave a message in each; return how many seconds each took to the other side."""
        connection, taken = await Connection.open(self._port), []
        for room in self.rooms[:messages]:
            joined = (await connection.ask("POST", f"/v1/rooms/{room.room}/sides")).json()
            await trio.sleep(0.002)  # the notice of it goes its own way first
            began = time.perf_counter()
            answer = await connection.ask("POST", f"/v1/rooms/{room.room}/messages", str(joined["side_token"]), MESSAGE)
            assert answer.status == 201, answer
            await room.came.wait()
            taken.append(room.at - began)
        await connection.close()
        return taken


async def run(port: int, pid: int, rooms: int) -> None:
    """Measure, and print."""
    bench = Bench(port, pid)
    await bench.ask_for_health(WARM_UP)
    health = await bench.ask_for_health(2000)
    before = bench.resident
    async with trio.open_nursery() as nursery:
        opened = await bench.fill(rooms, nursery)
        await bench.settle()
        size = (bench.resident - before) / rooms
        idle_cpu, began = bench.cpu, time.perf_counter()
        taken = sorted(await bench.carry(min(MESSAGES, rooms)))
        worked = (bench.cpu - idle_cpu) / (time.perf_counter() - began)
        nursery.cancel_scope.cancel()
    print(f"  rooms, each with a waiting poll   {rooms}")
    print(f"  GET /healthz                      {health:,.0f} a second")
    print(f"  rooms opened                      {opened:,.0f} a second ({opened / health:.2f} of that)")
    print(f"  memory for each                   {size / 1024:.1f} KiB (connection, poll and room)")
    print(
        f"  a message's way through           {percentile(taken, 50) * 1000:.1f} ms (p50),"
        f" {percentile(taken, 99) * 1000:.1f} ms (p99), {taken[-1] * 1000:.1f} ms at most, of {len(taken)};"
        f" the core worked {worked:.0%} of the time"
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent of the sorted values are."""
    return values[min(len(values) - 1, math.ceil(len(values) * percent / 100) - 1)]


def wait_until_ready(server: subprocess.Popen[str]) -> None:
    """Read what `p2ptun serve --json` prints until it serves."""
    assert server.stdout is not None
    for line in server.stdout:
        if json.loads(line)["event"] == "ready":
            return


def main() -> None:
    """Start the server and measure it."""
    rooms = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        store = sys.argv[2] if len(sys.argv) > 2 else "memory"
        if store == "sqlite":
            store = f"sqlite:{scratch}/rooms.db"
        command = [
            *("taskset", "-c", SERVER_CORE, P2PTUN, "serve", "--json", "--listen", f"{ADDRESS}:{port}"),
            *("--store", store),
            *("--address-connections", NO_LIMIT, "--max-connections", NO_LIMIT, "--address-requests", NO_LIMIT),
            *("--address-entries", NO_LIMIT, "--address-rooms", NO_LIMIT),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                wait_until_ready(server)
                trio.run(run, port, server.pid, rooms)
            finally:
                server.terminate()
                server.communicate()


if __name__ == "__main__":
    main()
