"""Scripted TURN servers, and a world in which a pool talks with them: a clock, sockets by token, nothing real."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeVar

from p2ptun.stun.attribute import (
    CHANNEL_NUMBER,
    DATA,
    LIFETIME,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.credential import (
    Authenticated,
    LongTermCredential,
    LongTermServer,
    Refused,
    SecurityFeature,
    StaticCredentials,
)
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import Integrity
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.stun.turn import CHANNEL_COOLDOWN, CHANNEL_LIFETIME, is_channel_data
from p2ptun.turn.channel import Channel
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import Event, RelayGained
from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, RandomBytes, Transmit, Transport

START = 1000.0
REALM = "example.org"
ALICE = LongTermCredential("alice", "secret")
NOWHERE = IPv4Address(0)
MAPPED = Endpoint.of("198.51.100.9", 4321)
SECRET = bytes(range(32))

Script = Callable[[Message, Integrity | None], Message | None]
EventT = TypeVar("EventT")


def random_bytes_from(seed: int) -> RandomBytes:
    return random.Random(seed).randbytes


def server_at(address: str, transport: Transport = Transport.UDP, port: int = 3478, name: str = "") -> Server:
    return Server(Endpoint.of(address, port, transport), name or address)


def refuse(code: Code, *attributes: AttributeValue) -> Script:
    """Answer with an error, sealed as the request was."""
    return lambda request, _: error_response(request, code, *attributes)


@dataclass
class Relay:
    """One address of a server. `scripts` replaces what it does for a method; None there drops the request."""

    endpoint: Endpoint
    relayed: list[Endpoint] = field(default_factory=list)
    credentials: dict[str, str] | None = field(default_factory=lambda: {ALICE.username: ALICE.password})
    lifetime: int = 600
    features: SecurityFeature = SecurityFeature.PASSWORD_ALGORITHMS
    nonce_lifetime: float = 3600.0
    is_down: bool = False
    seals: bool = True
    scripts: dict[Method, Script] = field(default_factory=dict)
    seen: list[Message] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    numbers: dict[tuple[Endpoint | None, Endpoint], tuple[int, float]] = field(default_factory=dict)
    now: float = 0.0
    client: Endpoint | None = None
    made: int = 0

    def __post_init__(self) -> None:
        self.relayed = self.relayed or [Endpoint.of("203.0.113.77", 50000)]
        self.restart(SECRET)

    def restart(self, secret: bytes) -> None:
        """Forget every nonce."""
        store = StaticCredentials(self.credentials or {}, REALM)
        self.authenticator = LongTermServer(REALM, store, secret, self.features, self.nonce_lifetime)

    def requests(self, method: Method) -> list[Message]:
        """Everything of one method, in the order in which it came."""
        return [message for message in self.seen if message.method is method]

    def accepted(self, method: Method) -> list[Message]:
        """The same, without what was only there to be challenged."""
        return [message for message in self.requests(method) if message.macs or self.credentials is None]

    def receive(self, data: bytes, now: float, client: Endpoint | None = None) -> bytes | None:
        """Answer what came from a `client`, told by its token."""
        if self.is_down:
            return None
        self.client, self.now = client, now
        if is_channel_data(data):
            self.frames.append(data)
            return None
        request = decode_message(data)
        self.seen.append(request)
        if request.message_class is not MessageClass.REQUEST:
            return None
        integrity = None
        if self.credentials is not None:
            outcome = self.authenticator.authenticate(request, MAPPED, now)
            if isinstance(outcome, Refused):
                return encode_message(outcome.response)
            assert isinstance(outcome, Authenticated)
            integrity = outcome.integrity
        script = self.scripts.get(request.method, self.answer)
        response = script(request, integrity)
        return None if response is None else encode_message(response, integrity if self.seals else None)

    def answer(self, request: Message, _: Integrity | None) -> Message | None:
        """Do what is asked for."""
        match request.method:
            case Method.ALLOCATE:
                self.made += 1
                relayed = [Endpoint(each.address, each.port + self.made - 1) for each in self.relayed]
                attributes: list[AttributeValue] = [(XOR_RELAYED_ADDRESS, each) for each in relayed]
                attributes += [(LIFETIME, self.lifetime), (XOR_MAPPED_ADDRESS, MAPPED)]
                return success_response(request, *attributes)
            case Method.REFRESH:
                asked = request.get(LIFETIME)
                return success_response(request, (LIFETIME, self.lifetime if asked is None else asked))
            case Method.CHANNEL_BIND:
                peer, number = request.get(XOR_PEER_ADDRESS), request.get(CHANNEL_NUMBER)
                assert peer is not None
                assert number is not None
                self.bind(peer, number)
                return success_response(request)
            case Method.CREATE_PERMISSION:
                return success_response(request)
        raise AssertionError(request)

    def bind(self, peer: Endpoint, number: int) -> None:
        """Bind a channel as RFC 8656 12.2 and 12.3 want it: until it is free again, nobody else's and no other."""
        self.numbers = {key: bound for key, bound in self.numbers.items() if self.now < bound[1]}
        bound = {who: taken for (client, who), (taken, _) in self.numbers.items() if client == self.client}
        assert bound.get(peer, number) == number
        assert number not in {taken for who, taken in bound.items() if who != peer}
        self.numbers[self.client, peer] = (number, self.now + CHANNEL_LIFETIME + CHANNEL_COOLDOWN)


