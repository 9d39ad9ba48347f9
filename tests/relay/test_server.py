"""The doors of the machine, with and without a relay behind them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import DropReason
from p2ptun.relay.registry import Usage
from p2ptun.relay.server import Server
from p2ptun.relay.way import Inward, Outward
from p2ptun.stun.credential import StaticCredentials
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint, Transport
from tests.relay.world import ALICE, CONFIG, LISTENER, NOW, PEER, UDP_TRANSPORT, USERS, Client, World, config

ALLOCATE = encode_message(Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12), (UDP_TRANSPORT,)))
BINDING = encode_message(Message(Method.BINDING, MessageClass.REQUEST, TransactionId(b"t" * 12)))


def without_relay(settings: ServerConfig = CONFIG, has_credentials: bool = False) -> Server:
    credentials = StaticCredentials(USERS, settings.realm) if has_credentials else None
    server = Server(settings, credentials, lambda count: bytes(count))
    server.add_listener(LISTENER)
    return server


@pytest.mark.parametrize("server", [without_relay(), without_relay(replace(CONFIG, relay_addresses=()), True)])
def test_there_is_no_relay_without_credentials_or_addresses(server: Server) -> None:
    server.receive_datagram(ALLOCATE, ALICE, LISTENER, NOW)
    server.receive_datagram(encode_channel_data(0x4000, b"x", False), ALICE, LISTENER, NOW)
    server.receive_relayed(b"x", PEER, Endpoint.of("203.0.113.1", 50000), NOW)
    server.connection_closed(ALICE, LISTENER, NOW)
    server.handle_timeout(NOW)
    assert server.drops[DropReason.NO_RELAY] == 2
    assert (server.next_transmit(), server.next_order(), server.next_event(), server.next_timeout()) == (None,) * 4
    assert server.outward(ALICE, LISTENER, 0x4000) is None
    assert server.inward(Endpoint.of("203.0.113.1", 50000), PEER) is None
    assert (server.allocation_count, server.ways_version, server.relayed, server.usage()) == (0, 0, (0, 0), Usage())
    with pytest.raises(LocalProtocolError):
        server.relay_opened(1, LISTENER, NOW)
    with pytest.raises(LocalProtocolError):
        server.relay_refused(1, NOW)


def test_stun_is_served_without_a_relay() -> None:
    server = without_relay()
    server.receive_datagram(BINDING, ALICE, LISTENER, NOW)
    assert server.next_transmit() is not None


@pytest.mark.parametrize(
    ("data", "source", "local", "reason"),
    [
        (BINDING, ALICE, PEER, DropReason.UNKNOWN_LISTENER),
        (BINDING, replace(ALICE, port=0), LISTENER, DropReason.BAD_SOURCE),
        (b"", ALICE, LISTENER, DropReason.MALFORMED),
        (b"\x80" * 30, ALICE, LISTENER, DropReason.MALFORMED),
        (BINDING[:-1], ALICE, LISTENER, DropReason.MALFORMED),
        (b"\x01\x01" + BINDING[2:20], ALICE, LISTENER, DropReason.RESPONSE),
        (b"\x40", ALICE, LISTENER, DropReason.MALFORMED),
    ],
)
def test_what_makes_no_sense_is_dropped(data: bytes, source: Endpoint, local: Endpoint, reason: DropReason) -> None:
    world = World()
    if reason is DropReason.RESPONSE:
        data = data[:2] + b"\x00\x00" + data[4:]
    assert world.deliver(data, source, local) == []
    assert world.server.drops == {reason: 1}


def test_the_ways_of_a_channel() -> None:
    world = World()
    client = Client(world)
    relayed = client.allocate()
    before = world.server.ways_version
    assert client.bind(0x4000, PEER) == 0
    assert world.server.ways_version == before + 1
    outward, inward = world.server.outward(ALICE, LISTENER, 0x4000), world.server.inward(relayed, PEER)
    assert isinstance(outward, Outward)
    assert isinstance(inward, Inward)
    assert (outward.relayed, outward.peer) == (relayed, PEER)
    assert (inward.client, inward.local, inward.number, inward.is_padded) == (ALICE, LISTENER, 0x4000, False)
    assert world.server.outward(ALICE, LISTENER, 0x4001) is None
    assert world.server.inward(relayed, replace(PEER, port=1)) is None
    client.bind(0x4000, PEER)
    client.permit(PEER)
    assert world.server.ways_version == before + 1
    world.sleep(301.0)
    assert world.server.outward(ALICE, LISTENER, 0x4000) is None
    assert world.server.ways_version == before + 2


def test_the_ways_of_a_stream_are_padded() -> None:
    world = World()
    client = Client(world, replace(ALICE, transport=Transport.TCP))
    relayed = client.allocate()
    client.bind(0x4000, PEER)
    inward = world.server.inward(relayed, PEER)
    assert inward is not None
    assert inward.is_padded


def test_batches_are_counted_and_capped() -> None:
    world = World(config(allocation_rate=1000))
    client = Client(world)
    client.allocate()
    client.bind(0x4000, PEER)
    way = world.server.outward(ALICE, LISTENER, 0x4000)
    assert way is not None
    assert world.server.count_relayed(way, 3, 3000, world.now)
    assert not world.server.count_relayed(way, 5, 100, world.now + 1.0)
    assert world.server.drops[DropReason.BANDWIDTH] == 5
    assert world.server.relayed == (3, 3000)
    client.refresh(0)
    ended = world.events[-1]
    assert (getattr(ended, "packets", 0), getattr(ended, "bytes", 0)) == (3, 3000)


def test_refusals_are_counted() -> None:
    world = World()
    client = Client(world)
    client.refresh()
    client.allocate()
    client.permit()
    assert world.server.refusals == {437: 1, 400: 1}


@given(st.binary(max_size=200), st.sampled_from([ALICE, replace(ALICE, transport=Transport.TCP)]))
def test_random_bytes_change_nothing(data: bytes, client: Endpoint) -> None:
    world = World()
    local = LISTENER if client.transport is Transport.UDP else replace(LISTENER, transport=Transport.TCP)
    sent = world.deliver(data, client, local)
    assert sent == [] or data[:1] < b"\x40"
    assert world.orders == []
    assert world.server.next_timeout() is None


@given(st.binary(max_size=200))
def test_random_bytes_from_peers_change_nothing(data: bytes) -> None:
    world = World()
    client = Client(world)
    relayed = client.allocate()
    before = world.server.usage()
    assert world.hear(data, PEER, relayed) == []
    assert world.server.usage() == before


def test_a_signed_request_that_is_cut_or_changed_does_nothing() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    client.refresh()
    before = world.server.usage()
    whole = client.sign(Method.REFRESH, *client.signed.message.attributes[:0])
    for length in range(len(whole)):
        assert world.deliver(whole[:length], ALICE) == []
        fixed = bytearray(whole[:length])
        if length >= 20:
            fixed[2:4] = (length - 20).to_bytes(2, "big")
            world.deliver(bytes(fixed), ALICE)
    for at in range(len(whole)):
        world.deliver(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :], ALICE)
    assert world.server.usage() == before
    assert world.server.allocation_count == 1


def test_time_early_late_or_twice_is_harmless() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    client.bind(0x4000, PEER)
    world.server.handle_timeout(NOW)
    assert world.server.usage().ways == 1
    world.server.handle_timeout(NOW + 10_000.0)
    world.server.handle_timeout(NOW + 10_000.0)
    assert world.server.usage() == Usage()
    assert world.server.next_timeout() is None


def test_addresses_of_this_machine_may_change() -> None:
    server = Server(ServerConfig(own_addresses=frozenset({ip_address("203.0.113.8")})), None, bytes)
    server.set_own_addresses(frozenset({ip_address("203.0.113.9")}))
    assert [server._guard.allows_address(ip_address(f"203.0.113.{each}")) for each in (8, 9)] == [True, False]
