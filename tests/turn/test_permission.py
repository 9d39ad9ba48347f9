"""Which addresses to ask for, and when."""

from __future__ import annotations

from p2ptun.turn.permission import BATCH, Permissions
from p2ptun.types import Endpoint

NOW = 1000.0
FIRST, SAME, OTHER = (Endpoint.of("192.0.2.1", 1), Endpoint.of("192.0.2.1", 2), Endpoint.of("192.0.2.2", 1))


def wanting(*peers: Endpoint) -> Permissions:
    permissions = Permissions()
    for peer in peers:
        permissions.want(peer, NOW)
    return permissions


def test_an_address_is_asked_for_once_and_refreshed_after_240_seconds() -> None:
    permissions = wanting(FIRST, SAME, OTHER)
    assert permissions.next_timeout() == NOW
    assert permissions.take_due(NOW) == (FIRST.address, OTHER.address)
    assert permissions.take_due(NOW) == ()
    assert permissions.next_timeout() is None
    permissions.grant([FIRST.address, OTHER.address], NOW)
    assert permissions.next_timeout() == NOW + 240
    assert permissions.take_due(NOW + 239) == ()
    assert permissions.take_due(NOW + 240) == (FIRST.address, OTHER.address)


def test_what_falls_due_soon_is_taken_along() -> None:
    permissions = wanting(FIRST)
    permissions.take_due(NOW)
    permissions.grant([FIRST.address], NOW)
    permissions.want(OTHER, NOW + 236)
    assert set(permissions.take_due(NOW + 236)) == {FIRST.address, OTHER.address}


def test_many_are_asked_for_in_batches() -> None:
    peers = [Endpoint.of(f"192.0.2.{number}", 1) for number in range(BATCH + 3)]
    permissions = wanting(*peers)
    batches = [permissions.take_due(NOW) for _ in range(3)]
    assert [len(batch) for batch in batches] == [BATCH, 3, 0]
    assert {address for batch in batches for address in batch} == {peer.address for peer in peers}


def test_nobody_unwanted_is_refreshed() -> None:
    permissions = wanting(FIRST, SAME)
    permissions.grant(permissions.take_due(NOW), NOW)
    permissions.unwant(FIRST)
    assert permissions.next_timeout() == NOW + 240
    permissions.unwant(SAME)
    assert permissions.next_timeout() == NOW + 300
    assert permissions.take_due(NOW + 240) == ()
    permissions.handle_timeout(NOW + 299)
    assert permissions.admits(FIRST.address)
    permissions.handle_timeout(NOW + 300)
    assert not permissions.admits(FIRST.address)
    assert permissions.next_timeout() is None


def test_wanted_again_it_is_refreshed_when_it_would_have_been() -> None:
    permissions = wanting(FIRST)
    permissions.grant(permissions.take_due(NOW), NOW)
    permissions.unwant(FIRST)
    permissions.want(FIRST, NOW + 10)
    assert permissions.next_timeout() == NOW + 240
    permissions.unwant(FIRST)
    permissions.want(FIRST, NOW + 250)
    assert permissions.take_due(NOW + 250) == (FIRST.address,)


def test_never_granted_and_unwanted_is_forgotten_at_once() -> None:
    permissions = wanting(FIRST)
    addresses = permissions.take_due(NOW)
    permissions.unwant(FIRST)
    permissions.unwant(OTHER)
    assert not permissions.admits(FIRST.address)
    permissions.grant(addresses, NOW)
    permissions.postpone(addresses, NOW)
    assert permissions.refuse(FIRST.address, 403) == []
    assert permissions.next_timeout() is None


def test_a_refusal_is_remembered_until_nobody_wants_it() -> None:
    permissions = wanting(SAME, FIRST)
    assert permissions.refusal(FIRST.address) is None
    permissions.take_due(NOW)
    assert permissions.refuse(FIRST.address, 403) == [FIRST, SAME]
    assert permissions.refusal(FIRST.address) == 403
    assert not permissions.admits(FIRST.address)
    assert permissions.next_timeout() is None
    permissions.unwant(SAME)
    permissions.unwant(FIRST)
    assert permissions.refusal(FIRST.address) is None
    permissions.want(FIRST, NOW)
    assert permissions.take_due(NOW) == (FIRST.address,)


def test_what_the_server_could_not_do_is_asked_again() -> None:
    permissions = wanting(FIRST)
    permissions.postpone(permissions.take_due(NOW), NOW + 10)
    assert permissions.admits(FIRST.address)
    assert permissions.take_due(NOW + 9) == ()
    assert permissions.take_due(NOW + 10) == (FIRST.address,)
