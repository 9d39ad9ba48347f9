"""Packets per second through a real TUN device: batches against one call, one `bytes`, one trio wait per packet.

Run as root: `python -m tests.bench.bench_tun`. Prints the ratio; asserts nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from ipaddress import ip_interface

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io import netlink
from p2ptun.io.tun import PACKETS_PER_WAKE, TunDevice
from tests.io.namespace import in_namespace
from tests.io.test_tun_root import udp_packet

MTU = 1420
OURS, THEIRS = ip_interface("10.77.3.0/31"), "10.77.3.1"
ROUNDS, BURST = 300, 256
PAYLOAD = 1000


def fill(sock: socket.socket) -> None:
    for _ in range(BURST):
        sock.sendto(bytes(PAYLOAD), (THEIRS, 7))


async def read_batches(device: TunDevice, batch: Batch) -> None:
    taken = 0
    while taken < BURST:
        await device.wait_readable()
        batch.clear()
        taken += device.read_batch(batch)


async def read_singly(device: TunDevice, _: Batch) -> None:
    for _number in range(BURST):
        await device.wait_readable()
        os.read(device._descriptor, MTU)


def measure_reads(device: TunDevice, read: Callable[..., object]) -> float:
    """Return packets per second of reading alone; filling the queue isn't counted."""
    batch = Batch(1 << 18)

    async def run() -> float:
        spent = 0.0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((str(OURS.ip), 0))
            for _ in range(ROUNDS):
                fill(sock)
                began = time.perf_counter()
                await read(device, batch)  # type: ignore[misc]
                spent += time.perf_counter() - began
        return ROUNDS * BURST / spent

    return trio.run(run)


def measure_writes(device: TunDevice) -> tuple[float, float]:
    """Return packets per second of writing: in batches, then packet by packet from `bytes`."""
    packet = udp_packet((THEIRS, 7), (str(OURS.ip), 9), bytes(PAYLOAD))
    batch = Batch(1 << 18)
    for _ in range(PACKETS_PER_WAKE):
        batch.append(packet)
    count = ROUNDS * BURST // PACKETS_PER_WAKE
    began = time.perf_counter()
    for _ in range(count):
        device.write_batch(batch)
    batched = count * PACKETS_PER_WAKE / (time.perf_counter() - began)

    async def singly() -> float:
        began = time.perf_counter()
        for _ in range(count * PACKETS_PER_WAKE):
            await trio.lowlevel.checkpoint()
            os.write(device._descriptor, packet)
        return count * PACKETS_PER_WAKE / (time.perf_counter() - began)

    return batched, trio.run(singly)


@in_namespace
def main() -> None:
    """Measure and print."""
    with TunDevice.open(None, MTU) as device:
        netlink.configure(device.name, [OURS], MTU)
        batched, single = measure_reads(device, read_batches), measure_reads(device, read_singly)
        print(f"read   {batched:>10,.0f}/s in batches  {single:>10,.0f}/s singly  {batched / single:.2f} times")
        batched, single = measure_writes(device)
        print(f"write  {batched:>10,.0f}/s in batches  {single:>10,.0f}/s singly  {batched / single:.2f} times")


if __name__ == "__main__":
    main()
