"""Real TUN devices, in a network namespace."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from ipaddress import ip_interface

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError, PrivilegeError
from p2ptun.io import netlink
from p2ptun.io.tun import PACKETS_PER_WAKE, TunDevice
from tests.io.namespace import in_namespace, shell

MTU = 1420
OURS = ip_interface("10.77.3.0/31")
THEIRS = "10.77.3.1"

pytestmark = pytest.mark.root


def interfaces() -> set[str]:
    return {link["ifname"] for link in json.loads(shell("ip -j link"))}


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """Build an IPv4 packet (RFC 791) with a UDP datagram that has no checksum (RFC 768)."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp


def read(device: TunDevice, count: int) -> list[bytes]:
    """Read until `count` packets are there."""
    packets: list[bytes] = []
    batch = Batch(1 << 18)

    async def run() -> None:
        with trio.fail_after(5):
            while len(packets) < count:
                await device.wait_readable()
                batch.clear()
                device.read_batch(batch)
                packets.extend(bytes(each) for each in batch)

    trio.run(run)
    return packets


@in_namespace
def test_packets_go_both_ways() -> None:
    with TunDevice.open(None, MTU) as device, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        netlink.configure(device.name, [OURS], MTU)
        sock.bind((str(OURS.ip), 0))
        for size in (1, 100, MTU - 28):
            sock.sendto(b"x" * size, (THEIRS, 7))
        packets = read(device, 3)
        assert [len(packet) for packet in packets] == [29, 128, MTU]
        assert {packet[0] for packet in packets} == {0x45}  # no packet information before the IP header

        batch = Batch(1 << 18)
        for number in range(3):
            assert batch.append(udp_packet((THEIRS, 7), sock.getsockname(), bytes([number])))
        assert device.write_batch(batch) == 3
        sock.settimeout(5)
        assert [sock.recvfrom(100) for _ in range(3)] == [(bytes([number]), (THEIRS, 7)) for number in range(3)]
        assert not device.write_errors


@in_namespace
def test_a_bad_packet_costs_itself_only() -> None:
    with TunDevice.open("one", MTU) as device, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        netlink.configure("one", [OURS], MTU)
        sock.bind((str(OURS.ip), 0))
        sock.settimeout(5)
        batch = Batch(1 << 18)
        assert batch.append(b"\x00 no IP version")
        assert batch.append(udp_packet((THEIRS, 7), sock.getsockname(), b"good"))
        assert device.write_batch(batch) == 1
        assert sock.recv(100) == b"good"
        assert device.write_errors == {"EINVAL": 1}
        shell("ip link set one down")
        assert device.write_batch(batch) == 0
        assert device.write_errors["EIO"] == 1
        assert device.read_batch(Batch(1 << 18)) == 0


@in_namespace
def test_a_wake_takes_a_bounded_number_and_leaves_what_does_not_fit() -> None:
    with TunDevice.open(None, MTU) as device, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        netlink.configure(device.name, [OURS], MTU)
        for number in range(100):
            sock.sendto(bytes([number]), (THEIRS, 7))
        batch = Batch(1 << 18)
        assert device.read_batch(batch) == PACKETS_PER_WAKE
        assert device.read_batch(batch) == 100 - PACKETS_PER_WAKE
        assert device.read_batch(batch) == 0
        assert [packet[28] for packet in batch] == list(range(100))
        for size in (1000, 1000):
            sock.sendto(b"x" * size, (THEIRS, 7))
        small = Batch(MTU + 500)
        assert device.read_batch(small) == 1
        assert device.read_batch(small) == 0
        small.clear()
        assert device.read_batch(small) == 1


@in_namespace
def test_names() -> None:
    with TunDevice.open(None, MTU) as first, TunDevice.open(None, MTU) as second, TunDevice.open("home", MTU) as third:
        assert [first.name, second.name, third.name] == ["p2ptun0", "p2ptun1", "home"]
        first.close()
        with TunDevice.open(None, MTU) as again:
            assert again.name == "p2ptun0"
        assert interfaces() == {"lo", "p2ptun1", "home"}
    assert interfaces() == {"lo"}


@in_namespace
@pytest.mark.parametrize("kind", ["tuntap", "dummy"])
def test_a_name_that_is_taken(kind: str) -> None:
    shell("ip tuntap add home mode tun" if kind == "tuntap" else "ip link add home type veth peer other")
    with pytest.raises(DeviceError, match="The interface name home is already taken") as caught:
        TunDevice.open("home", MTU)
    assert "p2ptun status" in caught.value.remedy
    assert "--name" in caught.value.remedy
    assert "ip link del home" in caught.value.remedy
    assert "home" in interfaces()


@in_namespace
def test_without_the_device_node() -> None:
    shell("mount -t tmpfs none /dev/net")
    with pytest.raises(DeviceError, match="no TUN device") as caught:
        TunDevice.open(None, MTU)
    assert "modprobe tun" in caught.value.remedy


OPEN_AND_CONFIGURE = """
import sys
from ipaddress import ip_interface
from p2ptun.errors import PrivilegeError
from p2ptun.io import netlink
from p2ptun.io.tun import TunDevice
refused = 0
for work in (lambda: TunDevice.open(None, 1420), lambda: netlink.configure("lo", [ip_interface("10.7.7.7/32")], 65536)):
    try:
        work()
    except PrivilegeError as error:
        refused += 1
        print(error, error.remedy, sep="|")
sys.exit(refused)
"""


@in_namespace
def test_without_the_capability() -> None:
    drop = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    command = [*drop, sys.executable, "-c", OPEN_AND_CONFIGURE]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2, finished.stderr
    for line in finished.stdout.splitlines():
        problem, remedy = line.split("|")
        assert "CAP_NET_ADMIN" in problem
        assert "sudo" in remedy


@in_namespace
def test_kill_9_leaves_nothing_behind() -> None:
    script = "from p2ptun.io.tun import TunDevice; device = TunDevice.open('home', 1420); print(flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        assert "home" in interfaces()
        child.send_signal(signal.SIGKILL)
        child.wait()
    with TunDevice.open("home", MTU) as device:
        assert device.name == "home"


@in_namespace
def test_the_descriptor_is_not_inherited() -> None:
    with TunDevice.open(None, MTU) as device:
        assert not os.get_inheritable(device._descriptor)
        assert not os.get_blocking(device._descriptor)


@in_namespace
def test_an_interface_removed_by_somebody_else() -> None:
    with TunDevice.open("home", MTU) as device:
        netlink.configure("home", [OURS], MTU)
        shell("ip link del home")
        batch = Batch(1 << 18)
        with pytest.raises(DeviceError, match="home was removed by somebody else"):
            read(device, 1)
        assert batch.append(b"x")
        with pytest.raises(DeviceError, match="home was removed by somebody else"):
            device.write_batch(batch)


@in_namespace
def test_closing_wakes_who_waits() -> None:
    device = TunDevice.open(None, MTU)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await device.wait_readable()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            device.close()
        device.close()
        await wait()

    trio.run(run)


@in_namespace
def test_closing_outside_of_trio() -> None:
    device = TunDevice.open(None, MTU)
    device.close()
    device.close()
    assert interfaces() == {"lo"}


def test_permission_is_a_device_error_too() -> None:
    assert issubclass(PrivilegeError, DeviceError)
