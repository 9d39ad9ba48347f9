"""A server with its sockets played by hand, and clients that know how to authenticate."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from p2ptun.relay.config import Limits, ServerConfig
from p2ptun.relay.event import RelayEvent, RequestRefused
from p2ptun.relay.order import CloseRelay, OpenRelay, Order
from p2ptun.relay.server import Server
from p2ptun.stun.attribute import (
    ADDITIONAL_ADDRESS_FAMILY,
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    LIFETIME,
    REQUESTED_TRANSPORT,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.credential import (
    CredentialStore,
    LongTermClient,
    LongTermCredential,
    StaticCredentials,
    Verdict,
)
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    decode_message,
    encode_message,
    is_stun,
    new_transaction_id,
)
from p2ptun.types import Endpoint, Transmit, Transport

NOW = 1000.0
REALM = "example.org"
USERS = {"alice": "secret", "bob": "hidden"}
LISTENER = Endpoint.of("203.0.113.1", 3478)
STREAM_LISTENER = Endpoint.of("203.0.113.1", 3478, Transport.TCP)
RELAY4 = IPv4Address("203.0.113.1")
RELAY6 = IPv6Address("2001:db8::1")
ALICE = Endpoint.of("198.51.100.7", 40000)
BOB = Endpoint.of("198.51.100.8", 40000)
PEER = Endpoint.of("192.0.2.9", 5000)
PEER6 = Endpoint.of("2001:db8:9::9", 5000)
CONFIG = ServerConfig(realm=REALM, relay_addresses=(RELAY4, RELAY6), limits=Limits(lifetime=3600))
UDP_TRANSPORT: AttributeValue = (REQUESTED_TRANSPORT, 17)
BOTH_FAMILIES: AttributeValue = (ADDITIONAL_ADDRESS_FAMILY, 2)


def config(**limits: int) -> ServerConfig:
    """The usual configuration with some limits changed."""
    return replace(CONFIG, limits=replace(CONFIG.limits, **limits))


def code_of(response: Message) -> int:
    """The error code of a response; 0 for a success."""
    error = response.get(ERROR_CODE)
    return error.code if error else 0


class World:
    """A server, its sockets, and a clock."""

    def __init__(
        self, settings: ServerConfig = CONFIG, credentials: CredentialStore | None = None, seed: int = 1
    ) -> None:
        self.random = random.Random(seed)
        store = credentials or StaticCredentials(USERS, settings.realm)
        self.server = Server(settings, store, self.random.randbytes)
        self.server.add_listener(LISTENER)
        self.server.add_listener(STREAM_LISTENER)
        self.now = NOW
        self.sockets: set[Endpoint] = set()
        self.refused_ports = 0  # how many orders to open are refused from now on
        self.held: list[OpenRelay] | None = None  # a list: orders to open are kept there
        self.orders: list[Order] = []
        self.events: list[RelayEvent] = []
        self.sent: list[Transmit] = []

    def deliver(self, data: bytes, client: Endpoint, local: Endpoint = LISTENER) -> list[Transmit]:
        """Let the server receive something, and give what it sends then."""
        self.server.receive_datagram(data, client, local, self.now)
        return self.drain()

    def hear(self, data: bytes, peer: Endpoint, relayed: Endpoint) -> list[Transmit]:
        """Let a relay socket receive something."""
        self.server.receive_relayed(data, peer, relayed, self.now)
        return self.drain()

    def sleep(self, seconds: float) -> list[Transmit]:
        """Let time pass, and the server do what is due meanwhile."""
        until = self.now + seconds
        while (at := self.server.next_timeout()) is not None and at <= until:
            assert at > self.now
            self.now = at
            self.server.handle_timeout(at)
            after = self.server.next_timeout()
            assert after is None or after > at
        self.now = until
        return self.drain()

    def drain(self) -> list[Transmit]:
        """Do what is ordered, collect what happened."""
        sent = []
        while True:
            while (transmit := self.server.next_transmit()) is not None:
                sent.append(transmit)
            while (event := self.server.next_event()) is not None:
                self.events.append(event)
            order = self.server.next_order()
            if order is None:
                break
            self._obey(order)
        self.sent += sent
        return sent

    def release(self) -> list[Transmit]:
        """Open the sockets that were held back."""
        held, self.held = self.held or [], None
        for order in held:
            self._obey_open(order)
        return self.drain()

    def refusals(self) -> list[int]:
        """The codes of all refused requests that the owner was told of."""
        return [event.code for event in self.events if isinstance(event, RequestRefused)]

    def _obey(self, order: Order) -> None:
        self.orders.append(order)
        if isinstance(order, CloseRelay):
            self.sockets.remove(order.relayed)
        elif self.held is not None:
            self.held.append(order)
        else:
            self._obey_open(order)

    def _obey_open(self, order: OpenRelay) -> None:
        if self.refused_ports:
            self.refused_ports -= 1
            self.server.relay_refused(order.order_id, self.now)
            return
        assert order.relayed not in self.sockets
        self.sockets.add(order.relayed)
        self.server.relay_opened(order.order_id, order.relayed, self.now)


class Client:
    """A TURN client: what it asks it asks authenticated."""

    def __init__(
        self,
        world: World,
        endpoint: Endpoint = ALICE,
        user: str = "alice",
        password: str = "secret",  # noqa: S107 a made-up one
    ) -> None:
        self.world = world
        self.endpoint = endpoint
        self.local = LISTENER if endpoint.transport is Transport.UDP else STREAM_LISTENER
        self.signer = LongTermClient(LongTermCredential(user, password))
        self.relayed: tuple[Endpoint, ...] = ()

    def ask(self, method: Method, *attributes: AttributeValue) -> Message:
        """Ask, as often as the server challenges, and give the answer, whose seal is good."""
        for _ in range(3):
            (transmit,) = self.world.deliver(self.sign(method, *attributes), self.endpoint, self.local)
            response = self.judge(transmit)
            if response is not None:
                return response
        raise AssertionError("challenged for ever")

    def sign(self, method: Method, *attributes: AttributeValue) -> bytes:
        """Make a request."""
        transaction_id = new_transaction_id(self.world.random.randbytes)
        self.signed = self.signer.sign(Message(method, MessageClass.REQUEST, transaction_id, attributes))
        return self.signed.encode()

    def judge(self, transmit: Transmit) -> Message | None:
        """Read the answer to the latest request; None for a challenge."""
        assert (transmit.source, transmit.destination) == (self.local, self.endpoint)
        response = decode_message(transmit.payload)
        assert response.transaction_id == self.signed.message.transaction_id
        verdict = self.signer.judge(self.signed, response)
        assert verdict in (Verdict.RETRY, Verdict.ACCEPTED, Verdict.REJECTED), verdict
        return None if verdict is Verdict.RETRY else response

    def allocate(self, *attributes: AttributeValue) -> Endpoint:
        """Get an allocation; gives its first relayed address."""
        response = self.ask(Method.ALLOCATE, UDP_TRANSPORT, *attributes)
        assert code_of(response) == 0, response
        self.relayed = response.get_all(XOR_RELAYED_ADDRESS)
        return self.relayed[0]

    def refresh(self, lifetime: int | None = None, *attributes: AttributeValue) -> Message:
        """Refresh the allocation."""
        return self.ask(Method.REFRESH, *attributes, *(() if lifetime is None else ((LIFETIME, lifetime),)))

    def permit(self, *peers: Endpoint) -> int:
        """Ask for permissions; gives the error code, 0 for success."""
        return code_of(self.ask(Method.CREATE_PERMISSION, *((XOR_PEER_ADDRESS, peer) for peer in peers)))

    def bind(self, number: int, peer: Endpoint) -> int:
        """Bind a channel; gives the error code, 0 for success."""
        return code_of(self.ask(Method.CHANNEL_BIND, (CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, peer)))

    def send(self, peer: Endpoint, data: bytes, *attributes: AttributeValue) -> list[Transmit]:
        """Send data in an indication; gives what the server sends then."""
        values: tuple[AttributeValue, ...] = ((XOR_PEER_ADDRESS, peer), (DATA, data), *attributes)
        message = Message(Method.SEND, MessageClass.INDICATION, new_transaction_id(self.world.random.randbytes), values)
        return self.world.deliver(encode_message(message), self.endpoint, self.local)

    def deliver(self, data: bytes) -> list[Transmit]:
        """Send bytes as they are."""
        return self.world.deliver(data, self.endpoint, self.local)


def indicated(transmit: Transmit) -> tuple[Endpoint | None, bytes | None]:
    """Read a Data indication: peer and data."""
    assert is_stun(transmit.payload)
    message = decode_message(transmit.payload)
    assert (message.method, message.message_class) == (Method.DATA, MessageClass.INDICATION)
    return message.get(XOR_PEER_ADDRESS), message.get(DATA)
