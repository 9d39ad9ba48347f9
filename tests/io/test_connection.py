"""One connection by itself: what its socket says, and how it is set up."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from p2ptun.io.connection import (
    IDLE_TIMEOUT,
    STUCK_TIMEOUT,
    UNPROVEN_TIMEOUT,
    Connection,
    connect,
    open_stream,
)
from p2ptun.io.guard import RouteGuard
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions
from p2ptun.types import Endpoint, SendError, Transport

HERE = Endpoint.of("127.0.0.1", 9, Transport.TCP)


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """Give a connection and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, sockaddr = listener.accept()
        near.setblocking(False)
    with near, far:
        yield Connection(near, Endpoint.of(sockaddr[0], sockaddr[1], Transport.TCP), True, 1000.0), far


def reset(sock: socket.socket) -> None:
    """End a connection as a crash does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    sock.close()


def test_what_is_not_there_yet_is_no_end(ends: tuple[Connection, socket.socket]) -> None:
    connection, far = ends
    view = memoryview(bytearray(100))
    connection.rest = b"\0\5he"
    assert connection.receive(view) == 4
    far.send(b"llo")
    assert connection.receive(view) == 7
    assert bytes(view[:7]) == b"\0\5hello"
    far.close()
    assert connection.receive(view) is SendError.REFUSED


def test_a_reset_is_told_when_reading_and_when_writing(ends: tuple[Connection, socket.socket]) -> None:
    connection, far = ends
    reset(far)
    assert connection.receive(memoryview(bytearray(100))) is SendError.REFUSED
    connection.queue.push_data(b"late")
    assert connection.flush() is SendError.REFUSED


def test_only_use_of_a_proven_connection_prolongs_its_life(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    connection.record_use(1003.0)
    assert connection.expires_at == 1000.0 + UNPROVEN_TIMEOUT
    connection.is_proven = True
    connection.record_use(1004.0)
    assert connection.expires_at == 1004.0 + IDLE_TIMEOUT


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
