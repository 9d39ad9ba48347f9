"""A slow internet: every packet that the core of a laboratory forwards waits a while, whatever protocol it is of.

    python -m tests.e2e.slow 0.025

makes the device `slow` in its network namespace, prints `ready`, and works until it is ended: what is routed into the
device comes out of it so many seconds later, in the order in which it came. `slow_down` leads all forwarded traffic
through one; a round trip between any two sites passes the core twice.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections import deque

from tests.e2e.command import LabError
from tests.e2e.lab import Lab, Node
from tests.e2e.usernat import open_tun

DEVICE = "slow"
TABLE = 77
ROOM = 100_000  # packets on the way; more are lost, as on a wire
LARGEST = 65536


def slow_down(lab: Lab, round_trip: float) -> None:
    """Let a round trip across the core take so many seconds from now on.

    What comes from a link is led into the device; what comes out of the device takes the way it would have taken.
    """
    core = Node("core", lab.core, "", "", "", None, None, ())
    argv = [sys.executable, "-m", "tests.e2e.slow", str(round_trip / 2)]
    process = lab.popen(core, argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise LabError("the internet could not be slowed down")
    for family, least in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        lab.shell(
            lab.core,
            f"ip {family} route add {least} dev {DEVICE} table {TABLE}\n"
            f"ip {family} rule add pref 10 iif {DEVICE} lookup main\n"
            f"ip {family} rule add pref 20 iif lo lookup main\n"
            f"ip {family} rule add pref 30 lookup {TABLE}\n",
        )


def work(delay: float) -> None:
    """Let packets wait."""
    device = open_tun(DEVICE)
    subprocess.run(["ip", "link", "set", DEVICE, "up", "txqueuelen", "10000"], check=True)
    print("ready", flush=True)
    waiting: deque[tuple[float, bytes]] = deque()
    poll = select.poll()
    poll.register(device, select.POLLIN)
    while True:
        left = None if not waiting else max(0.0, waiting[0][0] - time.monotonic()) * 1000
        poll.poll(left)
        _take(device, waiting, time.monotonic() + delay)
        _give(device, waiting, time.monotonic())


def _take(device: int, waiting: deque[tuple[float, bytes]], due: float) -> None:
    while len(waiting) < ROOM:
        try:
            waiting.append((due, os.read(device, LARGEST)))
        except BlockingIOError:
            return


def _give(device: int, waiting: deque[tuple[float, bytes]], now: float) -> None:
    while waiting and waiting[0][0] <= now:
        try:
            os.write(device, waiting.popleft()[1])
        except OSError:  # the kernel has no way for it: it is lost, as on a wire
            continue


if __name__ == "__main__":
    work(float(sys.argv[1]))
