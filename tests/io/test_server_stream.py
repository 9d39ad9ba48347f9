"""Sockets to servers over TCP and TLS, on loopback: frames both ways, streams that stick, and ends of all kinds."""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.io.guard import RouteGuard
from p2ptun.io.send_queue import MAX_WAITING
from p2ptun.io.server_socket import open_server_socket
from p2ptun.io.server_stream import SETUP_TIMEOUT, ServerStream
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions
from p2ptun.io.tls import Trust
from p2ptun.stun.message import Message, MessageClass, Method, encode_message, new_transaction_id
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.certificates import Authority
from tests.io.test_driver import until
from tests.io.test_tcp import Reader, reading
from tests.io.test_turn_framing import channel_data, padded
from tests.io.test_udp import batch_of
from tests.stun.vectors import REQUEST

pytestmark = pytest.mark.trio

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries frames in a test: TCP, or TLS with this server's side and whom to trust."""

    transport: Transport
    context: ssl.SSLContext | None = None
    ca_file: Path | None = None

    def open(self, port: int, options: SocketOptions = DEFAULT_OPTIONS) -> ServerStream:
        server = Server(Endpoint.of(HOST, port, self.transport), HOST)
        token = Endpoint.of("0.0.0.0", 1, self.transport)  # noqa: S104 (a token)
        opened = open_server_socket(token, server, options, Trust(self.ca_file))
        assert isinstance(opened, ServerStream)
        return opened

    @asynccontextmanager
    async def connected(self, handle: Handler) -> AsyncIterator[Reader[ServerStream]]:
        """Run a server that does `handle` with its one client, and read what it sends."""
        async with serving(handle, self.context) as port, reading(self.open(port)) as [reader]:
            yield reader


