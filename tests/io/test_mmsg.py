"""Many datagrams per call, over real sockets."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from p2ptun.io.mmsg import NO_ERROR, SLOT_SIZE, SLOTS, Inbox, Name, Outbox, address_of, words
from p2ptun.io.offload import UDP_SEGMENT, enable_coalescing
from p2ptun.io.rawaddr import encode_name, name_size, read_name
from tests.server.turn_client import endpoint

LOCALS = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]


@pytest.fixture(params=LOCALS, ids=["IPv4", "IPv6"])
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    address, family = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as two:
        for sock in (one, two):
            sock.bind((address, 0))
            sock.settimeout(2)
        yield one, two


def test_datagrams_come_with_length_and_source(sockets: tuple[socket.socket, socket.socket]) -> None:
    one, two = sockets
    inbox = Inbox()
    sent = [b"", b"a", b"abcd" * 300, b"x" * 60000]
    for payload in sent:
        one.sendto(payload, two.getsockname())
    assert inbox.receive(two.fileno()) == len(sent)
    assert list(inbox.lengths) == [len(each) for each in sent]
    assert not inbox.has_joined
    for slot, payload in enumerate(sent):
        assert inbox.raw[slot * SLOT_SIZE : slot * SLOT_SIZE + len(payload)] == payload
        name = inbox.name(slot, name_size(endpoint(one).address.version))
        assert read_name(name) == endpoint(one)
    assert inbox.receive(two.fileno()) == 0


def test_a_call_takes_as_many_as_it_may(sockets: tuple[socket.socket, socket.socket]) -> None:
    one, two = sockets
    two.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # as much as the machine allows
    inbox = Inbox()
    for _ in range(SLOTS + 3):
        one.sendto(b"x", two.getsockname())
    assert inbox.receive(two.fileno(), 2) == 2
    assert inbox.receive(two.fileno()) == SLOTS
    assert inbox.receive(two.fileno()) == 1


def test_what_the_kernel_joins_is_told(sockets: tuple[socket.socket, socket.socket]) -> None:
    one, two = sockets
    assert enable_coalescing(two)
    inbox = Inbox()
    control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", 100))]
    one.sendmsg([b"a" * 250], control, 0, two.getsockname())
    one.sendto(b"single", two.getsockname())
    assert inbox.receive(two.fileno()) == 2
    assert inbox.has_joined
    assert list(inbox.lengths) == [250, 6]
    assert list(inbox.segments) == [100, 0]


def test_alike_are_one_source_and_one_size(sockets: tuple[socket.socket, socket.socket]) -> None:
    one, two = sockets
    inbox = Inbox()
    for payload in (b"abcd", b"efgh", b"ijk"):
        one.sendto(payload, two.getsockname())
    two.sendto(b"abc", two.getsockname())
    assert inbox.receive(two.fileno()) == 4
    assert inbox.heads[:8] == b"abcdefgh"
    assert not inbox.are_alike(4)
    for _ in range(2):
        one.sendto(b"same", two.getsockname())
    assert inbox.receive(two.fileno()) == 2
    assert inbox.are_alike(2)
    one.sendto(b"same", two.getsockname())
    two.sendto(b"same", two.getsockname())
    assert inbox.receive(two.fileno()) == 2
    assert not inbox.are_alike(2)


def test_an_inbox_serves_sockets_of_both_versions_in_turn() -> None:
    inbox = Inbox()
    for address, family in LOCALS * 2:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.sendto(b"x", sock.getsockname())
            assert inbox.receive(sock.fileno()) == 1
            assert read_name(inbox.name(0, name_size(4 if family == socket.AF_INET else 6))) == endpoint(sock)


def test_a_descriptor_that_is_no_socket_is_an_error() -> None:
    with pytest.raises(OSError) as error:
        Inbox().receive(0x7FFFFFF)
    assert error.value.errno == errno.EBADF


@pytest.mark.parametrize("is_segmented", [True, False])
@pytest.mark.parametrize("pieces", [1, 2])
def test_datagrams_leave_by_one_call(
    sockets: tuple[socket.socket, socket.socket], is_segmented: bool, pieces: int
) -> None:
    one, two = sockets
    outbox, name = Outbox(), Name(encode_name(endpoint(two)))
    memory = bytearray(b"HEADhead" + b"aaaaabbbbbccc")
    base = address_of(memory)
    bases, lengths = words([base + 8, base + 13, base + 18]), words([5, 5, 3])
    if pieces == 1:
        outbox.fill(bases, lengths)
    else:
        outbox.fill_prefixed(words([base, base, base + 4]), 4, bases, lengths)
    if is_segmented:
        assert outbox.send_segmented(one.fileno(), name, 3, pieces, 5 if pieces == 1 else 9) == NO_ERROR
    else:
        assert not outbox.send_each(one.fileno(), name, 3, pieces)
    prefix = [b"", b"", b""] if pieces == 1 else [b"HEAD", b"HEAD", b"head"]
    bodies = [b"aaaaa", b"bbbbb", b"ccc"]
    assert [two.recv(100) for _ in range(3)] == [a + b for a, b in zip(prefix, bodies, strict=True)]


def test_what_is_refused_is_lost_and_the_others_go(sockets: tuple[socket.socket, socket.socket]) -> None:
    """The largest datagram over IPv6 loopback is 65,527 bytes without the help of jumbograms, over IPv4 65,507."""
    one, two = sockets
    outbox, name = Outbox(), Name(encode_name(endpoint(two)))
    memory = bytearray(70000)
    base = address_of(memory)
    outbox.fill(words([base, base, base]), words([5, 66000, 7]))
    assert outbox.send_each(one.fileno(), name, 3, 1) == {errno.EMSGSIZE: 1}
    assert [len(two.recv(100)) for _ in range(2)] == [5, 7]
    assert outbox.send_segmented(one.fileno(), name, 2, 1, 5) == errno.EMSGSIZE


def test_memory_that_is_not_there_is_an_error(sockets: tuple[socket.socket, socket.socket]) -> None:
    one, two = sockets
    outbox = Outbox()
    outbox.fill(words([0]), words([5]))
    assert outbox.send_each(one.fileno(), Name(encode_name(endpoint(two))), 1, 1) == {errno.EFAULT: 1}
