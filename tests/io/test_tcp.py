"""TCP bases on loopback: frames both ways, streams that stick, connections that fail, and intruders."""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError
from p2ptun.ice.candidate_type import TcpType
from p2ptun.io.base import Socket
from p2ptun.io.connection import IDLE_TIMEOUT, UNPROVEN_TIMEOUT
from p2ptun.io.send_queue import MAX_WAITING
from p2ptun.io.tcp import DEAF_TIME, LARGEST_INTRUSION, MAX_INTRUDERS, MAX_INTRUDERS_PER_ADDRESS, TcpBase
from p2ptun.stun.message import Message, MessageClass, Method, encode_message, new_transaction_id
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.test_driver import until
from tests.io.test_udp import batch_of

pytestmark = pytest.mark.trio

LOOPBACK = Endpoint.of("127.0.0.1", 0, Transport.TCP)
DATA = b"\xd4"


def request() -> bytes:
    return encode_message(Message(Method.BINDING, MessageClass.REQUEST, new_transaction_id(os.urandom)))


def answer() -> bytes:
    return encode_message(Message(Method.BINDING, MessageClass.SUCCESS, new_transaction_id(os.urandom)))


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(2, "big") + payload


SocketT = TypeVar("SocketT", bound=Socket)


class Reader(Generic[SocketT]):
    """Reads one base, as the driver does, and keeps what came."""

    def __init__(self, base: SocketT) -> None:
        self.base = base
        self.datagrams: list[bytes] = []
        self.sources: list[Endpoint] = []
        self.failures: list[tuple[Endpoint, SendError]] = []
        self.wakes = 0

    async def run(self) -> None:
        batch = Batch(1 << 18)
        while True:
            await self.base.wait_readable()
            self.wakes += 1
            batch.clear()
            sources: list[Endpoint] = []
            count = self.base.receive_batch(batch, sources)
            assert count == len(sources) == len(batch)
            self.datagrams += [bytes(each) for each in batch]
            self.sources += sources
            while (failure := self.base.next_failure()) is not None:
                self.failures.append(failure)


@asynccontextmanager
async def reading(*bases: SocketT) -> AsyncIterator[list[Reader[SocketT]]]:
    """Read bases until the block ends, and close them."""
    readers = [Reader(base) for base in bases]
    try:
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(reader.run)
            yield readers
            nursery.cancel_scope.cancel()
    finally:
        for base in bases:
            base.close()


async def until_read(reader: Reader[TcpBase], count: int) -> None:
    await until(lambda: len(reader.datagrams) == count)


async def until_failed(count: int, *readers: Reader[TcpBase]) -> None:
    await until(lambda: all(len(reader.failures) == count for reader in readers))


async def two_ends() -> tuple[TcpBase, TcpBase]:
    return TcpBase.active(LOOPBACK.address), await TcpBase.listen(LOOPBACK)


