"""Strangers in numbers, and clients that ask for too much."""

from __future__ import annotations

import gc
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from p2ptun.relay.event import DropReason
from p2ptun.relay.registry import Usage
from p2ptun.stun.attribute import EVEN_PORT, XOR_PEER_ADDRESS
from p2ptun.stun.integrity import HMAC_SHA1, Integrity
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint, Transport
from tests.relay.world import (
    ALICE,
    BOTH_FAMILIES,
    PEER,
    STREAM_LISTENER,
    UDP_TRANSPORT,
    Client,
    World,
    code_of,
    config,
)

ATTEMPTS = 10_000
BARE = Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12), (UDP_TRANSPORT,))
REQUEST = encode_message(BARE)
SIGNED = encode_message(BARE, Integrity(HMAC_SHA1, b"guess"))


def flood(world: World, data: bytes, sources: list[Endpoint]) -> int:
    """Let every source ask once, and give the bytes of all answers; nothing else may come of it."""
    gc.collect()
    before = len(gc.get_objects())
    answered = 0
    for source in sources:
        for transmit in world.deliver(data, source):
            assert transmit.destination == source
            answered += len(transmit.payload)
        world.sent.clear()
        world.events.clear()
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert world.orders == []
    assert world.server.usage() == Usage()
    assert world.server.next_timeout() is None
    return answered


@pytest.mark.parametrize("data", [REQUEST, SIGNED], ids=["unsigned", "badly signed"])
def test_ten_thousand_attempts_from_one_address(data: bytes) -> None:
    world = World()
    sources = [Endpoint(ALICE.address, 1 + number) for number in range(ATTEMPTS)]
    assert flood(world, data, sources) <= ATTEMPTS * len(data)
    is_answer_longer = len(world.deliver(data, Endpoint(PEER.address, 7))[0].payload) > len(data)
    assert (world.server.drops[DropReason.RATE_LIMIT] > ATTEMPTS * 8 // 10) is is_answer_longer


def test_slow_attempts_from_one_address_bring_no_more_than_they_cost() -> None:
    world, answered = World(), 0
    for number in range(ATTEMPTS):
        answered += sum(len(each.payload) for each in world.deliver(REQUEST, Endpoint(ALICE.address, 1 + number)))
        world.now += 25.0 / ATTEMPTS
    assert answered <= ATTEMPTS * len(REQUEST)


def test_ten_thousand_attempts_from_forged_addresses() -> None:
    world = World()
    sources = [Endpoint(IPv4Address(0x08000000 + number * 7919), 1) for number in range(ATTEMPTS)]
    answered = flood(world, REQUEST, sources)
    assert answered <= ATTEMPTS * 160  # one challenge each: nobody is hit harder than by one small packet
    assert world.server.drops[DropReason.RATE_LIMIT] == 0


def test_a_victim_is_sent_no_more_than_the_rate() -> None:
    world = World(config(unauthenticated_rate=100, unauthenticated_burst=2000))
    answered = 0
    for _ in range(600):
        answered += sum(len(transmit.payload) for transmit in world.deliver(REQUEST, ALICE))
        world.now += 0.1
    assert answered <= 600 * len(REQUEST) + 2000 + 60 * 100


def test_a_stream_has_shown_where_it_is() -> None:
    world = World()
    client = Endpoint(ALICE.address, 1, Transport.TCP)
    answers = [world.deliver(REQUEST, client, STREAM_LISTENER) for _ in range(1000)]
    assert all(len(sent) == 1 for sent in answers)


def test_who_proves_himself_is_answered_whatever_strangers_do() -> None:
    world = World(config(unauthenticated_rate=1, unauthenticated_burst=300))
    client = Client(world)
    client.allocate()
    for _ in range(100):
        world.deliver(REQUEST, Endpoint(ALICE.address, 5))
    assert world.server.drops[DropReason.RATE_LIMIT] > 90
    assert code_of(client.refresh()) == 0


def test_one_user_can_not_take_all() -> None:
    world = World(config(user_allocations=3, permissions=4, channels=4))
    clients = [Client(world, Endpoint(ALICE.address, port)) for port in range(1, 10)]
    codes = [code_of(client.ask(Method.ALLOCATE, UDP_TRANSPORT, BOTH_FAMILIES)) for client in clients]
    assert codes == [0] * 3 + [486] * 6
    for client in clients[:3]:
        for number in range(20):
            client.bind(0x4000 + number, Endpoint(IPv4Address(0x08080800 + number), 1))
        for number in range(20):
            client.permit(Endpoint(IPv4Address(0x08080900 + number), 1))
    usage = world.server.usage()
    assert (usage.allocations, usage.permissions, usage.channels, usage.ports) == (3, 12, 12, 6)


def test_reserved_ports_can_not_be_hoarded() -> None:
    world = World(config(user_allocations=4))
    for port in range(1, 50):
        client = Client(world, Endpoint(ALICE.address, port))
        if code_of(client.ask(Method.ALLOCATE, UDP_TRANSPORT, (EVEN_PORT, True))) == 0:
            client.refresh(0)
    assert world.server.usage().ports <= 4
    world.sleep(31.0)
    assert world.server.usage() == Usage()


def test_garbage_on_every_port() -> None:
    world = World()
    client = Client(world)
    relayed = client.allocate()
    client.bind(0x4000, PEER)
    before = world.server.usage()
    for _ in range(2000):
        data = world.random.randbytes(world.random.randrange(200))
        world.deliver(data, ALICE)
        world.deliver(data, Endpoint(ALICE.address, 9, Transport.TCP), STREAM_LISTENER)
        assert world.hear(data, Endpoint.of("192.0.2.77", 1), relayed) == []
    assert world.server.usage() == before
    assert client.deliver(encode_channel_data(0x4000, b"still here", False)) != []


def test_a_request_with_a_hundred_peers_is_one_request() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    peers = [Endpoint(IPv4Address(0x08080800 + number), 1) for number in range(100)]
    client.signed = client.signer.sign(
        replace(BARE, method=Method.CREATE_PERMISSION, attributes=tuple((XOR_PEER_ADDRESS, peer) for peer in peers))
    )
    assert client.deliver(client.signed.encode()) == []  # more attributes than are read
    assert world.server.usage().permissions == 0