def indication(peer: Endpoint, payload: bytes, *more: AttributeValue) -> bytes:
    """Make a Data indication."""
    attributes: tuple[AttributeValue, ...] = ((XOR_PEER_ADDRESS, peer), (DATA, payload), *more)
    return encode_message(Message(Method.DATA, MessageClass.INDICATION, TransactionId(bytes(12)), attributes))


class World:
    """A pool, the servers it can reach, and the clock."""

    def __init__(self, *relays: Relay, seed: int = 1, config: PoolConfig | None = None) -> None:
        self.now = START
        self.pool = Pool(random_bytes_from(seed), config or PoolConfig())
        self.relays = {
            (relay.endpoint.address, relay.endpoint.port, relay.endpoint.transport): relay for relay in relays
        }
        self.sockets: dict[Endpoint, Server] = {}
        self.opened: list[OpenSocket] = []
        self.opened_at: list[float] = []
        self.closed: list[Endpoint] = []
        self.sent: list[Transmit] = []
        self.events: list[Event] = []

    def add(self, *servers: Server, credential: LongTermCredential | None = ALICE, end: bool = True) -> None:
        for server in servers:
            self.pool.add_server(server, credential, None, self.now)
        if end:
            self.pool.end_of_servers(self.now)
        self.flush()

    def flush(self) -> None:
        """Carry everything until nobody has anything to say."""
        while self._take_orders() + self._carry():
            pass
        while (event := self.pool.next_event()) is not None:
            self.events.append(event)

    def _take_orders(self) -> int:
        count = 0
        while (order := self.pool.next_order()) is not None:
            count += 1
            if isinstance(order, OpenSocket):
                assert order.token not in self.sockets
                assert order.token.transport is order.server.endpoint.transport
                self.sockets[order.token] = order.server
                self.opened.append(order)
                self.opened_at.append(self.now)
            else:
                assert isinstance(order, CloseSocket)
                del self.sockets[order.token]
                self.closed.append(order.token)
        return count

    def _carry(self) -> int:
        count = 0
        while (transmit := self.pool.next_transmit()) is not None:
            count += 1
            self.sent.append(transmit)
            assert self.sockets[transmit.source].endpoint == transmit.destination
            reply = self._reach(transmit)
            if reply is not None:
                self.pool.receive_datagram(reply, transmit.destination, transmit.source, self.now)
        return count

    def _reach(self, transmit: Transmit) -> bytes | None:
        there = transmit.destination
        relay = self.relays.get((there.address, there.port, there.transport))
        return relay.receive(transmit.payload, self.now, transmit.source) if relay else None

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (timeout := self.pool.next_timeout()) is not None and timeout <= until:
            assert timeout > self.now - 1e-9
            assert self.pool.next_timer
            self.now = max(self.now, timeout)
            self.pool.handle_timeout(self.now)
            following = self.pool.next_timeout()
            assert following is None or following > self.now
            self.flush()
        self.now = until

    def deliver(self, data: bytes, token: Endpoint | None = None) -> None:
        """Let the server behind a socket, the first unless told, send something."""
        token = token or next(iter(self.sockets))
        self.pool.receive_datagram(data, self.sockets[token].endpoint, token, self.now)
        self.flush()

    def take(self, kind: type[EventT]) -> list[EventT]:
        """Take the events of one kind."""
        taken: list[EventT] = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken

    @property
    def relayed(self) -> list[Endpoint]:
        """All addresses that were gained."""
        return [event.relayed for event in self.events if isinstance(event, RelayGained)]

    def token_of(self, relayed: Endpoint) -> Endpoint:
        """Tell the socket behind an address, by asking for a channel."""
        channel = next(
            self.pool.channel(relayed, peer) for peer in (PEER, OTHER_PEER) if self.pool.channel(relayed, peer)
        )
        assert isinstance(channel, Channel)
        return channel.token


PEER, OTHER_PEER = Endpoint.of("192.0.2.50", 7000), Endpoint.of("192.0.2.51", 7000)
SIXTH_PEER = Endpoint.of("2001:db8::50", 7000)
