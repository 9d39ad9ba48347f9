"""What loopback alone can't show of UDP sockets: firewalls, small links, full queues, zones, marks."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io.socket_options import Fragmentation, SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint, SendError
from tests.io.namespace import in_namespace, shell
from tests.io.test_udp import batch_of, receive

HERE, THERE = Endpoint.of("10.9.0.1", 0), Endpoint.of("10.9.0.2", 9)

LINK = """
ip link add here0 type veth peer there0
ip address add 10.9.0.1/24 dev here0
ip link set here0 mtu 1400 up
ip link set there0 up
ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:01 dev here0
"""

pytestmark = pytest.mark.root


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            await body()

    trio.run(main)


@in_namespace
def test_what_the_network_refuses() -> None:
    async def body() -> None:
        with await UdpSocket.bind(HERE) as sock:
            assert sock.send(b"x", THERE) is None
            assert sock.send(b"x", Endpoint.of("8.8.8.8", 9)) is SendError.UNREACHABLE
            shell("nft add table t; nft add chain t o '{ type filter hook output priority 0; policy drop; }'")
            assert sock.send(b"x", THERE) is SendError.REFUSED_BY_FIREWALL
            shell("nft delete table t; ip link set here0 down")
            assert sock.send(b"x", THERE) is SendError.UNREACHABLE
            shell("ip address flush dev here0")
            assert sock.send(b"x", THERE) in (SendError.SOURCE_GONE, SendError.UNREACHABLE)
            with await UdpSocket.bind(Endpoint.of("127.0.0.1", 0)) as other:
                assert other.send(b"still fine", other.local) is None

    shell(LINK)
    run(body)


@in_namespace
@pytest.mark.parametrize("count", [1, 5])
def test_a_link_smaller_than_the_datagram(count: int) -> None:
    async def body() -> None:
        datagrams = [b"x" * 1450] * count
        with await UdpSocket.bind(HERE) as sock:
            assert sock.send_batch(batch_of(*datagrams), THERE)
            assert not sock.send_errors  # in fragments, one by one
            assert sock.has_segmentation
        with await UdpSocket.bind(HERE, SocketOptions(fragmentation=Fragmentation.FORBIDDEN)) as sock:
            assert sock.send_batch(batch_of(*datagrams, b"small"), THERE)
            assert sock.send_errors == {SendError.TOO_LARGE: count}

    shell(LINK)
    run(body)
    assert fragments() == 2 * count


def fragments() -> int:
    """Count the IPv4 fragments that this namespace made (RFC 4293, ipFragCreates)."""
    names, values = [line.split() for line in shell("cat /proc/net/snmp").splitlines() if line.startswith("Ip:")]
    return int(values[names.index("FragCreates")])


@in_namespace
def test_a_full_socket_keeps_the_rest_for_later() -> None:
    async def body() -> None:
        with await UdpSocket.bind(HERE, SocketOptions(buffer_size=8192)) as sock:
            batch = Batch(1 << 18)
            for number in range(60):
                assert batch.append(bytes([number]) * (1000 + number))  # no two alike: each is sent alone
            assert not sock.send_batch(batch, THERE)
            left = len(batch)
            assert 0 < left < 60
            assert next(iter(batch))[0] == 60 - left
            assert sock.send(b"x" * 1000, THERE) is SendError.WOULD_BLOCK
            calls = 1
            while not sock.send_batch(batch, THERE):
                await sock.wait_writable()
                calls += 1
            assert calls > 1
            assert sock.send_errors == {SendError.WOULD_BLOCK: 1}

    # a queue that lets 2 Mbit/s through holds what was sent against the socket's buffer
    shell(LINK + "tc qdisc add dev here0 root tbf rate 2mbit burst 5kb limit 1mb")
    run(body)


@in_namespace
def test_link_local_addresses_carry_their_zone() -> None:
    async def body() -> None:
        local = [Endpoint.of(f"fe80::1%{name}", 0) for name in ("here0", "here1")]
        with await UdpSocket.bind(local[0]) as one, await UdpSocket.bind(local[1]) as two:
            assert str(one.local.address) == "fe80::1%here0"
            # the other side is fe80::2 on both links; the answer shows which link it came over
            for sock, name in ((one, "there0"), (two, "there1")):
                with await UdpSocket.bind(Endpoint.of(f"fe80::2%{name}", 0)) as far:
                    assert sock.send(b"request", Endpoint.of("fe80::2", far.local.port)) is None
                    _, (source,) = await receive(far, 1)
                    assert source == Endpoint.of(f"fe80::1%{name}", sock.local.port)
                    assert far.send(b"response", source) is None
                    _, (source,) = await receive(sock, 1)
                    assert source == Endpoint.of(f"fe80::2%{name.replace('there', 'here')}", far.local.port)

    script = ""
    for number in (0, 1):
        script += f"ip link add here{number} type veth peer there{number}\n"
        for side, host in (("here", 1), ("there", 2)):
            script += f"ip link set {side}{number} addrgenmode none up\n"
            script += f"ip address add fe80::{host}/64 dev {side}{number} nodad\n"
    shell(script)
    run(body)


@in_namespace
def test_marks_steer_packets() -> None:
    async def body() -> None:
        with await UdpSocket.bind(HERE) as plain, await UdpSocket.bind(HERE, SocketOptions(fwmark=0x7032)) as marked:
            assert not plain.is_marked
            assert marked.is_marked
            assert marked._socket.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x7032
            assert plain.send(b"x", THERE) is SendError.REFUSED_BY_FIREWALL
            assert marked.send(b"x", THERE) is None

    shell(LINK)
    shell("nft add table t; nft add chain t o '{ type filter hook output priority 0; }'")
    shell("nft add rule t o meta mark != 0x7032 drop")
    run(body)


@in_namespace
def test_buffers_beyond_the_systems_limit() -> None:
    async def body() -> None:
        with await UdpSocket.bind(HERE, SocketOptions(buffer_size=64 << 20)) as sock:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                assert sock._socket.getsockopt(socket.SOL_SOCKET, option) == 2 * 64 << 20

    shell(LINK)
    run(body)


UNPRIVILEGED = """
import socket, trio
from p2ptun.errors import PrivilegeError
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint

async def main():
    with await UdpSocket.bind(Endpoint.of("127.0.0.1", 0), SocketOptions(fwmark=1, buffer_size=64 << 20)) as sock:
        assert not sock.is_marked
        size = sock._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert 4096 < size < 128 << 20, size
        assert sock.send(b"x", sock.local) is None
    try:
        await UdpSocket.bind(Endpoint.of("127.0.0.1", 53))
    except PrivilegeError as error:
        print(error, error.remedy)

trio.run(main)
"""


@in_namespace
def test_without_privilege_a_socket_does_what_it_can() -> None:
    dropped = "-net_admin,-net_raw,-net_bind_service"
    drop = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped]
    finished = subprocess.run(
        [*drop, sys.executable, "-W", "error", "-c", UNPRIVILEGED], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("UDP port 53 is reserved for root. Choose a port above 1023, or run it as root")
    assert "can't be marked without CAP_NET_ADMIN" in finished.stderr