@contextmanager
def stranger(base: TcpBase, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Connect to a base as anybody may."""
    with socket.create_connection((str(base.local.address), base.local.port), source_address=(source, 0)) as sock:
        yield sock


async def is_closed(sock: socket.socket) -> bool:
    """Wait until the other end has closed the connection."""
    sock.setblocking(False)
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(sock)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_datagrams_go_both_ways_over_one_connection(address: str) -> None:
    local = Endpoint.of(address, 0, Transport.TCP)
    passive = await TcpBase.listen(local)
    async with reading(TcpBase.active(local.address), passive) as (one, other):
        assert one.base.local == replace(local, port=9)
        assert (one.base.tcp_type, other.base.tcp_type) == (TcpType.ACTIVE, TcpType.PASSIVE)
        check = request()
        assert one.base.send(check, passive.local) is None
        await until(lambda: other.datagrams == [check])
        [source] = other.sources
        assert (source.address, source.transport) == (local.address, Transport.TCP)
        assert other.base.send(check, source) is None
        sent = [DATA + bytes([number]) * number * 20 for number in range(60)]
        assert one.base.send_batch(batch_of(*sent), passive.local)
        await until(lambda: len(other.datagrams) == 61)
        assert other.datagrams[1:] == sent
        assert other.base.send_batch(batch_of(*sent), source)
        await until(lambda: len(one.datagrams) == 61)
        assert one.datagrams == [check, *sent]
        assert set(one.sources) == {passive.local}
        assert (one.base.connections, other.base.connections) == (1, 1)
    assert not one.failures + other.failures


async def test_the_largest_datagram_passes_and_a_larger_one_does_not() -> None:
    async with reading(*await two_ends()) as (one, other):
        one.base.send(request(), other.base.local)
        await until(lambda: len(other.datagrams) == 1)
        other.base.send(request(), other.sources[0])
        largest = DATA + bytes(65534)
        assert one.base.send(largest, other.base.local) is None
        assert one.base.send(largest + b".", other.base.local) is SendError.TOO_LARGE
        one.base.send_batch(batch_of(largest + b".", largest), other.base.local)
        await until(lambda: len(other.datagrams) == 3)
        assert other.datagrams[1:] == [largest, largest]
        assert one.base.send_errors == {SendError.TOO_LARGE: 2}


async def test_large_frames_of_one_that_is_known_come_in_one_after_the_other() -> None:
    async with reading(*await two_ends()) as (one, other):
        one.base.send(request(), other.base.local)
        await until(lambda: len(other.datagrams) == 1)
        other.base.send(request(), other.sources[0])
        sent = [DATA + os.urandom(65534) for _ in range(30)]
        for payload in sent:
            count = len(other.datagrams) + 1
            assert one.base.send(payload, other.base.local) is None
            await until_read(other, count)
        assert other.datagrams[1:] == sent


async def test_data_opens_no_connection() -> None:
    async with reading(*await two_ends()) as (one, other):
        assert one.base.send(DATA, other.base.local) is SendError.UNREACHABLE
        assert one.base.send_batch(batch_of(DATA, DATA), other.base.local)
        assert one.base.send_errors == {SendError.UNREACHABLE: 3}
        assert one.base.connections == 0


async def test_a_passive_base_opens_none_at_all() -> None:
    async with reading(*await two_ends()) as (one, other):
        assert other.base.send(request(), replace(other.base.local, port=1)) is SendError.UNREACHABLE
        assert one.base.connections == 0


async def test_frames_that_come_byte_by_byte_are_put_together() -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first, second = request(), request()
            for byte in frame(first) + frame(b"") + frame(second):
                sock.send(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            await until(lambda: len(reader.datagrams) == 2)
            assert reader.datagrams == [first, second]
            assert reader.base.receive_errors == {"empty": 1}


async def test_a_refused_connection_is_a_failure() -> None:
    with await TcpBase.listen(LOOPBACK) as gone:
        nobody = gone.local
    async with reading(TcpBase.active(LOOPBACK.address)) as [reader]:
        assert reader.base.send(request(), nobody) is None
        await until(lambda: reader.failures == [(nobody, SendError.REFUSED)])
        assert reader.base.connections == 0
        assert reader.base.next_failure() is None


async def test_what_the_kernel_refuses_at_once_is_said_at_once() -> None:
    with TcpBase.active(LOOPBACK.address) as base:
        assert base.send(request(), Endpoint.of("192.0.2.1", 1, Transport.TCP)) is not None
        assert base.send(request(), Endpoint.of("::1", 1, Transport.TCP)) is not None
    with TcpBase.active(Endpoint.of("192.0.2.77", 0).address) as base:
        assert base.send(request(), Endpoint.of("127.0.0.1", 1, Transport.TCP)) is SendError.SOURCE_GONE
        assert base.send_errors == {SendError.SOURCE_GONE: 1}


async def test_the_end_of_a_connection_is_told_to_who_relied_on_it_and_the_next_check_opens_another() -> None:
    active, passive = await two_ends()
    async with reading(active, passive) as (one, other):
        for number in range(1, 3):
            one.base.send(request(), passive.local)
            await until_read(other, number)
            other.base.send(request(), other.sources[-1])
            [connection] = passive._connections.values()
            connection.socket.shutdown(socket.SHUT_RDWR)
            await until_failed(number, one, other)
        assert one.failures == [(passive.local, SendError.REFUSED)] * 2
        assert other.failures == [(source, SendError.REFUSED) for source in other.sources]
        assert (one.base.connections, other.base.connections) == (0, 0)


@pytest.mark.parametrize("is_batch", [True, False])
async def test_a_connection_that_ends_while_data_goes_out_is_told_once(is_batch: bool) -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.send(frame(request()))
            await until_read(reader, 1)
            [there] = reader.sources
            assert reader.base.send(request(), there) is None
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))  # a reset, not an end
        if is_batch:
            assert reader.base.send_batch(batch_of(DATA), there)
            await until_failed(1, reader)
            assert reader.failures == [(there, SendError.REFUSED)]
        else:
            assert reader.base.send(DATA, there) is SendError.REFUSED
            await trio.testing.wait_all_tasks_blocked()
            assert reader.failures == []
        assert reader.base.connections == 0


async def test_a_stream_that_ends_while_frames_wait_is_a_failure() -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.send(frame(request()))
            await until_read(reader, 1)
            while not reader.base.send_errors[SendError.WOULD_BLOCK]:
                reader.base.send_batch(batch_of(*[DATA + bytes(1399)] * 64), reader.sources[0])
        await until_failed(1, reader)
        assert reader.base.connections == 0


async def test_an_intruder_that_goes_is_nobodys_failure() -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.send(frame(request()))
            await until(lambda: len(reader.datagrams) == 1)
            assert reader.base.send(answer(), reader.sources[0]) is None
        await until(lambda: reader.base.connections == 0)
        assert reader.failures == []


async def test_a_stuck_reader_costs_old_data_but_no_stun() -> None:
    """The other end reads nothing for a while: what it gets then are checks, and the data that was sent last."""
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.send(frame(request()))
            await until(lambda: len(reader.datagrams) == 1)
            [there] = reader.sources
            payload = DATA + bytes(1395)
            number = 0
            while reader.base.send_errors[SendError.WOULD_BLOCK] < 1000:
                batch = batch_of(*(payload + (number + step).to_bytes(4, "big") for step in range(64)))
                number += 64
                assert reader.base.send_batch(batch, there)
            check = request()
            assert reader.base.send(check, there) is None
            received = await read_frames(sock, lambda frames: frames[-1][-4:] == (number - 1).to_bytes(4, "big"))
    assert check in received
    numbers = [int.from_bytes(each[-4:], "big") for each in received if each != check]
    assert numbers == sorted(numbers)
    assert len(numbers) == number - reader.base.send_errors[SendError.WOULD_BLOCK]
    waited = numbers[-(MAX_WAITING // 1402) :]
    assert waited == list(range(number - len(waited), number))
    assert received.index(check) <= len(received) - len(waited)


async def read_frames(sock: socket.socket, is_done: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Read the frames of a stream until enough have come."""
    sock.setblocking(False)
    stream, frames = b"", list[bytes]()
    with trio.fail_after(20):
        while not frames or not is_done(frames):
            await trio.lowlevel.wait_readable(sock)
            stream += sock.recv(1 << 16)
            while len(stream) >= 2 and len(stream) >= 2 + int.from_bytes(stream[:2], "big"):
                end = 2 + int.from_bytes(stream[:2], "big")
                frames.append(stream[2:end])
                stream = stream[end:]
    return frames


async def test_a_stuck_reader_does_not_hinder_others() -> None:
    active, passive = await two_ends()
    async with reading(active, passive) as (one, other):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            there = Endpoint.of("127.0.0.1", deaf.getsockname()[1], Transport.TCP)
            one.base.send(request(), there)
            one.base.send(request(), passive.local)
            await until(lambda: len(other.datagrams) == 1)
            while not one.base.send_errors[SendError.WOULD_BLOCK]:
                one.base.send_batch(batch_of(*[DATA + bytes(1399)] * 64), there)
            wakes = one.wakes
            one.base.send(request(), passive.local)
            await until(lambda: len(other.datagrams) == 2)
            await trio.testing.wait_all_tasks_blocked()
            assert one.wakes < wakes + 20  # and nobody turns round and round meanwhile


@pytest.mark.parametrize(
    "first",
    [
        frame(DATA + bytes(100)),
        frame(b"GET / HTTP/1.1\r\n\r\n"),
        frame(request() + b"...."),
        b"GET / HTTP/1.1\r\n" * 1500,
        b"\xff\xff" + bytes(LARGEST_INTRUSION + 10),
    ],
    ids=["data", "HTTP in a frame", "STUN and more", "HTTP", "a frame too long"],
)
async def test_who_does_not_begin_with_stun_is_shown_out(first: bytes) -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock:
            sock.sendall(first)
            assert await is_closed(sock)
        assert reader.datagrams == []
        assert reader.base.connections == 0
        assert sum(reader.base.receive_errors.values()) == 1


async def test_silent_connections_are_closed_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        with stranger(reader.base) as sock, stranger(reader.base) as unanswered:
            unanswered.send(frame(request()))
            await until(lambda: reader.base.connections == 2)
            began = trio.current_time()
            assert await is_closed(sock)
            assert await is_closed(unanswered)
            assert trio.current_time() - began == pytest.approx(UNPROVEN_TIMEOUT, abs=1)
        assert reader.base.receive_errors == {"connections without a check": 2}


async def test_idle_connections_are_closed_and_those_in_use_are_not(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    active, passive = await two_ends()
    async with reading(active, passive) as (one, other):
        one.base.send(request(), passive.local)
        await until(lambda: len(other.datagrams) == 1)
        for number in range(2, 6):
            other.base.send(request(), other.sources[0])
            await trio.sleep(IDLE_TIMEOUT / 2)
            one.base.send(request(), passive.local)
            await until_read(other, number)
        assert (one.base.connections, other.base.connections) == (1, 1)
        await trio.sleep(IDLE_TIMEOUT + 1)
        assert (one.base.connections, other.base.connections) == (0, 0)


async def test_a_flood_of_silent_connections_keeps_nobody_out() -> None:
    """One machine gets few places; many machines push out each other, but not who was found worth a question."""
    active, passive = await two_ends()
    async with reading(active, passive) as (one, other):
        one.base.send(request(), passive.local)
        await until(lambda: len(other.datagrams) == 1)
        other.base.send(request(), other.sources[0])
        flood = []
        try:
            for machine in range(2, 15):
                for _ in range(MAX_INTRUDERS_PER_ADDRESS + 2):
                    flood.append(
                        socket.create_connection(
                            ("127.0.0.1", passive.local.port), source_address=(f"127.0.0.{machine}", 0)
                        )
                    )
                    await trio.lowlevel.checkpoint()
            pushed = 13 * MAX_INTRUDERS_PER_ADDRESS - MAX_INTRUDERS
            await until(lambda: passive.receive_errors["too many connections without a check"] == pushed)
            await until(lambda: passive.receive_errors["too many connections from one address"] == 13 * 2)
            assert passive.connections == MAX_INTRUDERS + 1
            assert await is_closed(flood[0])
            one.base.send(request(), passive.local)
            await until(lambda: len(other.datagrams) == 2)
        finally:
            for sock in flood:
                sock.close()


async def test_ipv6_strangers_count_by_network() -> None:
    passive = await TcpBase.listen(Endpoint.of("::1", 0, Transport.TCP))
    async with reading(passive) as [reader]:
        flood = [socket.create_connection(("::1", passive.local.port)) for _ in range(MAX_INTRUDERS_PER_ADDRESS + 1)]
        await until(lambda: passive.connections == MAX_INTRUDERS_PER_ADDRESS)
        assert reader.base.receive_errors == {"too many connections from one address": 1}
        for sock in flood:
            sock.close()


async def test_all_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptun.io.tcp.MAX_CONNECTIONS", 1)
    active, passive = await two_ends()
    async with reading(active, passive) as (one, _):
        with stranger(passive), stranger(passive) as second:
            assert await is_closed(second)
        assert passive.receive_errors["too many connections"] == 1
        assert one.base.send(request(), passive.local) is None
        assert one.base.send(request(), replace(passive.local, port=1)) is SendError.NO_BUFFERS


async def test_without_descriptors_it_is_deaf_for_a_moment_and_does_not_spin() -> None:
    async with reading(await TcpBase.listen(LOOPBACK)) as [reader]:
        sock = socket.socket()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with open(os.devnull) as probe:  # noqa: ASYNC230 (it takes no time)
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            sock.connect(("127.0.0.1", reader.base.local.port))
            await until(lambda: reader.base.receive_errors["no descriptors"] == 1)
            await trio.testing.wait_all_tasks_blocked()
            assert reader.wakes < 5
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        began = trio.current_time()
        await until(lambda: reader.base.connections == 1)
        assert trio.current_time() - began < 2 * DEAF_TIME
        sock.close()


async def test_a_batch_without_room_leaves_frames_in_the_kernel() -> None:
    passive = await TcpBase.listen(LOOPBACK)
    with passive, stranger(passive) as sock:
        sock.send(frame(request()))
        full, sources = Batch(1 << 17), list[Endpoint]()
        full.append(bytes(1 << 16))
        full.append(bytes(10))
        with trio.fail_after(5):
            while passive.connections == 0:
                await passive.wait_readable()
                passive.receive_batch(full, sources)
            await passive.wait_readable()
            assert passive.receive_batch(full, sources) == 0
            full.clear()
            await passive.wait_readable()
            assert passive.receive_batch(full, sources) == 1


async def test_a_simultaneous_open_base_listens_and_connects_from_its_port() -> None:
    kind = TcpType.SIMULTANEOUS_OPEN
    bases = await TcpBase.listen(LOOPBACK, kind), await TcpBase.listen(LOOPBACK, kind)
    async with reading(*bases) as (one, other):
        one.base.send(request(), other.base.local)
        other.base.send(request(), one.base.local)
        await until(lambda: len(one.datagrams) == len(other.datagrams) == 1)
        assert (one.sources, other.sources) == ([other.base.local], [one.base.local])
        one.base.send_batch(batch_of(DATA), other.base.local)
        other.base.send_batch(batch_of(DATA), one.base.local)
        await until(lambda: len(one.datagrams) == len(other.datagrams) == 2)
        assert (one.base.connections, other.base.connections) == (1, 1)


async def test_a_check_takes_the_connection_that_waits_to_be_accepted() -> None:
    kind = TcpType.SIMULTANEOUS_OPEN
    with await TcpBase.listen(LOOPBACK, kind) as one, await TcpBase.listen(LOOPBACK, kind) as other:
        assert one.send(request(), other.local) is None
        assert other.send(request(), one.local) is None
        assert (one.connections, other.connections) == (1, 1)


async def test_a_closed_base_ends_waiting_and_its_connections() -> None:
    active, passive = await two_ends()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, passive)
        await trio.testing.wait_all_tasks_blocked()
        active.send(request(), passive.local)
        passive.close()
        passive.close()
    with pytest.raises(trio.ClosedResourceError):
        await passive.wait_readable()
    assert passive.send(request(), active.local) is SendError.SOURCE_GONE
    assert active.connections == 1
    active.close()
    assert active.connections == 0
    await active.wait_writable()
    active.forget_routes()


async def expect_closed(base: TcpBase) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await Reader(base).run()


async def test_a_base_closes_outside_trio_too() -> None:
    base = await TcpBase.listen(LOOPBACK)
    await trio.to_thread.run_sync(base.close)
    assert base._epoll.closed


async def test_ports_that_cannot_be_had_come_with_a_remedy() -> None:
    with await TcpBase.listen(LOOPBACK) as base:
        with pytest.raises(DeviceError, match=f"TCP port {base.local.port} is already in use") as caught:
            await TcpBase.listen(base.local)
        assert "ss -lntup" in caught.value.remedy
    for nobody in ("192.0.2.77", "fe80::77%nowhere0"):
        with pytest.raises(DeviceError, match="no address of this machine") as caught:
            await TcpBase.listen(Endpoint.of(nobody, 0, Transport.TCP))
        assert "ip -br address" in caught.value.remedy


async def test_when_no_socket_can_be_made_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with TcpBase.active(LOOPBACK.address) as base:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            error = base.send(request(), LOOPBACK)
            with pytest.raises(DeviceError, match=os.strerror(errno.EMFILE)):
                await TcpBase.listen(LOOPBACK)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert error is SendError.NO_BUFFERS
