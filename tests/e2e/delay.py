"""A long way: every frame on a link arrives later, in both directions. The kernel's own (netem) isn't everywhere.

    python -m tests.e2e.delay NEAR FAR SECONDS

carries frames between two devices of its network namespace, prints `ready`, and works until it is ended. `add_delay`
splits a link of a laboratory in two and puts such a process between.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import deque

from tests.e2e.command import LabError
from tests.e2e.lab import Lab, Node, Router
from tests.e2e.place import ends

SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23  # linux/socket.h, linux/if_packet.h
ETH_P_ALL = 3  # linux/if_ether.h
LARGEST = 65536

SPLIT = """
ip link set {device} down
ip link set {device} name {device}.far
ip address flush dev {device}.far
ip link add {device} type veth peer {device}.near
for end in near far; do
  echo 1 > /proc/sys/net/ipv6/conf/{device}.$end/disable_ipv6
  ip link set {device}.$end arp off up
done
ip link set {device} up
ethtool -K {device} tx off gso off gro off >/dev/null
"""
"""The old device and one end of the new pair only pass frames on: they have no addresses, and answer nobody."""


def add_delay(lab: Lab, place: Node | Router, one_way: float) -> None:
    """Let whatever passes the uplink of a host or a router take so many seconds longer, each way."""
    near, (namespace, device) = ends(place)
    addresses, routes = (
        json.loads(lab.shell(namespace, f"ip -json {kind} show dev {device}")) for kind in ("address", "route")
    )
    script = SPLIT.format(device=device)
    for each in addresses[0]["addr_info"]:
        if each["scope"] == "global":
            script += f"ip address add {each['local']}/{each['prefixlen']} dev {device} nodad\n"
    for each in routes:
        if "gateway" in each:
            script += f"ip route add {each['dst']} via {each['gateway']}\n"
    lab.shell(namespace, script)
    lab.shell(near[0], f"ethtool -K {near[1]} tx off gso off gro off >/dev/null")
    argv = [sys.executable, "-m", "tests.e2e.delay", f"{device}.near", f"{device}.far", f"{one_way:g}"]
    process = lab.popen_in(namespace, argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise LabError(f"nothing delays {device}")


def carry(devices: tuple[str, str], delay: float) -> None:
    """Carry frames from each device to the other one, `delay` seconds after they came."""
    one, other = (_open(device) for device in devices)
    partners = {one: other, other: one}
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    print("ready", flush=True)
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for each in select.select([one, other], [], [], patience)[0]:
            waiting.append((time.monotonic() + delay, partners[each], each.recv(LARGEST)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, out, frame = waiting.popleft()
            out.send(frame)


def _open(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    opened.bind((device, ETH_P_ALL))
    return opened


if __name__ == "__main__":
    carry((sys.argv[1], sys.argv[2]), float(sys.argv[3]))
