"""Pitfall 5 (they are numbered through the tests of all packages): datagrams of a batch are told apart one by one."""

from __future__ import annotations

from p2ptun.node.drop import DropReason
from p2ptun.stun.message import decode_message, is_stun
from tests.sim.host import is_check
from tests.sim.node import batch_of

from .world import SOCKET_A, SOCKET_B, World, ping

CHANNEL_DATA = bytes.fromhex("40000004") + b"data"


def test_pitfall_05_a_batch_of_all_kinds_is_sorted_datagram_by_datagram() -> None:
    """As GRO hands them over: one source, one read. ChannelData is nobody's, for we know no relay."""
    world = World().connect().settle()
    alice, bob = world.alice, world.bob
    check = next(
        each.packet for each in reversed(world.network.log) if each.host is alice and is_check(each.packet.payload)
    )
    [flight] = alice.node.send_packets(batch_of([ping(1)]), world.network.now)
    [data] = [bytes(datagram) for datagram in flight.datagrams]
    not_quite = check.payload[:-1] + bytes([check.payload[-1] ^ 1])  # the fingerprint is wrong
    mixed = [check.payload, CHANNEL_DATA, data, not_quite, check.payload[:12], check.payload]
    before = bob.node.drops.copy()
    opened = bob.node.receive_datagrams(
        batch_of(mixed), [check.source] * len(mixed), check.destination, world.network.now
    )
    assert [bytes(packet) for packet in opened] == [ping(1)]
    answers = []
    while (packet := bob.node.next_transmit()) is not None:
        answers.append(packet)
    stun = [decode_message(packet.payload) for packet in answers if is_stun(packet.payload)]
    assert len([message for message in stun if message.is_response]) == 2
    assert bob.node.drops[DropReason.UNKNOWN_DATAGRAM] == before[DropReason.UNKNOWN_DATAGRAM] + 1
    assert {str(check.source), str(check.destination)} == {SOCKET_A, SOCKET_B}
