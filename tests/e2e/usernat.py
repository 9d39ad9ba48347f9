"""The exact NAT of a laboratory's router: UDP comes in by a TUN device, is translated, and leaves by it.

    python -m tests.e2e.usernat '{"public": "198.51.100.2", "inside": "192.168.1.0/24", "mapping": ..., ...}'

makes the device `udpnat` in its network namespace, prints `ready`, and works until its stdin ends. A line of JSON on
stdin is an order, answered by one on stdout: what was dropped, and why. The laboratory holds the other end: `UserNat`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from tests.e2e.command import LabError
from tests.e2e.translator import Translator
from tests.sim.nat import Behaviour, Habit, Nat, Ports

DEVICE = "udpnat"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
BATCH = 64
LARGEST = 65536


@dataclass(frozen=True, slots=True)
class Udp:
    """How a NAT treats UDP (RFC 4787 4.1, 5, and what else `Habit` says)."""

    mapping: Behaviour
    filtering: Behaviour
    habit: Habit

    def to_json(self) -> dict[str, Any]:
        """Write it as the process takes it."""
        habit = self.habit
        return {
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "ports": habit.ports.value,
            "lifetime": habit.lifetime,
            "has_hairpin": habit.has_hairpin,
            "is_refreshed_inbound": habit.is_refreshed_inbound,
            "is_tracking": habit.is_tracking,
            "seed": habit.seed,
        }


class UserNat:
    """The laboratory's end of the process. Every order is carried out when its method returns."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LabError("the NAT for UDP did not start")

    def reboot(self, public: IPv4Address | None = None) -> None:
        """Let it forget every binding, and have another public address if one is given.

        A NAT that preserves ports makes the same bindings again; others make other ones.
        """
        self._ask("reboot", public=None if public is None else str(public))

    def become(self, udp: Udp) -> None:
        """Let it behave otherwise from now on, without any binding."""
        self._ask("become", **udp.to_json())

    def drops(self) -> dict[str, int]:
        """Tell how many packets it has dropped, and why."""
        return self._ask("drops")

    def _ask(self, verb: str, **fields: object) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"verb": verb, **fields}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise LabError(f"the NAT for UDP has ended: {self._process.poll()}")
        counts: dict[str, int] = json.loads(answer)
        return counts


# The process


class Worker:
    """Moves packets and obeys."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._public = str(IPv4Address(settings["public"]))
        self._inside = str(IPv4Network(settings["inside"]))
        self._habit = Habit()
        self._translator = self._build(settings)
        self._buffer = bytearray(LARGEST)
        self._view = memoryview(self._buffer)
        self._device = open_tun(DEVICE)

    def work(self) -> None:
        """Serve the device and stdin until stdin ends."""
        print("ready", flush=True)
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self._device:
                    self._move()
                elif not self._obey(sys.stdin.readline()):
                    return

    def _move(self) -> None:
        """Translate what has come, up to a batch: one buffer for all packets, one clock for the batch."""
        now, buffer, view, device = time.monotonic(), self._buffer, self._view, self._device
        for _ in range(BATCH):
            try:
                size = os.readv(device, [buffer])
            except BlockingIOError:
                return
            if self._translator.translate(buffer, size, now):
                try:
                    os.write(device, view[:size])
                except (BlockingIOError, OSError):  # the kernel has no room, or no way for it: it is lost, as on a wire
                    continue

    def _obey(self, line: str) -> bool:
        if not line:
            return False
        order = json.loads(line)
        match order["verb"]:
            case "reboot":
                self._reboot(order["public"])
            case "become":
                self._translator = self._build(order)
        print(json.dumps({reason.value: count for reason, count in self._translator.drops.items()}), flush=True)
        return True

    def _build(self, settings: dict[str, Any]) -> Translator:
        self._habit = Habit(
            ports=Ports(settings["ports"]),
            lifetime=settings["lifetime"],
            has_hairpin=settings["has_hairpin"],
            is_refreshed_inbound=settings["is_refreshed_inbound"],
            is_tracking=settings["is_tracking"],
            seed=settings["seed"],
        )
        mapping, filtering = Behaviour(settings["mapping"]), Behaviour(settings["filtering"])
        return Translator(Nat(self._public, self._inside, mapping, filtering, habit=self._habit), self._habit.lifetime)

    def _reboot(self, public: str | None) -> None:
        nat = self._translator.nat
        nat.reboot()
        if public is not None:
            self._public = public
            nat.address = IPv4Address(public)
        self._translator.forget()


def open_tun(name: str) -> int:
    """Make a TUN device that gives bare packets: whole, with good checksums, none above its MTU."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


if __name__ == "__main__":
    Worker(json.loads(sys.argv[1])).work()