@pytest.fixture(params=["tcp", "tls"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Carrier:
    if request.param == "tcp":
        return Carrier(Transport.TCP)
    authority = Authority(tmp_path)
    return Carrier(Transport.TLS, authority.serve(HOST), authority.file)


@asynccontextmanager
async def serving(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Let `handle` serve each client, over TLS when there is a context for it; give the port."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            if context is None:
                await handle(stream)
            else:
                await handle(trio.SSLStream(stream, context, server_side=True))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client is gone

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def request() -> bytes:
    return encode_message(Message(Method.ALLOCATE, MessageClass.REQUEST, new_transaction_id(os.urandom)))


async def echo(stream: trio.abc.Stream) -> None:
    while data := await stream.receive_some(1 << 16):
        await stream.send_all(data)


def saying(*parts: bytes, pause: bool = False) -> Handler:
    """Make a server that says so much, in pieces, and then listens."""

    async def say(stream: trio.abc.Stream) -> None:
        for part in parts:
            await stream.send_all(part)
            if pause:
                await trio.testing.wait_all_tasks_blocked()
        while await stream.receive_some(1 << 16):
            pass

    return say


async def until_ended(reader: Reader[ServerStream], error: SendError, pause: float = 0.01) -> None:
    """Wait for the failure; nothing more happens after it, and it is told once."""
    await until(lambda: reader.failures != [], pause)
    wakes = reader.wakes
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert reader.failures == [(reader.base.server.endpoint, error)]
    assert reader.wakes == wakes


async def test_what_is_sent_at_once_waits_for_the_connection(carrier: Carrier) -> None:
    asked, data = request(), [padded(channel_data(b"x" * size)) for size in (1, 2, 3, 4, 1200)]
    async with carrier.connected(echo) as reader:
        base = reader.base
        assert base.tcp_type is None
        assert base.send(asked, Endpoint.of(HOST, 9)) is None
        assert base.send_batch(batch_of(*data), Endpoint.of(HOST, 9))
        await until(lambda: len(reader.datagrams) == 6)
        assert reader.datagrams == [asked] + [channel_data(b"x" * size) for size in (1, 2, 3, 4, 1200)]
        assert set(reader.sources) == {base.server.endpoint}
        assert base.bound.address == base.server.endpoint.address
        assert not base.send_errors
        await base.wait_writable()


async def test_an_idle_connection_sleeps(carrier: Carrier) -> None:
    async with carrier.connected(echo) as reader:
        reader.base.send(request(), Endpoint.of(HOST, 9))
        await until(lambda: len(reader.datagrams) == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        wakes = reader.wakes
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert reader.wakes == wakes < 10


async def test_half_frames_byte_by_byte(carrier: Carrier) -> None:
    frames = [request(), channel_data(b"abc"), channel_data(b"", 0x4001), request(), channel_data(b"defgh")]
    stream = b"".join(map(padded, frames))
    async with carrier.connected(saying(*(bytes([byte]) for byte in stream), pause=True)) as reader:
        await until(lambda: len(reader.datagrams) == len(frames))
        assert reader.datagrams == frames


async def test_the_longest_frames_pass(carrier: Carrier) -> None:
    frames = [bytes.fromhex("0113fffc2112a442") + bytes(12 + 0xFFFC), channel_data(b"z" * 65535)] * 4
    async with carrier.connected(saying(b"".join(map(padded, frames)))) as reader:
        await until(lambda: len(reader.datagrams) == len(frames))
        assert reader.datagrams == frames


async def test_any_cut_gives_the_same_frames(carrier: Carrier) -> None:
    seed = 125
    source = random.Random(seed)
    frames = [REQUEST, *(channel_data(source.randbytes(source.randint(0, 3000))) for _ in range(300))]
    stream = b"".join(map(padded, frames))
    cuts = sorted(source.sample(range(len(stream)), 60))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    async with carrier.connected(saying(*parts)) as reader:
        await until(lambda: len(reader.datagrams) == len(frames))
        assert reader.datagrams == frames, f"seed {seed}"


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", channel_data(b""), REQUEST + b"\xff", b"\xff"]
)
async def test_garbage_ends_the_connection(carrier: Carrier, garbage: bytes) -> None:
    async with carrier.connected(saying(garbage)) as reader:
        await until_ended(reader, SendError.REFUSED)
        assert reader.base.problem.startswith("127.0.0.1 is no TURN server: ")
        assert reader.base.problem.endswith(".")
        assert reader.base.receive_errors == {"malformed": 1}


async def test_a_huge_length_waits_for_what_it_promises(carrier: Carrier) -> None:
    """It costs the server a frame of 64 KiB, and us the memory for one."""
    frame = channel_data(b"w" * 65535)
    async with carrier.connected(saying(REQUEST, frame[:4], frame[4:], b"\0", pause=True)) as reader:
        await until(lambda: reader.datagrams == [REQUEST, frame])


async def test_what_comes_before_the_end_is_heard(carrier: Carrier) -> None:
    async def last_words(stream: trio.abc.Stream) -> None:
        await stream.send_all(REQUEST)
        await stream.aclose()

    async with carrier.connected(last_words) as reader:
        await until_ended(reader, SendError.REFUSED)
        assert reader.datagrams == [REQUEST]


async def test_an_end_in_the_middle_of_a_frame_is_an_end(carrier: Carrier) -> None:
    async def half(stream: trio.abc.Stream) -> None:
        await stream.send_all(request()[:-1])
        await stream.aclose()

    async with carrier.connected(half) as reader:
        await until_ended(reader, SendError.REFUSED)
        assert reader.datagrams == []


async def test_a_reset_ends_it(carrier: Carrier) -> None:
    async def reset(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1)
        raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(raw, trio.SocketStream)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        raw.socket.close()

    async with carrier.connected(reset) as reader:
        reader.base.send(request(), Endpoint.of(HOST, 9))
        await until_ended(reader, SendError.REFUSED)


async def test_nobody_listens(carrier: Carrier) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    async with reading(carrier.open(port)) as [reader]:
        await until_ended(reader, SendError.REFUSED)
        for _ in range(2):
            assert reader.base.send(request(), Endpoint.of(HOST, 9)) is SendError.REFUSED
        batch = batch_of(*[padded(channel_data(b"x"))] * 3)
        assert reader.base.send_batch(batch, Endpoint.of(HOST, 9))
        assert len(batch) == 0
        assert reader.base.send_errors == {SendError.REFUSED: 5}
        assert reader.base.next_failure() is None


async def test_who_meets_the_end_by_sending_is_told_at_once(carrier: Carrier) -> None:
    """And then nobody else is: it would be told twice."""
    async with serving(echo, carrier.context) as port:
        opened = carrier.open(port)
        async with reading(opened) as [reader]:
            opened.send(request(), opened.server.endpoint)
            await until(lambda: len(reader.datagrams) == 1)
            opened._stream.socket.shutdown(socket.SHUT_WR)
            assert opened.send(request(), opened.server.endpoint) is SendError.REFUSED
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert reader.failures == []


async def test_a_batch_that_meets_the_end_leaves_it_to_the_reader(carrier: Carrier) -> None:
    async with serving(echo, carrier.context) as port:
        opened = carrier.open(port)
        async with reading(opened) as [reader]:
            opened.send(request(), opened.server.endpoint)
            await until(lambda: len(reader.datagrams) == 1)
            opened._stream.socket.shutdown(socket.SHUT_WR)
            assert opened.send_batch(batch_of(padded(channel_data(b"x"))), opened.server.endpoint)
            await until_ended(reader, SendError.REFUSED)


# Streams that stick


async def test_a_slow_reader_costs_the_oldest_data_and_stun_overtakes(carrier: Carrier) -> None:
    """The server reads nothing until everything was sent."""
    ready, heard = trio.Event(), bytearray()

    async def late(stream: trio.abc.Stream) -> None:
        await stream.send_all(REQUEST)
        await ready.wait()
        while data := await stream.receive_some(1 << 16):
            heard.extend(data)

    count, size = 8000, 1200
    frames = [padded(channel_data(number.to_bytes(4, "big") * (size // 4))) for number in range(count)]
    async with carrier.connected(late) as reader:
        await until(lambda: len(reader.datagrams) == 1)
        base = reader.base
        base._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        for start in range(0, count, 50):
            assert base.send_batch(batch_of(*frames[start : start + 50]), base.server.endpoint)
            assert len(base._stream.queue._data) * (size + 4) <= MAX_WAITING
        asked = request()
        assert base.send(asked, base.server.endpoint) is None
        dropped = base.send_errors[SendError.WOULD_BLOCK]
        assert 0 < dropped < count
        ready.set()
        await until(lambda: bytes(heard).endswith(frames[-1]))
    stream, arrived = bytes(heard), (count - dropped) * (size + 4)
    assert len(stream) == arrived + len(asked)
    at = stream.index(asked)
    assert at < len(stream) - 20 * (size + 4), "it went before data that had waited longer"
    numbers = [struct.unpack_from("!I", stream.replace(asked, b""), at + 4)[0] for at in range(0, arrived, size + 4)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count - 1


async def test_stun_is_bounded_too(carrier: Carrier) -> None:
    async with serving(echo, carrier.context) as port:
        with closing(carrier.open(port)) as opened:  # nobody reads it: it doesn't even connect
            for _ in range(100):
                assert opened.send(request(), opened.server.endpoint) is None
            assert opened.send_errors == {SendError.WOULD_BLOCK: 36}


async def test_a_batch_without_room_is_left_for_later(carrier: Carrier) -> None:
    async with serving(saying(REQUEST), carrier.context) as port:
        with closing(carrier.open(port)) as opened:
            small, large, sources = Batch(1 << 16), Batch(1 << 18), list[Endpoint]()
            with trio.fail_after(5):
                for _ in range(20):
                    with trio.move_on_after(0.02):
                        await opened.wait_readable()
                    assert opened.receive_batch(small, sources) == 0
                while not opened.receive_batch(large, sources):
                    await opened.wait_readable()
            assert [bytes(each) for each in large] == [REQUEST]


# Time, and owners


async def test_a_server_that_never_shakes_hands(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    carrier = Carrier(Transport.TLS, None, Authority(tmp_path).file)
    async with serving(saying()) as port:
        began = trio.current_time()
        async with reading(carrier.open(port)) as [reader]:
            await until_ended(reader, SendError.TIMED_OUT, 1.0)
            assert SETUP_TIMEOUT <= trio.current_time() - began < SETUP_TIMEOUT + 3  # seen once a second


async def test_one_that_is_up_has_all_the_time(carrier: Carrier, autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with carrier.connected(echo) as reader:
        reader.base.send(request(), Endpoint.of(HOST, 9))
        await until(lambda: len(reader.datagrams) == 1)
        await trio.sleep(3600)
        reader.base.send(request(), Endpoint.of(HOST, 9))
        await until(lambda: len(reader.datagrams) == 2)


async def test_an_owner_gives_it_up(carrier: Carrier) -> None:
    async with carrier.connected(echo) as reader:
        await trio.testing.wait_all_tasks_blocked(0.01)
        reader.base.lose(SendError.SOURCE_GONE)
        reader.base.lose(SendError.OTHER)
        await until_ended(reader, SendError.SOURCE_GONE)


async def test_it_can_be_given_up_before_anybody_reads_it(carrier: Carrier) -> None:
    async with serving(echo, carrier.context) as port:
        opened = carrier.open(port)
        opened.lose(SendError.SOURCE_GONE)
        async with reading(opened) as [reader]:
            await until_ended(reader, SendError.SOURCE_GONE)


async def test_a_route_that_comes_to_lead_into_a_tunnel(carrier: Carrier) -> None:
    guard = RouteGuard()
    guard.learn({1: False})
    async with serving(echo, carrier.context) as port:
        async with reading(carrier.open(port, SocketOptions(guard=guard))) as [reader]:
            reader.base.forget_routes()
            reader.base.send(request(), Endpoint.of(HOST, 9))
            await until(lambda: len(reader.datagrams) == 1)
            guard.learn({1: True})
            reader.base.forget_routes()
            await until_ended(reader, SendError.THROUGH_TUNNEL)
            reader.base.forget_routes()
        async with reading(carrier.open(port, SocketOptions("lo", guard=guard))) as [reader]:
            reader.base.forget_routes()  # it is confined: it can't be led astray
            reader.base.send(request(), Endpoint.of(HOST, 9))
            await until(lambda: len(reader.datagrams) == 1)
    guard.close()


async def test_closing_wakes_who_waits(carrier: Carrier) -> None:
    ended = trio.Event()

    async def wait(opened: ServerStream) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                await opened.wait_readable()
                opened.receive_batch(batch_of(), [])
        ended.set()

    async with serving(saying(), carrier.context) as port, trio.open_nursery() as nursery:
        opened = carrier.open(port)
        nursery.start_soon(wait, opened)
        await trio.testing.wait_all_tasks_blocked(0.02)
        opened.close()
        opened.close()
        assert opened.is_closed
        await ended.wait()


async def test_closing_before_the_first_wait(carrier: Carrier) -> None:
    async with serving(echo, carrier.context) as port:
        opened = carrier.open(port)
        opened.close()
        with pytest.raises(trio.ClosedResourceError):
            await opened.wait_readable()


async def test_what_was_sent_before_closing_arrives(carrier: Carrier) -> None:
    heard = bytearray()
    ended = trio.Event()

    async def listen(stream: trio.abc.Stream) -> None:
        await stream.send_all(REQUEST)
        while data := await stream.receive_some(1 << 16):
            heard.extend(data)
        ended.set()

    async with serving(listen, carrier.context) as port:
        opened, last = carrier.open(port), request()
        with trio.fail_after(5):
            while not opened.receive_batch(Batch(1 << 18), []):
                await opened.wait_readable()
            opened.send(last, opened.server.endpoint)
            opened.close()
            await ended.wait()  # over TLS, the server also hears that this is the end and no cut
        assert bytes(heard) == last


async def test_closing_outside_of_trio(carrier: Carrier) -> None:
    async def opened() -> ServerStream:
        async with serving(echo, carrier.context) as port:
            return carrier.open(port)

    left = await opened()
    await trio.to_thread.run_sync(left.close)
    assert left.is_closed
