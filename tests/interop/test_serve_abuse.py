"""What strangers and guests try with `p2ptun serve`, over real sockets: it keeps serving, and stays small."""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from p2ptun.stun.attribute import LIFETIME, REQUESTED_TRANSPORT, AttributeValue
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message, MessageClass, Method, encode_message, new_transaction_id
from p2ptun.types import Endpoint
from tests.server.serving import ADDRESS, Json, Serving
from tests.server.turn_client import UDP_NUMBER, Refusal, TurnClient, connect_udp, endpoint, peer_socket

ATTEMPTS = 10_000
PORTS = 200
MOST_GROWTH = 24 << 20  # bytes of memory, for whatever is thrown at it; a leak of a kilobyte per try is half of that
FORBIDDEN = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.9.9.9", "0.0.0.1"),
    *("224.0.0.1", "255.255.255.255", "240.0.0.1"),
]
CHANNEL = 0x4001


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """A server that relays to nobody near: loopback isn't allowed."""
    with Serving(tmp_path, has_tls=True) as serving:
        yield serving


def still_serves(server: Serving) -> None:
    """Show that clients get what they came for, each way."""
    for client in (server.udp(), server.tcp(), server.tls()):
        assert client.allocate().port >= 1024
        client.release()
        client.socket.close()


def request(method: Method, *attributes: AttributeValue) -> bytes:
    return encode_message(Message(method, MessageClass.REQUEST, new_transaction_id(os.urandom), attributes))


