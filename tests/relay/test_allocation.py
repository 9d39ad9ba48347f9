"""Lifetimes and permissions of an allocation."""

from __future__ import annotations

import pytest

from p2ptun.relay.allocation import Allocation, Channel, Permission, granted_lifetime
from p2ptun.relay.meter import Meter
from p2ptun.stun.message import TransactionId
from tests.relay.world import ALICE, LISTENER, NOW, PEER


@pytest.mark.parametrize(
    ("requested", "longest", "granted"),
    [(None, 3600, 600), (0, 3600, 600), (900, 3600, 900), (9000, 3600, 3600), (None, 60, 60), (900, 60, 60)],
)
def test_a_lifetime_is_the_default_at_least_and_the_limit_at_most(
    requested: int | None, longest: int, granted: int
) -> None:
    assert granted_lifetime(requested, longest) == granted


def test_a_permission_ends_with_its_time() -> None:
    allocation = Allocation(ALICE, LISTENER, "alice", TransactionId(b"t" * 12), (), (), Meter(0))
    assert allocation.five_tuple == (ALICE, LISTENER)
    assert not allocation.has_permission(PEER.address, NOW)
    allocation.permissions[PEER.address] = Permission(allocation, PEER.address, NOW + 300.0)
    assert allocation.has_permission(PEER.address, NOW + 299.9)
    assert not allocation.has_permission(PEER.address, NOW + 300.0)
    assert Channel(allocation, 0x4000, PEER, NOW).free_at == NOW + 300.0
