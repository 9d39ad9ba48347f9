"""Sockets, as the owner is asked for them."""

from __future__ import annotations

from p2ptun.relay.order import CloseRelay, OpenRelay
from p2ptun.types import Transport
from tests.relay.world import BOTH_FAMILIES, Client, World


def test_each_relayed_address_is_opened_and_closed_once() -> None:
    world = World()
    client = Client(world)
    client.allocate(BOTH_FAMILIES)
    client.refresh(0)
    first, second, *closed = world.orders
    assert isinstance(first, OpenRelay)
    assert isinstance(second, OpenRelay)
    assert first.order_id != second.order_id
    assert (first.relayed, second.relayed) == client.relayed
    assert first.relayed.transport is Transport.UDP
    assert closed == [CloseRelay(first.relayed), CloseRelay(second.relayed)]
