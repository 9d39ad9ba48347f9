"""Data, one datagram at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.relay.carrier import LONGEST_DATA, LONGEST_DATAGRAM
from p2ptun.relay.event import DropReason
from p2ptun.stun.attribute import DATA, DONT_FRAGMENT, REQUESTED_ADDRESS_FAMILY, XOR_PEER_ADDRESS
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint, Transmit, Transport
from tests.relay.world import (
    ALICE,
    BOB,
    BOTH_FAMILIES,
    LISTENER,
    PEER,
    PEER6,
    RELAY4,
    Client,
    World,
    config,
    indicated,
)

OTHER = Endpoint.of("192.0.2.10", 5000)


def permitted(world: World | None = None, endpoint: Endpoint = ALICE) -> Client:
    client = Client(world or World(), endpoint)
    client.allocate()
    assert client.permit(PEER) == 0
    return client


def bound(world: World | None = None, endpoint: Endpoint = ALICE) -> Client:
    client = permitted(world, endpoint)
    assert client.bind(0x4000, PEER) == 0
    return client


def indication(method: Method, *attributes: tuple[object, object]) -> bytes:
    message = Message(method, MessageClass.INDICATION, TransactionId(b"i" * 12), attributes)  # type: ignore[arg-type]
    return encode_message(message)


# With indications


def test_data_goes_to_a_permitted_peer_and_back() -> None:
    client = permitted()
    (relayed,) = client.relayed
    assert client.send(PEER, b"ping") == [Transmit(b"ping", relayed, PEER)]
    (transmit,) = client.world.hear(b"pong", PEER, relayed)
    assert (transmit.source, transmit.destination) == (LISTENER, ALICE)
    assert indicated(transmit) == (PEER, b"pong")
    assert client.world.server.relayed == (2, 8)


def test_an_empty_datagram_is_a_datagram() -> None:
    client = permitted()
    assert client.send(PEER, b"") == [Transmit(b"", client.relayed[0], PEER)]
    assert indicated(client.world.hear(b"", PEER, client.relayed[0])[0]) == (PEER, b"")


def test_ipv6_goes_through_its_own_relayed_address() -> None:
    client = Client(World())
    client.allocate(BOTH_FAMILIES)
    assert client.permit(PEER, PEER6) == 0
    assert client.send(PEER6, b"six") == [Transmit(b"six", client.relayed[1], PEER6)]
    assert client.send(PEER, b"four") == [Transmit(b"four", client.relayed[0], PEER)]
    (transmit,) = client.world.hear(b"six", PEER6, client.relayed[1])
    assert indicated(transmit) == (PEER6, b"six")


def test_peers_without_permission_neither_get_nor_give() -> None:
    client = permitted()
    assert client.send(OTHER, b"x") == []
    assert client.world.hear(b"x", OTHER, client.relayed[0]) == []
    assert client.world.server.drops[DropReason.NO_PERMISSION] == 2
    assert client.world.server.relayed == (0, 0)


def test_an_expired_permission_is_none_even_before_its_timer() -> None:
    client = permitted()
    client.world.now += 300.0
    assert client.send(PEER, b"x") == []
    assert client.world.hear(b"x", PEER, client.relayed[0]) == []


def test_without_an_allocation_nothing_goes_anywhere() -> None:
    world = World()
    assert Client(world).send(PEER, b"x") == []
    assert Client(world).deliver(encode_channel_data(0x4000, b"x", False)) == []
    assert world.hear(b"x", PEER, Endpoint(RELAY4, 50000)) == []
    assert world.server.drops[DropReason.NO_ALLOCATION] == 3


def test_incomplete_and_strange_indications_are_dropped() -> None:
    client = permitted()
    drops = client.world.server.drops
    assert client.deliver(indication(Method.SEND, (XOR_PEER_ADDRESS, PEER))) == []
    assert client.deliver(indication(Method.SEND, (DATA, b"x"))) == []
    assert drops[DropReason.MALFORMED] == 2
    assert client.send(PEER, b"x", (DONT_FRAGMENT, True)) == []
    assert drops[DropReason.UNKNOWN_ATTRIBUTE] == 1
    assert client.deliver(indication(Method.DATA, (XOR_PEER_ADDRESS, PEER), (DATA, b"x"))) == []
    assert client.deliver(indication(Method.ALLOCATE)) == []
    assert client.deliver(indication(Method.BINDING)) == []
    assert drops[DropReason.INDICATION] == 3


def test_an_unknown_attribute_drops_the_indication() -> None:
    client = permitted()
    data = bytearray(indication(Method.SEND, (XOR_PEER_ADDRESS, PEER), (DATA, b"abcd"))[:-8]) + b"\x7f\x01\x00\x00"
    data[2:4] = (len(data) - 20).to_bytes(2, "big")
    assert client.deliver(bytes(data)) == []
    assert client.world.server.drops[DropReason.UNKNOWN_ATTRIBUTE] == 1


# With channels


def test_a_channel_carries_both_ways() -> None:
    client = bound()
    (relayed,) = client.relayed
    frame = encode_channel_data(0x4000, b"ping", is_padded=False)
    assert client.deliver(frame) == [Transmit(b"ping", relayed, PEER)]
    assert client.deliver(frame + b"padding") == [Transmit(b"ping", relayed, PEER)]
    assert client.world.hear(b"pong!", PEER, relayed) == [Transmit(b"\x40\x00\x00\x05pong!", LISTENER, ALICE)]


def test_over_a_stream_frames_are_padded() -> None:
    client = bound(endpoint=replace(ALICE, transport=Transport.TCP))
    (transmit,) = client.world.hear(b"pong!", PEER, client.relayed[0])
    assert transmit == Transmit(b"\x40\x00\x00\x05pong!\x00\x00\x00", client.local, client.endpoint)


def test_another_port_of_the_peer_is_not_on_the_channel() -> None:
    client = bound()
    (transmit,) = client.world.hear(b"x", replace(PEER, port=1), client.relayed[0])
    assert indicated(transmit) == (replace(PEER, port=1), b"x")


def test_unbound_and_cut_frames_are_dropped() -> None:
    client = bound()
    assert client.deliver(encode_channel_data(0x4001, b"x", False)) == []
    assert client.deliver(b"\x40\x00\x00\x05x") == []
    assert client.deliver(b"\x40") == []
    drops = client.world.server.drops
    assert (drops[DropReason.NO_CHANNEL], drops[DropReason.MALFORMED]) == (1, 2)


def test_an_expired_channel_carries_nothing_even_before_its_timer() -> None:
    client = bound()
    client.refresh(3600)
    client.world.sleep(301.0)
    assert client.permit(PEER) == 0
    client.world.now += 299.0
    assert client.deliver(encode_channel_data(0x4000, b"x", False)) == []
    assert client.world.server.drops[DropReason.NO_CHANNEL] == 1
    assert indicated(client.world.hear(b"x", PEER, client.relayed[0])[0]) == (PEER, b"x")


def test_a_channel_without_its_permission_waits_for_it() -> None:
    client = bound()
    client.world.sleep(301.0)
    frame = encode_channel_data(0x4000, b"x", False)
    assert client.deliver(frame) == []
    assert client.world.hear(b"x", PEER, client.relayed[0]) == []
    assert client.world.server.drops[DropReason.NO_PERMISSION] == 2
    assert client.permit(PEER) == 0
    assert client.deliver(frame) == [Transmit(b"x", client.relayed[0], PEER)]


# Between two clients of one server


def test_two_clients_reach_each_other() -> None:
    world = World()
    alice, bob = Client(world), Client(world, BOB, "bob", "hidden")
    here, there = alice.allocate(), bob.allocate()
    assert alice.permit(there) == bob.permit(here) == 0
    assert alice.bind(0x4000, there) == bob.bind(0x4000, here) == 0
    (sent,) = alice.deliver(encode_channel_data(0x4000, b"hello", False))
    assert sent == Transmit(b"hello", here, there)
    (arrived,) = world.hear(sent.payload, sent.source, sent.destination)
    assert arrived == Transmit(b"\x40\x00\x00\x05hello", LISTENER, BOB)


def test_our_own_ports_where_nobody_is_relayed_are_closed() -> None:
    world = World()
    client = Client(world)
    (relayed,) = (client.allocate(),)
    closed = Endpoint(RELAY4, 22)
    assert client.permit(closed) == 0  # a permission is for the address, and clients of ours have it
    assert client.send(closed, b"x") == []
    assert client.send(LISTENER, b"x") == []
    assert world.hear(b"x", closed, relayed) == []
    assert world.server.drops[DropReason.FORBIDDEN_PEER] == 3


def test_the_last_word_of_a_client_arrives_although_it_has_given_its_address_back() -> None:
    world = World()
    alice, bob = Client(world), Client(world, BOB, "bob", "hidden")
    here, there = alice.allocate(), bob.allocate()
    assert alice.permit(there) == bob.permit(here) == 0
    (sent,) = alice.send(there, b"goodbye")
    alice.refresh(0)
    (arrived,) = world.hear(sent.payload, sent.source, sent.destination)
    assert arrived.destination == BOB
    assert b"goodbye" in arrived.payload


def test_a_channel_to_a_client_that_has_gone_leads_nowhere() -> None:
    world = World()
    alice, bob = Client(world), Client(world, BOB, "bob", "hidden")
    there = bob.allocate()
    alice.allocate()
    assert alice.bind(0x4000, there) == 0
    bob.refresh(0)
    assert world.server.outward(ALICE, LISTENER, 0x4000) is None
    assert alice.deliver(encode_channel_data(0x4000, b"x", False)) == []
    assert world.server.drops[DropReason.FORBIDDEN_PEER] == 1
    assert alice.permit(there) == 0
    assert world.server.outward(ALICE, LISTENER, 0x4000) is None


# Limits


def test_what_fits_no_datagram_is_dropped() -> None:
    client = bound(endpoint=replace(ALICE, transport=Transport.TCP))
    frame = encode_channel_data(0x4000, bytes(LONGEST_DATAGRAM + 1), is_padded=True)
    assert client.deliver(frame) == []
    assert client.world.hear(bytes(LONGEST_DATA + 1), PEER, client.relayed[0]) == []
    assert client.world.server.drops[DropReason.TOO_LARGE] == 2
    assert client.deliver(encode_channel_data(0x4000, bytes(LONGEST_DATAGRAM), is_padded=True)) != []


def test_the_longest_data_fits_an_indication() -> None:
    world = World()
    client = Client(world)
    client.allocate((REQUESTED_ADDRESS_FAMILY, 2))
    client.permit(PEER6)
    (transmit,) = world.hear(bytes(LONGEST_DATA), PEER6, client.relayed[0])
    assert len(transmit.payload) <= LONGEST_DATAGRAM
    assert indicated(transmit) == (PEER6, bytes(LONGEST_DATA))


@pytest.mark.parametrize("limit", ["allocation_rate", "total_rate"])
def test_the_bandwidth_is_capped(limit: str) -> None:
    client = permitted(World(config(**{limit: 1000})))
    assert client.send(PEER, bytes(1000)) != []
    assert client.send(PEER, b"x") == []
    assert client.world.hear(b"x", PEER, client.relayed[0]) == []
    assert client.world.server.drops[DropReason.BANDWIDTH] == 2
    client.world.sleep(1.0)
    assert client.send(PEER, b"x") != []