def test_allocations_without_credentials_cost_nothing(server: Serving) -> None:
    """They come from many ports, as a flood of forged sources would."""
    still_serves(server)
    before, descriptors = server.resident, open_descriptors(server)
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect_udp(server.endpoint)) for _ in range(PORTS)]
        strangers = {f"{ADDRESS}:{sock.getsockname()[1]}" for sock in sockets}
        asked = answered = 0
        for _ in range(ATTEMPTS // PORTS):
            asked += sum(sock.send(request(Method.ALLOCATE, (REQUESTED_TRANSPORT, UDP_NUMBER))) for sock in sockets)
            answered += sum(drain(sock, 0.0) for sock in sockets)
        answered += drain(sockets[0], 0.5) + sum(drain(sock, 0.0) for sock in sockets)
    assert 0 < answered <= asked
    assert server.resident - before < MOST_GROWTH
    assert open_descriptors(server) <= descriptors
    still_serves_streams(server)
    made = {event["client"] for event in allocations(server, "made")}
    assert made
    assert not made & strangers


def allocations(server: Serving, state: str) -> list[Json]:
    return [event for event in server.events if event["event"] == "allocation" and event["state"] == state]


def still_serves_streams(server: Serving) -> None:
    """Over UDP this address may have had all the answers that strangers get; a stream proves who asks."""
    for client in (server.tcp(), server.tls()):
        client.allocate()
        client.socket.close()


def open_descriptors(server: Serving) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def drain(sock: socket.socket, patience: float) -> int:
    """Count the bytes that are there, or come with pauses of `patience` seconds at most."""
    sock.settimeout(patience)
    total = 0
    try:
        while True:
            total += len(sock.recv(4096))
    except (TimeoutError, BlockingIOError):
        return total


def test_the_machine_of_the_relay_is_out_of_reach(server: Serving) -> None:
    """Its own address may be permitted, for two clients of one server meet there; no port but theirs is reached."""
    client = server.tcp()
    client.allocate()
    client.permit(server.endpoint)
    with pytest.raises(Refusal) as refusal:
        client.bind(CHANNEL, Endpoint.of(ADDRESS, 80))
    assert refusal.value.code == Code.FORBIDDEN
    client.socket.close()


@pytest.mark.parametrize("address", FORBIDDEN)
def test_peers_that_nobody_may_reach_are_refused(server: Serving, address: str) -> None:
    client = server.tcp()
    client.allocate()
    peer = Endpoint.of(address, 80)
    with pytest.raises(Refusal) as refusal:
        client.permit(peer)
    assert refusal.value.code in (Code.FORBIDDEN, Code.BAD_REQUEST)
    with pytest.raises(Refusal) as refusal:
        client.bind(CHANNEL, peer)
    assert refusal.value.code in (Code.FORBIDDEN, Code.BAD_REQUEST)
    client.socket.close()


def test_it_is_no_open_relay(server: Serving) -> None:
    """Neither without an allocation, nor without a permission, nor through somebody else's."""
    with peer_socket() as peer:
        peer.settimeout(0.3)
        stranger, guest = server.udp(), server.udp()
        relayed = guest.allocate()
        for client in (stranger, guest):
            client.indicate(endpoint(peer), b"through")
            client.send(CHANNEL, b"through")
        peer.sendto(b"in", (str(relayed.address), relayed.port))
        with pytest.raises(TimeoutError):
            peer.recv(100)
        guest.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            guest.receive()
        stranger.socket.close()
        guest.socket.close()
    assert server.stop()["packets"] == 0


def test_the_servers_own_ports_are_out_of_reach(tmp_path: Path) -> None:
    """Even where loopback is allowed, nobody makes the relay talk to itself."""
    with Serving(tmp_path, "--allow-peer", "127.0.0.0/8") as server:
        client = server.udp()
        client.allocate()
        with pytest.raises(Refusal) as refusal:
            client.bind(CHANNEL, server.endpoint)
        assert refusal.value.code == Code.FORBIDDEN
        client.socket.close()


@pytest.mark.parametrize("seed", range(2))
def test_garbage_on_every_port_changes_nothing(server: Serving, seed: int) -> None:
    generator = random.Random(seed)
    still_serves(server)
    relayed = (client := server.udp()).allocate()
    before = server.resident
    for number in range(300):
        throw_datagrams(server, relayed, generator)
        throw_streams(server, generator, number)
    assert server.resident - before < MOST_GROWTH
    client.socket.close()
    still_serves_streams(server)


def throw_datagrams(server: Serving, relayed: Endpoint, generator: random.Random) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in garbage(generator):
            for port in (server.port, relayed.port):
                sock.sendto(data[:60000], (ADDRESS, port))


def throw_streams(server: Serving, generator: random.Random, number: int) -> None:
    for port in (server.port, server.tls_port):
        with socket.create_connection((ADDRESS, port), 5) as sock:
            try:
                for data in garbage(generator):
                    sock.sendall(data)
                if number % 2:
                    sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has heard enough


def garbage(generator: random.Random) -> list[bytes]:
    """Nothing, noise, halves of messages, and frames that promise more than there is."""
    whole = request(Method.ALLOCATE, (REQUESTED_TRANSPORT, UDP_NUMBER), (LIFETIME, 600))
    at = generator.randrange(len(whole))
    mutated = whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :]
    return [
        generator.randbytes(generator.randrange(1, 1500)),
        whole[:at],
        mutated,
        struct.pack(">HH", CHANNEL, 0xFFFF) + generator.randbytes(100),
        b"\x16\x03\x01" + generator.randbytes(200),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


def test_streams_that_wait_for_nothing_leave_room(server: Serving) -> None:
    """One address can't take all places, and those that it takes don't hinder others for long."""
    idle = [socket.create_connection((ADDRESS, server.port), 5) for _ in range(100)]
    deadline = time.monotonic() + 5
    refused = 0
    while refused < 36 and time.monotonic() < deadline:
        refused = sum(is_closed(sock) for sock in idle)
    assert refused == 36
    client = server.udp()
    client.allocate()
    client.socket.close()
    for sock in idle:
        sock.close()


def is_closed(sock: socket.socket) -> bool:
    sock.settimeout(0.01)
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_slow_reader_loses_data_and_nobody_else_does(tmp_path: Path) -> None:
    with Serving(tmp_path, "--allow-peer", "127.0.0.0/8") as server, peer_socket() as peer:
        slow, quick = server.tcp(), server.tcp()
        relays = []
        for client in (slow, quick):
            relays.append(client.allocate())
            client.bind(CHANNEL, endpoint(peer))
        before = server.resident
        for number in range(20_000):
            peer.sendto(bytes(1200), (str(relays[0].address), relays[0].port))
            if number % 1000 == 0:
                peer.sendto(b"quick", (str(relays[1].address), relays[1].port))
                assert quick.receive()[4:9] == b"quick"
        assert server.resident - before < MOST_GROWTH
        quick.release()
        slow.socket.close()
        quick.socket.close()


def test_old_tls_is_refused_and_alpn_is_optional(server: Serving) -> None:
    assert server.certificate is not None
    for protocols in ([], ["stun.turn"], ["h2"]):
        context = ssl.create_default_context(cafile=str(server.certificate[0]))
        context.set_alpn_protocols(protocols)
        plain = socket.create_connection((ADDRESS, server.tls_port), 5)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            assert sock.version() in ("TLSv1.2", "TLSv1.3")
            assert sock.selected_alpn_protocol() == ("stun.turn" if "stun.turn" in protocols else None)
            assert TurnClient(sock).allocate().port >= 1024
