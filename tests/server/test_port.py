"""UDP sockets of the server."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from p2ptun.errors import DeviceError
from p2ptun.io.mmsg import SLOTS, Inbox, Name, Outbox, address_of, words
from p2ptun.server.port import JOINED_SLOTS, MAX_CACHED_NAMES, UdpPort, open_port
from p2ptun.types import Endpoint, SendError
from tests.server.place import ANY_PORT
from tests.server.turn_client import endpoint, peer_socket


@pytest.fixture
def port() -> Iterator[UdpPort]:
    port = open_port(ANY_PORT, is_relay=True)
    yield port
    port.close()
    port.close()


class RefusingOutbox(Outbox):
    """A kernel that refuses messages to be split, as one does whose network card can't sum them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.asked = 0

    def send_segmented(self, descriptor: int, name: Name, count: int, pieces: int, size: int) -> int:
        self.asked += 1
        return self.number


def filled(outbox: Outbox, memory: bytearray, count: int, size: int) -> None:
    first = address_of(memory)
    outbox.fill(words(range(first, first + count * size, size)), words([size]) * count)


def test_a_port_in_use_is_explained(port: UdpPort) -> None:
    with pytest.raises(DeviceError, match="already in use") as error:
        open_port(port.local, is_relay=False)
    assert error.value.remedy


def test_a_datagram_leaves(port: UdpPort) -> None:
    with peer_socket() as peer:
        port.send(b"hello", endpoint(peer))
        assert peer.recvfrom(100) == (b"hello", (str(port.local.address), port.local.port))
    assert not port.lost


@pytest.mark.parametrize(
    ("destination", "reason"),
    [("::1", SendError.UNREACHABLE), ("255.255.255.255", SendError.REFUSED_BY_FIREWALL)],
)
def test_what_the_kernel_refuses_is_counted(port: UdpPort, destination: str, reason: SendError) -> None:
    port.send(b"hello", Endpoint.of(destination, 9))
    assert port.lost == {reason: 1}


def test_names_of_the_other_version_or_of_no_interface_are_none(port: UdpPort) -> None:
    assert port.name(Endpoint.of("::1", 9)) is None
    six = open_port(Endpoint.of("::1", 0), is_relay=True)
    assert six.name(Endpoint.of("fe80::1%nowhere0", 9)) is None
    assert six.name(Endpoint.of("::1", 9)) is six.name(Endpoint.of("::1", 9)) is not None
    six.close()


def test_what_is_remembered_is_bounded(port: UdpPort) -> None:
    for number in range(1, MAX_CACHED_NAMES + 10):
        destination = Endpoint.of("192.0.2.1", number)
        name = port.name(destination)
        assert name is not None
        assert port.name(destination) is name
    assert len(port._names) <= MAX_CACHED_NAMES
    inbox = Inbox()
    with peer_socket() as peer:
        port.send(b"x", endpoint(peer))
        assert inbox.receive(peer.fileno()) == 1
        for number in range(MAX_CACHED_NAMES + 10):
            raw = bytearray(inbox.name(0, 16))
            raw[4:8] = number.to_bytes(4, "big")
            assert int(port.source(bytes(raw)).address) == number
    assert len(port._sources) <= MAX_CACHED_NAMES


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_what_can_not_be_split_goes_one_by_one(port: UdpPort, number: int) -> None:
    outbox, memory = RefusingOutbox(number), bytearray(b"aabbcc")
    with peer_socket() as peer:
        name = port.name(endpoint(peer))
        assert name is not None
        for _ in range(2):
            filled(outbox, memory, 3, 2)
            port.send_run(outbox, name, 3, 1, 2)
        assert [peer.recv(10) for _ in range(6)] == [b"aa", b"bb", b"cc"] * 2
    assert outbox.asked == (1 if number == errno.EIO else 2)
    assert port.has_segmentation is (number != errno.EIO)
    assert not port.lost


def test_a_full_socket_loses_a_run(port: UdpPort) -> None:
    outbox, memory = RefusingOutbox(errno.EAGAIN), bytearray(b"aabbcc")
    name = port.name(Endpoint.of("127.0.0.1", 9))
    assert name is not None
    filled(outbox, memory, 3, 2)
    port.send_run(outbox, name, 3, 1, 2)
    assert port.lost == {SendError.WOULD_BLOCK: 3}


def test_a_run_to_a_broadcast_address_is_lost_datagram_by_datagram(port: UdpPort) -> None:
    outbox, memory = Outbox(), bytearray(b"aabbcc")
    name = port.name(Endpoint.of("255.255.255.255", 9))
    assert name is not None
    filled(outbox, memory, 3, 2)
    port.send_run(outbox, name, 3, 1, 2)
    assert port.lost == {SendError.REFUSED_BY_FIREWALL: 3}


def test_fewer_messages_are_taken_when_each_is_large(port: UdpPort) -> None:
    port.adapt(True)
    assert port.limit == JOINED_SLOTS
    port.adapt(False)
    assert port.limit == SLOTS


def test_a_kernel_without_offloads_is_served_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptun.io.offload.UDP_SEGMENT", 9999)
    monkeypatch.setattr("p2ptun.io.offload.UDP_GRO", 9999)
    port = open_port(ANY_PORT, is_relay=False)
    assert not port.has_segmentation
    with peer_socket() as peer, socket.socket(type=socket.SOCK_DGRAM):
        outbox, memory = Outbox(), bytearray(b"aabbcc")
        filled(outbox, memory, 3, 2)
        name = port.name(endpoint(peer))
        assert name is not None
        port.send_run(outbox, name, 3, 1, 2)
        assert [peer.recv(10) for _ in range(3)] == [b"aa", b"bb", b"cc"]
    port.close()
