"""UDP sockets on loopback."""

from __future__ import annotations

import errno
import random
import socket

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError
from p2ptun.io import udp
from p2ptun.io.offload import MAX_SEGMENTED_SIZE, MAX_SEGMENTS
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SOCKET_BUFFER_SIZE, Fragmentation, SocketOptions
from p2ptun.io.udp import (
    DATAGRAMS_PER_WAKE,
    LARGEST_DATAGRAM,
    UdpSocket,
)
from p2ptun.types import Endpoint, SendError

IPV4 = Endpoint.of("127.0.0.1", 0)
IPV6 = Endpoint.of("::1", 0)
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_RECVERR = 10, 23, 11  # linux/in.h, linux/in6.h

pytestmark = pytest.mark.trio


async def receive(sock: UdpSocket, count: int) -> tuple[list[bytes], list[Endpoint]]:
    """Read until `count` datagrams are there."""
    received: list[bytes] = []
    sources: list[Endpoint] = []
    batch = Batch(1 << 18)
    with trio.fail_after(5):
        while len(received) < count:
            await sock.wait_readable()
            batch.clear()
            sock.receive_batch(batch, sources)
            received += [bytes(each) for each in batch]
    return received, sources


def batch_of(*datagrams: bytes) -> Batch:
    batch = Batch(1 << 18)
    for datagram in datagrams:
        assert batch.append(datagram)
    return batch


@pytest.mark.parametrize("local", [IPV4, IPV6])
async def test_batch_arrives_in_order_with_its_source(local: Endpoint) -> None:
    sender, receiver = await UdpSocket.bind(local), await UdpSocket.bind(local)
    sent = [bytes([number]) * (number + 1) for number in range(20)]
    batch = batch_of(*sent)
    assert sender.send_batch(batch, receiver.local)
    assert len(batch) == 0
    received, sources = await receive(receiver, len(sent))
    assert received == sent
    assert sources == [sender.local] * len(sent)
    assert all(each is sources[0] for each in sources)
    sender.close()
    receiver.close()


async def test_answers_leave_from_the_socket_that_was_asked() -> None:
    client, server = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    assert client.send(b"request", server.local) is None
    _, sources = await receive(server, 1)
    assert server.send(b"response", sources[0]) is None
    assert await receive(client, 1) == ([b"response"], [server.local])
    client.close()
    server.close()


@pytest.mark.parametrize(("size", "last"), [(1, 1), (1400, 1400), (1400, 1), (9000, 100), (65000, 65000)])
async def test_equal_datagrams_stay_apart(size: int, last: int) -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    sent = [bytes([number]) * size for number in range(3)] + [b"x" * last]
    batch = Batch(1 << 19)
    assert all(batch.append(datagram) for datagram in sent)
    assert sender.send_batch(batch, receiver.local)
    received, _ = await receive(receiver, len(sent))
    assert received == sent
    assert not sender.send_errors
    sender.close()
    receiver.close()


@pytest.mark.parametrize("gap", [0, 5])
async def test_one_call_sends_a_run(gap: int) -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    if not sender.has_segmentation:
        pytest.skip("needs UDP_SEGMENT (Linux 4.18)")
    batch = Batch(10_000)
    for number in range(4):
        batch.buffer.raw[batch.end + gap] = number
        batch.add_span(batch.end + gap, batch.end + gap + 100)
    sockaddr = (str(receiver.local.address), receiver.local.port)
    assert sender._send_segments(batch.buffer.view, batch.spans, sockaddr) is None
    received, _ = await receive(receiver, 4)
    assert [(len(each), each[0]) for each in received] == [(100, 0), (100, 1), (100, 2), (100, 3)]
    sender.close()
    receiver.close()


async def test_without_segmentation_every_datagram_still_goes() -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    sender._has_segmentation = False
    assert sender.send_batch(batch_of(*[b"same"] * 10), receiver.local)
    received, _ = await receive(receiver, 10)
    assert received == [b"same"] * 10
    sender.close()
    receiver.close()


