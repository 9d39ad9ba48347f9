"""The machine: STUN on every listener, and TURN for those who prove that they may."""

from __future__ import annotations

from collections import Counter

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import DropReason, RelayEvent
from p2ptun.relay.guard import Guard
from p2ptun.relay.limiter import Limiter
from p2ptun.relay.order import Order
from p2ptun.relay.outbox import Outbox
from p2ptun.relay.reflector import Reflector
from p2ptun.relay.registry import Usage
from p2ptun.relay.service import RelayService
from p2ptun.relay.way import Inward, Outward
from p2ptun.stun.credential import CredentialStore
from p2ptun.stun.message import Message, MessageClass, Method, decode_message
from p2ptun.stun.turn import is_channel_data
from p2ptun.types import Endpoint, IPAddress, RandomBytes, Transmit


class Server:
    """The STUN and TURN server.

    A listener is known by its local endpoint, transport included; a client by its endpoint, of the same transport. Over
    a stream each frame comes alone, a whole STUN message or ChannelData, padded or not; what `next_transmit` gives for
    a stream is written as it is. A relay socket is known by its relayed endpoint (UDP).

    Every bound channel has two ways, `outward` and `inward`, that need no further thought: the owner's fast path looks
    them up, asks `count_relayed` and sends. What it doesn't find goes through `receive_datagram` and
    `receive_relayed`, which do everything. Ways disappear in `handle_timeout`: call it when it is due.
    """

    def __init__(self, config: ServerConfig, credentials: CredentialStore | None, random_bytes: RandomBytes) -> None:
        """Without credentials, or without relay addresses, it serves STUN only.

        Raises:
            ConfigError: the realm can't be used with credentials.
        """
        limits = config.limits
        self._outbox = Outbox(Limiter(limits.unauthenticated_rate, limits.unauthenticated_burst, random_bytes))
        self._guard = Guard(config)
        self._reflector = Reflector()
        self._relay: RelayService | None = None
        if credentials is not None and config.relay_addresses:
            self._relay = RelayService(config, credentials, random_bytes, self._guard, self._outbox)

    # Getters

    @property
    def drops(self) -> Counter[DropReason]:
        """What was dropped without an answer, by reason."""
        return self._outbox.drops

    @property
    def refusals(self) -> Counter[int]:
        """What was refused, by error code."""
        return self._outbox.refusals

    @property
    def allocation_count(self) -> int:
        """How many allocations there are."""
        return len(self._relay.registry) if self._relay else 0

    def usage(self) -> Usage:
        """Count what exists, for metrics; it takes a moment when there is much."""
        return self._relay.registry.usage() if self._relay else Usage()

    @property
    def ways_version(self) -> int:
        """Counts the changes of what `outward` and `inward` answer: whoever caches answers drops them when it moves."""
        return self._relay.registry.ways.version if self._relay else 0

    @property
    def relayed(self) -> tuple[int, int]:
        """Packets and bytes of application data that were relayed, both ways together."""
        return (self._relay.whole.packets, self._relay.whole.bytes) if self._relay else (0, 0)

    # Commands

    def add_listener(self, local: Endpoint, alternate: Endpoint | None = None) -> None:
        """Serve clients that come to the socket bound to `local`.

        `alternate` is OTHER-ADDRESS (RFC 5780 7.4): the listener that has another address *and* another port. With it,
        `local.address:alternate.port` and `alternate.address:local.port` are the two listeners in between. All four
        are to be added; until then CHANGE-REQUEST gets 420. Over streams it only tells clients where to ask next.
        """
        self._reflector.add(local, alternate)
        self._guard.add_listener(local)

    def set_own_addresses(self, addresses: frozenset[IPAddress]) -> None:
        """Keep clients from these addresses of this machine from now on, in place of those of the configuration."""
        self._guard.set_machine(addresses)

    def relay_opened(self, order_id: int, relayed: Endpoint, now: float) -> None:
        """Take note that the socket of an `OpenRelay` is bound.

        Raises:
            LocalProtocolError: it wasn't ordered.
        """
        self._ordered().allocator.relay_opened(order_id, relayed, now)

    def relay_refused(self, order_id: int, now: float) -> None:
        """Take note that the socket of an `OpenRelay` couldn't be bound.

        Raises:
            LocalProtocolError: it wasn't ordered.
        """
        self._ordered().allocator.relay_refused(order_id, now)

    def connection_closed(self, client: Endpoint, local: Endpoint, now: float) -> None:
        """Take note that a client's stream has ended, and with it its allocation (RFC 8656 3.1)."""
        if self._relay:
            self._relay.connection_closed(client, local)

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a datagram, or a frame of a stream, from a client. Untrusted."""
        if local not in self._reflector:
            self._outbox.drop(DropReason.UNKNOWN_LISTENER)
        elif source.port == 0:
            self._outbox.drop(DropReason.BAD_SOURCE)
        elif not is_channel_data(data):
            self._receive_stun(data, source, local, now)
        elif self._relay is None:
            self._outbox.drop(DropReason.NO_RELAY)
        else:
            self._relay.carrier.receive_channel_data(data, source, local, now)

    def receive_relayed(self, data: bytes, peer: Endpoint, relayed: Endpoint, now: float) -> None:
        """Take a datagram that a peer sent to a relay socket. Untrusted."""
        if self._relay:
            self._relay.carrier.receive_relayed(data, peer, relayed, now)

    def handle_timeout(self, now: float) -> None:
        """End what has expired."""
        if self._relay:
            self._relay.registry.handle_timeout(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give something to send: from a listener to a client, or from a relay socket to a peer."""
        return self._outbox.transmits.popleft() if self._outbox.transmits else None

    def next_order(self) -> Order | None:
        """Give a socket to open or to close."""
        return self._outbox.orders.popleft() if self._outbox.orders else None

    def next_event(self) -> RelayEvent | None:
        """Give what happened, for logs and metrics."""
        return self._outbox.events.popleft() if self._outbox.events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` is to be called."""
        return self._relay.registry.next_timeout() if self._relay else None

    # The fast path

    def outward(self, client: Endpoint, local: Endpoint, number: int) -> Outward | None:
        """Tell where ChannelData from a client goes; None where it is to be given to `receive_datagram`."""
        return self._relay.registry.ways.outward(client, local, number) if self._relay else None

    def inward(self, relayed: Endpoint, peer: Endpoint) -> Inward | None:
        """Tell by which channel a peer's datagram goes; None where it is to be given to `receive_relayed`."""
        return self._relay.registry.ways.inward(relayed, peer) if self._relay else None

    def count_relayed(self, way: Outward | Inward, packets: int, size: int, now: float) -> bool:
        """Count a batch of `size` bytes of application data before it is sent; False: drop it, a cap is reached."""
        if way.meter.count(packets, size, now):
            return True
        self._outbox.drop(DropReason.BANDWIDTH, packets)
        return False

    def _receive_stun(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        try:
            message = decode_message(data)
        except MalformedPacket:
            self._outbox.drop(DropReason.MALFORMED)
            return
        if message.is_response:
            self._outbox.drop(DropReason.RESPONSE)
        elif message.method is Method.BINDING:
            self._receive_binding(message, source, local, now)
        elif self._relay is None:
            self._outbox.drop(DropReason.NO_RELAY)
        elif message.message_class is MessageClass.REQUEST:
            self._relay.receive_request(message, source, local, now)
        else:
            self._relay.carrier.receive_indication(message, source, local, now)

    def _receive_binding(self, message: Message, source: Endpoint, local: Endpoint, now: float) -> None:
        if message.message_class is MessageClass.REQUEST:
            answer = self._reflector.answer(message, source, local)
            self._outbox.answer_stranger(answer, source, len(message.raw), now)
        else:
            self._outbox.drop(DropReason.INDICATION)

    def _ordered(self) -> RelayService:
        if self._relay is None:
            raise LocalProtocolError("a server without a relay orders no sockets")
        return self._relay
