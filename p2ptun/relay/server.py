"""The machine: STUN on every listener, and TURN for those who prove that they may."""

from __future__ import annotations

from collections import Counter

from p2ptun.errors import LocalProtocolError
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import DropReason, RelayEvent
from p2ptun.relay.order import Order
from p2ptun.relay.way import Inward, Outward
from p2ptun.stun.codec import IcmpError
from p2ptun.stun.credential import CredentialStore
from p2ptun.types import Endpoint, RandomBytes, Transmit


class Server:
    """The STUN and TURN server.

    A listener is known by its local endpoint, transport included; a client by its endpoint, of the same transport. Over
    a stream each frame comes alone, a whole STUN message or ChannelData, padded or not; what `next_transmit` gives for a
    stream is written as it is. A relay socket is known by its relayed endpoint (UDP).

    Every bound channel has two ways, `outward` and `inward`, that need no further thought: the owner's fast path looks
    them up, asks `count_relayed` and sends. What it doesn't find goes through `receive_datagram` and
    `receive_relayed`, which do everything. Ways disappear in `handle_timeout`: call it when it is due.
    """

    def __init__(self, config: ServerConfig, credentials: CredentialStore | None, random_bytes: RandomBytes) -> None:
        """Without credentials, or without relay addresses, it serves STUN only.

        Raises:
            ConfigError: the realm can't be used with credentials.
        """
        self.drops: Counter[DropReason] = Counter()
        self.refusals: Counter[int] = Counter()

    # Getters

    @property
    def allocation_count(self) -> int:
        """How many allocations there are."""
        raise LocalProtocolError("not written yet")

    @property
    def ways_version(self) -> int:
        """Counts the changes of what `outward` and `inward` answer: whoever caches answers drops them when it moves."""
        raise LocalProtocolError("not written yet")

    @property
    def relayed(self) -> tuple[int, int]:
        """Packets and bytes of application data that were relayed, both ways together."""
        raise LocalProtocolError("not written yet")

    # Commands

    def add_listener(self, local: Endpoint, alternate: Endpoint | None = None) -> None:
        """Serve clients that come to the socket bound to `local`.

        `alternate` is OTHER-ADDRESS (RFC 5780 7.4): the listener that has another address *and* another port. With it,
        `local.address:alternate.port` and `alternate.address:local.port` are the two listeners in between. All four
        are to be added; until then CHANGE-REQUEST gets 420. Over streams it only tells clients where to ask next.
        """

    def relay_opened(self, order_id: int, relayed: Endpoint, now: float) -> None:
        """Take note that the socket of an `OpenRelay` is bound."""

    def relay_refused(self, order_id: int, now: float) -> None:
        """Take note that the socket of an `OpenRelay` couldn't be bound."""

    def connection_closed(self, client: Endpoint, local: Endpoint, now: float) -> None:
        """Take note that a client's stream has ended, and with it its allocation (RFC 8656 3.1)."""

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a datagram, or a frame of a stream, from a client. Untrusted."""

    def receive_relayed(self, data: bytes, peer: Endpoint, relayed: Endpoint, now: float) -> None:
        """Take a datagram that a peer sent to a relay socket. Untrusted."""

    def record_icmp(self, relayed: Endpoint, peer: Endpoint, error: IcmpError, now: float) -> None:
        """Tell the client what ICMP said about a datagram from `relayed` to `peer` (RFC 8656 11.5). Untrusted."""

    def handle_timeout(self, now: float) -> None:
        """End what has expired."""

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give something to send: from a listener to a client, or from a relay socket to a peer."""

    def next_order(self) -> Order | None:
        """Give a socket to open or to close."""

    def next_event(self) -> RelayEvent | None:
        """Give what happened, for logs and metrics."""

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` is to be called."""

    # The fast path

    def outward(self, client: Endpoint, local: Endpoint, number: int) -> Outward | None:
        """Tell where ChannelData from a client goes; None where it is to be given to `receive_datagram`."""

    def inward(self, relayed: Endpoint, peer: Endpoint) -> Inward | None:
        """Tell by which channel a peer's datagram goes; None where it is to be given to `receive_relayed`."""

    def count_relayed(self, way: Outward | Inward, packets: int, size: int, now: float) -> bool:
        """Count a batch of `size` bytes of application data before it is sent; False: drop it, a cap is reached."""
        raise LocalProtocolError("not written yet")
