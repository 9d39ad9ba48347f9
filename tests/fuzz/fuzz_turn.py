"""A relay that says anything: its messages, one after the other, never raise, and never make a pool busy or boundless.

Each message is `length (2) | bytes`. Every transaction ID is zero and nothing is sealed, so that all answers count.
"""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.stun.turn import decode_channel_data
from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint

NOW = 1000.0
SERVER = Endpoint.of("203.0.113.1", 3478)
PEER = Endpoint.of("192.0.2.50", 7000)
MAX_MESSAGES = 16


def test_one_input(data: bytes) -> None:
    """Let the server of a pool say `data`."""
    pool = Pool(bytes)
    pool.add_server(Server(SERVER, "relay.example"), None, None, NOW)
    pool.end_of_servers(NOW)
    pool.permit(PEER, NOW)
    open_sockets: set[Endpoint] = set()
    now = NOW
    for message in messages(data):
        drain(pool, open_sockets)
        assert len(open_sockets) <= 2
        for token in sorted(open_sockets, key=lambda token: token.port)[:1]:
            pool.receive_datagram(message, SERVER, token, now)
            find(pool, message, token)
        now += 0.1
        pool.handle_timeout(now)
        following = pool.next_timeout()
        assert following is None or following > now
    drain(pool, open_sockets)


def messages(data: bytes) -> list[bytes]:
    """Cut the input."""
    cut: list[bytes] = []
    while data and len(cut) < MAX_MESSAGES:
        end = 2 + int.from_bytes(data[:2], "big")
        cut.append(data[2:end])
        data = data[end:]
    return cut


def drain(pool: Pool, open_sockets: set[Endpoint]) -> None:
    """Take everything that the pool wants."""
    transmits = 0
    while (order := pool.next_order()) is not None:
        follow(order, open_sockets)
    while (transmit := pool.next_transmit()) is not None:
        assert transmit.source in open_sockets
        transmits += 1
    assert transmits <= 16
    while (order := pool.next_order()) is not None:
        follow(order, open_sockets)
    while pool.next_event() is not None:
        pass


def follow(order: OpenSocket | CloseSocket, open_sockets: set[Endpoint]) -> None:
    """Keep the books of the sockets."""
    if isinstance(order, OpenSocket):
        open_sockets.add(order.token)
    else:
        open_sockets.remove(order.token)


def find(pool: Pool, message: bytes, token: Endpoint) -> None:
    """Let the hot path agree with the slow one about what is ChannelData."""
    parcel = pool.locate(message, 0, len(message), token)
    try:
        _, payload = decode_channel_data(message)
    except MalformedPacket:
        assert parcel is None
    else:
        assert parcel is None or message[parcel.start : parcel.end] == payload
