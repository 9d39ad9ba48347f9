"""Anything to a server with an allocation, from its client, a stranger and a peer: nothing raises, little comes of it.

The first byte chooses who speaks and whether the bytes are sealed by the client, which gets them past authentication.
"""

from __future__ import annotations

from dataclasses import replace

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.relay.event import DropReason
from p2ptun.stun.message import Message, MessageClass, decode_message
from p2ptun.types import Endpoint, Transmit
from tests.relay.world import ALICE, CONFIG, PEER, Client, World

STRANGER = Endpoint.of("198.51.100.99", 7)


def test_one_input(data: bytes) -> None:
    """Feed the bytes to one of the doors."""
    world = World(CONFIG)
    client = Client(world)
    relayed = client.allocate()
    client.bind(0x4000, PEER)
    before = world.server.usage()
    kind, rest = data[:1], data[1:]
    if kind < b"\x40":
        assert len(world.deliver(rest, STRANGER)) <= 1
        assert world.server.usage() == before
    elif kind < b"\x60":
        assert all(is_ours(transmit, relayed) for transmit in world.deliver(rest, ALICE))
        assert world.server.usage() == before
    elif kind < b"\x80":
        (transmit,) = world.hear(rest, PEER, relayed) or (None,)
        assert transmit is not None or world.server.drops[DropReason.TOO_LARGE]
        assert world.hear(rest, STRANGER, relayed) == []
    else:
        seal(world, client, rest)
    usage = world.server.usage()
    assert usage.allocations <= 1
    assert usage.ways <= usage.channels
    world.sleep(10_000.0)
    assert world.server.usage().deadlines == 0
    assert world.sockets == set()


def seal(world: World, client: Client, data: bytes) -> None:
    """Let the client sign what the bytes say, if they say anything."""
    try:
        message = decode_message(data)
        signed = client.signer.sign(replace(message, message_class=MessageClass.REQUEST))
        encoded = signed.encode()
    except (MalformedPacket, LocalProtocolError):
        return
    for transmit in world.deliver(encoded, ALICE):
        assert isinstance(decode_message(transmit.payload), Message)


def is_ours(transmit: Transmit, relayed: Endpoint) -> bool:
    """Tell whether something goes back to the client, or through the one permission that there is."""
    return transmit.destination == ALICE or (
        transmit.source == relayed and transmit.destination.address == PEER.address
    )
