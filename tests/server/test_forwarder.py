"""Channel data through the fast path, over real sockets: batches alike, joined, mixed, and what isn't channel data."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable

import pytest

from p2ptun.io.mmsg import words
from p2ptun.io.offload import UDP_SEGMENT, enable_coalescing
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import DropReason
from p2ptun.server.forwarder import MAX_ROUTES, _begin_alike, _channel, _end_of_run
from p2ptun.stun.turn import encode_channel_data
from tests.server.place import CHANNEL, CONFIG, Place, in_thread, limited, running
from tests.server.turn_client import endpoint, peer_socket


class Pair:
    """A client with an allocation, and a peer it has a channel to."""

    def __init__(self, place: Place, number: int = CHANNEL) -> None:
        self.client = place.udp()
        self.peer = peer_socket()
        self.relayed = self.client.allocate()
        self.client.bind(number, endpoint(self.peer))

    def send_joined(self, *payloads: bytes, number: int = CHANNEL) -> None:
        """Send channel data that reaches the server in one piece."""
        frames = [encode_channel_data(number, payload, False) for payload in payloads]
        send_joined(self.client.socket, frames)

    def send_back(self, *payloads: bytes, is_joined: bool = False) -> None:
        self.peer.connect((str(self.relayed.address), self.relayed.port))
        if is_joined:
            send_joined(self.peer, payloads)
        else:
            for payload in payloads:
                self.peer.send(payload)

    def at_peer(self, count: int) -> list[bytes]:
        return [self.peer.recv(65536) for _ in range(count)]

    def at_client(self, count: int) -> list[bytes]:
        return [self.client.receive() for _ in range(count)]

    def close(self) -> None:
        self.client.socket.close()
        self.peer.close()


def send_joined(sock: socket.socket, frames: list[bytes] | tuple[bytes, ...]) -> None:
    """Send datagrams of the size of the first, the last may be shorter, as one message."""
    control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(frames[0])))]
    sock.sendmsg([b"".join(frames)], control)


def payloads(count: int, size: int, seed: int = 1) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(size) for _ in range(count)]


async def with_pair(work: Callable[[Pair, Place], None], config: ServerConfig = CONFIG) -> Place:
    """Let a pair work in a thread."""
    async with running(config) as place:

        def run() -> None:
            pair = Pair(place)
            try:
                work(pair, place)
            finally:
                pair.close()

        await in_thread(run)
        return place


@pytest.mark.trio
@pytest.mark.parametrize("size", [1, 97, 100, 1200])
async def test_singles_arrive_at_the_peer_in_order(size: int) -> None:
    sent = payloads(40, size)

    def work(pair: Pair, place: Place) -> None:
        for payload in sent:
            pair.client.send(CHANNEL, payload)
        assert pair.at_peer(len(sent)) == sent

    place = await with_pair(work)
    assert place.exchange.core.relayed == (40, 40 * size)


@pytest.mark.trio
@pytest.mark.parametrize("last", [1, 50, 100])
async def test_a_joined_batch_arrives_at_the_peer(last: int) -> None:
    sent = [*payloads(20, 100), b"z" * last]

    def work(pair: Pair, _: Place) -> None:
        pair.send_joined(*sent)
        assert pair.at_peer(len(sent)) == sent

    await with_pair(work)


@pytest.mark.trio
@pytest.mark.parametrize("is_joined", [True, False])
@pytest.mark.parametrize("size", [1, 100, 1200])
async def test_what_a_peer_sends_arrives_behind_headers(is_joined: bool, size: int) -> None:
    sent = [*payloads(30, size), b"y" * ((size + 1) // 2)]

    def work(pair: Pair, _: Place) -> None:
        pair.send_back(*sent, is_joined=is_joined)
        assert pair.at_client(len(sent)) == [encode_channel_data(CHANNEL, each, False) for each in sent]

    await with_pair(work)


@pytest.mark.trio
async def test_a_joined_batch_may_outgrow_one_message_with_headers() -> None:
    """64 datagrams of 1020 bytes just fit 65,507 bytes; with headers they no longer do."""
    sent = payloads(64, 1020)

    def work(pair: Pair, _: Place) -> None:
        enable_coalescing(pair.peer)
        pair.client.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
        pair.send_back(*sent, is_joined=True)
        assert pair.at_client(len(sent)) == [encode_channel_data(CHANNEL, each, False) for each in sent]

    await with_pair(work)


@pytest.mark.trio
async def test_a_joined_batch_of_several_channels_is_sorted() -> None:
    def work(pair: Pair, _: Place) -> None:
        with peer_socket() as other:
            pair.client.bind(CHANNEL + 1, endpoint(other))
            numbers = [CHANNEL, CHANNEL + 1, CHANNEL, CHANNEL + 1, CHANNEL]
            send_joined(
                pair.client.socket, [encode_channel_data(n, b"%04d" % at, False) for at, n in enumerate(numbers)]
            )
            assert pair.at_peer(3) == [b"0000", b"0002", b"0004"]
            assert [other.recv(100) for _ in range(2)] == [b"0001", b"0003"]

    await with_pair(work)


@pytest.mark.trio
async def test_padding_is_left_behind() -> None:
    """Some clients pad channel data over UDP as well (RFC 8656 12.5)."""

    def work(pair: Pair, _: Place) -> None:
        frames = [encode_channel_data(CHANNEL, payload, True) for payload in payloads(9, 97)]
        send_joined(pair.client.socket, frames)
        for frame in frames:
            pair.client.socket.send(frame)
        assert pair.at_peer(18) == payloads(9, 97) * 2

    await with_pair(work)


@pytest.mark.trio
async def test_a_last_one_longer_than_the_others_is_no_segment() -> None:
    """Its padding is shorter than theirs, so that it is shorter than they are, and its data is longer."""

    def work(pair: Pair, _: Place) -> None:
        frames = [*[encode_channel_data(CHANNEL, b"a" * 97, True)] * 3, encode_channel_data(CHANNEL, b"b" * 99, False)]
        send_joined(pair.client.socket, frames)
        assert pair.at_peer(4) == [b"a" * 97] * 3 + [b"b" * 99]

    await with_pair(work)


@pytest.mark.trio
async def test_empty_data_is_data() -> None:
    def work(pair: Pair, _: Place) -> None:
        send_joined(pair.client.socket, [encode_channel_data(CHANNEL, b"", False)] * 3)
        pair.send_back(b"", b"x")
        assert pair.at_peer(3) == [b""] * 3
        assert pair.at_client(2) == [encode_channel_data(CHANNEL, each, False) for each in (b"", b"x")]

    await with_pair(work)


@pytest.mark.trio
async def test_lengths_that_lie_go_nowhere() -> None:
    def work(pair: Pair, _: Place) -> None:
        lie = struct.pack(">HH", CHANNEL, 101) + b"x" * 100
        pair.client.socket.send(lie)
        send_joined(pair.client.socket, [lie, lie, lie[:50]])
        pair.client.socket.send(b"")
        pair.client.socket.send(b"\x40")
        pair.client.send(CHANNEL, b"good")
        assert pair.at_peer(1) == [b"good"]

    place = await with_pair(work)
    assert place.exchange.core.drops[DropReason.MALFORMED] == 6


@pytest.mark.trio
async def test_a_channel_that_is_not_bound_leads_nowhere() -> None:
    def work(pair: Pair, _: Place) -> None:
        pair.send_joined(b"lost", b"lost", number=CHANNEL + 7)
        pair.send_joined(b"good", b"fine")
        assert pair.at_peer(2) == [b"good", b"fine"]

    place = await with_pair(work)
    assert place.exchange.core.drops[DropReason.NO_CHANNEL] == 2


@pytest.mark.trio
async def test_a_stranger_is_not_heard() -> None:
    def work(pair: Pair, place: Place) -> None:
        with peer_socket("127.0.0.9") as stranger:
            for _ in range(5):
                stranger.sendto(b"hello", (str(pair.relayed.address), pair.relayed.port))
        pair.send_back(b"good")
        assert pair.at_client(1) == [encode_channel_data(CHANNEL, b"good", False)]

    place = await with_pair(work)
    assert place.exchange.core.drops[DropReason.NO_PERMISSION] == 5


@pytest.mark.trio
async def test_a_way_ends_with_its_allocation() -> None:
    def work(pair: Pair, place: Place) -> None:
        pair.client.send(CHANNEL, b"one")
        assert pair.at_peer(1) == [b"one"]
        pair.client.release()
        pair.client.send(CHANNEL, b"two")
        second = Pair(place)
        second.client.send(CHANNEL, b"three")
        assert second.at_peer(1) == [b"three"]
        second.close()
        pair.peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            pair.peer.recv(100)

    place = await with_pair(work)
    assert place.exchange.core.drops[DropReason.NO_ALLOCATION] == 1


@pytest.mark.trio
async def test_two_clients_share_a_channel_number() -> None:
    def work(pair: Pair, place: Place) -> None:
        other = Pair(place)
        for at in range(20):
            pair.client.send(CHANNEL, b"a%d" % at)
            other.client.send(CHANNEL, b"b%d" % at)
        assert pair.at_peer(20) == [b"a%d" % at for at in range(20)]
        assert other.at_peer(20) == [b"b%d" % at for at in range(20)]
        other.close()

    await with_pair(work)


@pytest.mark.trio
async def test_a_cap_holds_batches_back() -> None:
    def work(pair: Pair, _: Place) -> None:
        for _number in range(30):
            pair.send_joined(*payloads(10, 1000))
        pair.peer.settimeout(0.3)
        arrived = 0
        try:
            while pair.peer.recv(65536):
                arrived += 1
        except TimeoutError:
            pass
        assert 10 <= arrived < 150

    place = await with_pair(work, limited(allocation_rate=50_000))
    assert place.exchange.core.drops[DropReason.BANDWIDTH] > 100


@pytest.mark.trio
async def test_routes_are_bounded() -> None:
    async with running() as place:
        forwarder = place.exchange._forwarder
        client = await in_thread(place.udp)
        name = b"\0" * 16
        for number in range(MAX_ROUTES + 10):
            assert forwarder._route(place.port, name, number) is None
        assert len(forwarder._routes) == 0
        client.socket.close()


def test_headers_are_read_with_mistrust() -> None:
    assert _channel(bytearray(b"\x40\x01\0\x02ab"), 0, 6) == (0x4001, 2)
    assert _channel(bytearray(b"\x40\x01\0\x03ab"), 0, 6) == (0, 0)
    assert _channel(bytearray(b"\x3f\x01\0\x02ab"), 0, 6) == (0, 0)
    assert _channel(bytearray(b"\x80\x01\0\x02ab"), 0, 6) == (0, 0)
    assert _channel(bytearray(b"\x40\x01\0"), 0, 3) == (0, 0)


def test_every_header_is_compared() -> None:
    raw = bytearray(b"abcdX" * 3)
    assert _begin_alike(raw, 0, 5, 3)
    for at in (5, 6, 7, 8, 10, 13):
        other = raw.copy()
        other[at] ^= 1
        assert not _begin_alike(other, 0, 5, 3)
    raw[9] ^= 1
    assert _begin_alike(raw, 0, 5, 3)


def test_runs_end_behind_a_shorter_one() -> None:
    assert _end_of_run(words([5, 5, 5]), 0) == 3
    assert _end_of_run(words([5, 5, 3, 5]), 0) == 3
    assert _end_of_run(words([5, 5, 0, 5]), 0) == 2
    assert _end_of_run(words([5, 6]), 0) == 1
    assert _end_of_run(words([5, 6]), 1) == 2
