"""One stream by itself: what its socket says, and how it is set up."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from p2ptun.io.guard import RouteGuard
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions
from p2ptun.io.stream import STUCK_TIMEOUT, Stream, connect, open_stream
from p2ptun.types import Endpoint, SendError, Transport

HERE = Endpoint.of("127.0.0.1", 9, Transport.TCP)


@pytest.fixture
def ends() -> Iterator[tuple[Stream, socket.socket]]:
    """Give a stream and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
        near.setblocking(False)
    with near, far:
        yield Stream(near, is_connected=True), far


def reset(sock: socket.socket) -> None:
    """End a connection as a crash does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    sock.close()


def test_what_is_not_there_yet_is_no_end(ends: tuple[Stream, socket.socket]) -> None:
    stream, far = ends
    view = memoryview(bytearray(100))
    stream.rest = b"\0\5he"
    assert stream.receive(view) == 4
    far.send(b"llo")
    assert stream.receive(view) == 7
    assert bytes(view[:7]) == b"\0\5hello"
    far.close()
    assert stream.receive(view) is SendError.REFUSED


def test_a_reset_is_told_when_reading_and_when_writing(ends: tuple[Stream, socket.socket]) -> None:
    stream, far = ends
    reset(far)
    assert stream.receive(memoryview(bytearray(100))) is SendError.REFUSED
    stream.queue.push_data(b"late")
    assert stream.flush() is SendError.REFUSED


def test_the_kernel_is_asked_for_little_delay_and_short_patience() -> None:
    with open_stream(socket.AF_INET6, DEFAULT_OPTIONS) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == STUCK_TIMEOUT * 1000
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert not sock.getblocking()
    with open_stream(socket.AF_INET, DEFAULT_OPTIONS, is_shared=True) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def test_no_connection_goes_through_a_tunnel() -> None:
    guard = RouteGuard()
    guard.learn({1: True})  # the loopback interface, for once
    assert connect(HERE, 0, HERE, SocketOptions(guard=guard)) is SendError.THROUGH_TUNNEL
    guard.learn({1: False})
    sock = connect(HERE, 0, HERE, SocketOptions(guard=guard))
    assert isinstance(sock, socket.socket)
    sock.close()
    guard.close()
