"""The load of the relay benchmark: a client and its peer in one process, and the packets between them.

    python -m tests.bench.relay_load SERVER PORT OWN_ADDRESS SECONDS

Prints one JSON object. Packets go through a window: so many are under way that the relay always has some waiting, and
not so many that its socket overflows. What a relay loses all the same is given up after a pause.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2ptun.io.mmsg import Inbox, Name, Outbox, address_of, words
from p2ptun.io.offload import MAX_SEGMENTED_SIZE, MAX_SEGMENTS, enable_coalescing
from p2ptun.io.rawaddr import encode_name
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint
from tests.server.turn_client import Refusal, TurnClient, endpoint

CHANNEL = 0x4001
SIZES = (1200, 100)
WINDOWS = (192, 1024)  # packets: a small one fits the caches, a large one the batches
GIVE_UP = 0.02  # seconds without a packet: those under way are lost
WARM_UP = 0.2
BUFFER = 8 << 20
ALLOCATION_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Where packets start, what each is, and where they end."""

    sender: socket.socket
    destination: Endpoint
    packet: bytes
    receiver: socket.socket


class Sender:
    """Sends the same packet again and again, as many in a call as one message holds."""

    def __init__(self, flow: Flow) -> None:
        size = len(flow.packet)
        self.most = min(MAX_SEGMENTS, MAX_SEGMENTED_SIZE // size)
        self._size = size
        self._memory = bytearray(flow.packet * self.most)
        self._base = words([address_of(self._memory)])
        self._name = Name(encode_name(flow.destination))
        self._descriptor = flow.sender.fileno()
        self._outbox = Outbox()

    def send(self, count: int) -> bool:
        """Send so many; False when the socket is full."""
        self._outbox.fill(self._base, words([count * self._size]))
        return self._outbox.send_segmented(self._descriptor, self._name, 1, 1, self._size) == 0


def count_received(inbox: Inbox, descriptor: int) -> int:
    """Count the packets that wait on a socket."""
    total = 0
    while slots := inbox.receive(descriptor):
        if inbox.has_joined:
            total += sum(
                -(-length // (step or length)) for length, step in zip(inbox.lengths, inbox.segments, strict=True)
            )
        else:
            total += slots
    return total


@dataclass(slots=True)
class Tally:
    """What a run counted: packets, and seconds in which there was nothing to do."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    idle: float = 0.0


def run(flow: Flow, inbox: Inbox, window: int, seconds: float) -> Tally:
    """Let packets flow for so long."""
    sender, descriptor, tally = Sender(flow), flow.receiver.fileno(), Tally()
    now = heard_at = time.perf_counter()
    end = now + seconds
    while now < end:
        is_busy = fill(sender, window, tally)
        got = count_received(inbox, descriptor)
        tally.received += got
        before, now = now, time.perf_counter()
        if got:
            heard_at = now
        elif now - heard_at > GIVE_UP:
            tally.lost, heard_at = tally.sent - tally.received, now
        if not got and not is_busy:
            tally.idle += now - before
    return tally


def fill(sender: Sender, window: int, tally: Tally) -> bool:
    """Send until the window is full, or nearly; tell whether anything was sent."""
    before = tally.sent
    most = min(sender.most, window)
    while (room := window - (tally.sent - tally.received - tally.lost)) >= most // 2:
        count = min(most, room)
        if not sender.send(count):
            break
        tally.sent += count
    return tally.sent > before


def cpu_of(process: int) -> float:
    """Return the seconds of CPU that a process has used."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def open_udp(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (32, 33):  # SO_SNDBUFFORCE, SO_RCVBUFFORCE
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind((address, 0))
    return sock


def measure_flows(server: Endpoint, process: int, address: str, seconds: float) -> dict[str, dict[str, float]]:
    """Measure both directions with each size; the better window counts."""
    client, peer = open_udp(address), open_udp(address)
    turn = TurnClient(client)
    client.connect((str(server.address), server.port))
    relayed = turn.allocate()
    turn.bind(CHANNEL, endpoint(peer))
    inbox = Inbox()
    client.setblocking(False)
    for sock in (client, peer):
        enable_coalescing(sock)
    found = {}
    for size in SIZES:
        payload = b"\xa5" * size
        flows = {
            "to peer": Flow(client, server, encode_channel_data(CHANNEL, payload, False), peer),
            "to client": Flow(peer, relayed, payload, client),
        }
        for name, flow in flows.items():
            results = [measure(flow, inbox, window, process, size, seconds) for window in WINDOWS]
            found[f"{size} {name}"] = max(results, key=lambda each: each["packets"])
    return found


def measure(flow: Flow, inbox: Inbox, window: int, process: int, size: int, seconds: float) -> dict[str, float]:
    """Measure one flow; it is warm before that counts."""
    run(flow, inbox, window, WARM_UP)
    before, began = cpu_of(process), time.perf_counter()
    tally = run(flow, inbox, window, seconds)
    elapsed, cpu = time.perf_counter() - began, cpu_of(process) - before
    return {
        "packets": tally.received / elapsed,
        "lost": tally.lost / max(1, tally.sent),
        "window": window,
        "cpu": cpu / elapsed,
        "idle": tally.idle / elapsed,
        "cpu_per_gb": cpu / max(1, tally.received * size) * 1e9,
    }


def measure_allocations(server: Endpoint, process: int, address: str) -> dict[str, float]:
    """Make allocations and end them, one after the other, from a new port each."""
    before, began, count = cpu_of(process), time.perf_counter(), 0
    while time.perf_counter() - began < ALLOCATION_SECONDS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.connect((str(server.address), server.port))
            turn = TurnClient(sock)
            with suppress(Refusal):  # 437: coturn still holds what used this port before
                turn.allocate()
                turn.release()
                count += 1
    elapsed = time.perf_counter() - began
    return {"per_second": count / elapsed, "cpu_ms": (cpu_of(process) - before) / count * 1000}


def main(address: str, port: str, own: str, process: str, seconds: str) -> None:
    """Measure everything and print it."""
    server = Endpoint.of(address, int(port))
    flows = measure_flows(server, int(process), own, float(seconds))
    allocations = measure_allocations(server, int(process), own)
    print(json.dumps({"flows": flows, "allocations": allocations}))


if __name__ == "__main__":
    main(*sys.argv[1:])