async def test_run_length_against_a_plain_model() -> None:
    seed = 20
    source = random.Random(seed)
    for _ in range(500):
        sizes = source.choices([0, 1, 7, 1200, 1200, 1200, 1200, 30_000], k=source.randint(1, 150))
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        spans = [(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        first = source.randrange(len(sizes))
        size, run = sizes[first], 1
        while size and first + run < len(sizes) and 0 < sizes[first + run] <= size and run < MAX_SEGMENTS:
            if (run + 1) * size > MAX_SEGMENTED_SIZE:
                break
            run += 1
            if sizes[first + run - 1] < size:
                break
        assert udp._run_length(spans, first) == run, f"seed {seed}, sizes {sizes}, first {first}"


async def test_a_wake_takes_a_bounded_number() -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    for _ in range(2):
        assert sender.send_batch(batch_of(*[b"one"] * 50), receiver.local)
    batch, sources = Batch(1 << 18), list[Endpoint]()
    assert receiver.receive_batch(batch, sources) == DATAGRAMS_PER_WAKE
    assert receiver.receive_batch(batch, sources) == 100 - DATAGRAMS_PER_WAKE  # behind what the batch holds
    assert receiver.receive_batch(batch, sources) == 0
    assert [bytes(each) for each in batch] == [b"one"] * 100
    assert len(sources) == 100
    sender.close()
    receiver.close()


async def test_reading_stops_where_the_largest_datagram_would_not_fit() -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    assert sender.send_batch(batch_of(b"a" * 10, b"b" * 10, b"c" * 10), receiver.local)
    batch, sources = Batch(LARGEST_DATAGRAM + 15), list[Endpoint]()
    assert receiver.receive_batch(batch, sources) == 2
    batch.clear()
    assert receiver.receive_batch(batch, sources) == 1
    assert bytes(next(iter(batch))) == b"c" * 10
    sender.close()
    receiver.close()


async def test_what_does_not_fit_or_is_empty_is_dropped_and_counted() -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    for payload in (b"x" * 101, b"", b"fits"):
        assert sender.send(payload, receiver.local) is None
    batch, sources = Batch(100), list[Endpoint]()
    assert receiver.receive_batch(batch, sources) == 1
    assert [bytes(each) for each in batch] == [b"fits"]
    assert receiver.receive_errors == {"truncated": 1, "empty": 1}
    sender.close()
    receiver.close()


async def test_a_pending_icmp_error_does_not_break_reading() -> None:
    sock, other, closed = [await UdpSocket.bind(IPV4) for _ in range(3)]
    nowhere = closed.local
    closed.close()
    sock._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # else the kernel keeps such errors to itself
    assert sock.send(b"to nobody", nowhere) is None
    assert other.send(b"good", sock.local) is None
    assert await receive(sock, 1) == ([b"good"], [other.local])
    assert sock.receive_errors == {"ECONNREFUSED": 1}
    assert sock.send(b"to nobody", nowhere) is None
    assert sock.send(b"hit by the error", other.local) is SendError.REFUSED
    assert sock.send(b"goes again", other.local) is None
    sock.close()
    other.close()


@pytest.mark.parametrize(
    ("destination", "error"),
    [
        (Endpoint.of("::1", 9), SendError.UNREACHABLE),  # the other family
        (Endpoint.of("255.255.255.255", 9), SendError.REFUSED_BY_FIREWALL),  # SO_BROADCAST isn't set
        (Endpoint.of("127.0.0.1", 0), SendError.OTHER),
    ],
)
async def test_errors_are_returned_and_counted(destination: Endpoint, error: SendError) -> None:
    sock = await UdpSocket.bind(IPV4)
    assert sock.send(b"x", destination) is error
    assert sock.send_batch(batch_of(b"x", b"x", b"yy"), destination)
    assert sock.send_errors == {error: 4}
    assert sock.next_failure() == (destination, error)
    assert sock.next_failure() is None
    sock.close()


async def test_a_datagram_that_is_too_large_costs_itself_only() -> None:
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(IPV4)
    assert sender.send_batch(batch_of(b"before", b"x" * 65530, b"behind"), receiver.local)
    received, _ = await receive(receiver, 2)
    assert received == [b"before", b"behind"]
    assert sender.send_errors == {SendError.TOO_LARGE: 1}
    sender.close()
    receiver.close()


async def test_a_zone_without_an_interface_is_unreachable() -> None:
    sock = await UdpSocket.bind(IPV6)
    assert sock.send(b"x", Endpoint.of("fe80::1%nowhere0", 9)) is SendError.UNREACHABLE
    sock.close()


async def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MAX_CACHED_ENDPOINTS", 2)
    receiver = await UdpSocket.bind(IPV4)
    senders = [await UdpSocket.bind(IPV4) for _ in range(5)]
    for sender in senders:
        assert sender.send(b"x", receiver.local) is None
    _, sources = await receive(receiver, 5)
    assert sources == [sender.local for sender in senders]
    for sender in senders:
        assert receiver.send(b"x", sender.local) is None
    assert len(receiver._sources) <= 2
    assert len(receiver._destinations) <= 2
    for each in (receiver, *senders):
        each.close()


@pytest.mark.parametrize(
    ("local", "level", "option"),
    [(IPV4, socket.IPPROTO_IP, IP_MTU_DISCOVER), (IPV6, socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)],
)
@pytest.mark.parametrize("fragmentation", list(Fragmentation))
async def test_fragmentation_is_as_asked(
    local: Endpoint, level: int, option: int, fragmentation: Fragmentation
) -> None:
    sock = await UdpSocket.bind(local, SocketOptions(fragmentation=fragmentation))
    assert sock._socket.getsockopt(level, option) == fragmentation.value
    sock.close()


async def test_buffers_grow_as_far_as_allowed() -> None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_SIZE)
    allowed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    plain.close()
    sock = await UdpSocket.bind(IPV4)
    assert sock._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= allowed
    sock.close()


async def test_port_zero_is_replaced_by_the_kernels_choice() -> None:
    sock = await UdpSocket.bind(IPV4)
    assert sock.local.port > 0
    assert not sock.is_marked
    with pytest.raises(DeviceError, match=f"UDP port {sock.local.port} is already in use on 127.0.0.1"):
        await UdpSocket.bind(sock.local)
    sock.close()


async def test_a_range_of_ports() -> None:
    first = await UdpSocket.bind(IPV4)
    second = await UdpSocket.bind(IPV4)
    ports = [first.local.port, second.local.port]
    with pytest.raises(DeviceError, match=f"All ports from {ports[0]} to {ports[1]} are in use") as caught:
        await UdpSocket.bind_in_range(IPV4.address, ports)
    assert caught.value.remedy
    second.close()
    again = await UdpSocket.bind_in_range(IPV4.address, ports)
    assert again.local.port == ports[1]
    with pytest.raises(DeviceError, match="The port range is empty"):
        await UdpSocket.bind_in_range(IPV4.address, [])
    first.close()
    again.close()


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77", "fe80::77%nowhere0"])
async def test_an_address_of_somebody_else_cant_be_bound(address: str) -> None:
    with pytest.raises(DeviceError, match="no address of this machine") as caught:
        await UdpSocket.bind_in_range(Endpoint.of(address, 0).address, [0])
    assert "ip -br address" in caught.value.remedy


async def test_ipv6_sockets_take_no_ipv4() -> None:
    both = await UdpSocket.bind(Endpoint.of("::", 0))
    sender, receiver = await UdpSocket.bind(IPV4), await UdpSocket.bind(Endpoint(IPV4.address, both.local.port))
    assert sender.send(b"x", receiver.local) is None
    assert (await receive(receiver, 1))[0] == [b"x"]
    for each in (both, sender, receiver):
        each.close()


async def test_closing_wakes_who_waits() -> None:
    sock = await UdpSocket.bind(IPV4)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        sock.close()
    sock.close()
    with pytest.raises(trio.ClosedResourceError):
        await sock.wait_writable()
    assert sock.send(b"x", IPV4) is SendError.SOURCE_GONE


async def test_a_socket_with_room_is_writable() -> None:
    sock = await UdpSocket.bind(IPV4)
    with trio.fail_after(5):
        await sock.wait_writable()
    sock.close()


async def test_a_network_card_that_cant_split_is_asked_once() -> None:
    class Card(socket.socket):
        asked = 0

        def sendmsg(self, *_: object, **__: object) -> int:
            self.asked += 1
            raise OSError(errno.EIO, "no checksum offload")

    receiver = await UdpSocket.bind(IPV4)
    card = Card(socket.AF_INET, socket.SOCK_DGRAM)
    card.bind(("127.0.0.1", 0))
    sender = UdpSocket(card, DEFAULT_OPTIONS)
    sender._has_segmentation = True
    for _ in range(2):
        assert sender.send_batch(batch_of(*[b"same"] * 5), receiver.local)
    assert (await receive(receiver, 10))[0] == [b"same"] * 10
    assert card.asked == 1
    assert not sender.has_segmentation
    assert not sender.send_errors
    sender.close()
    receiver.close()


async def test_a_kernel_without_segmentation() -> None:
    class Kernel(socket.socket):
        def getsockopt(self, *_: object) -> int:  # type: ignore[override]  # one of the three forms is enough
            raise OSError(errno.ENOPROTOOPT, "not before 4.18")

    old = UdpSocket(Kernel(socket.AF_INET, socket.SOCK_DGRAM), DEFAULT_OPTIONS)
    assert not old.has_segmentation
    old.close()


def close_outside_of_trio() -> None:
    trio.run(UdpSocket.bind, IPV4).close()


async def test_closing_outside_of_trio() -> None:
    await trio.to_thread.run_sync(close_outside_of_trio)
