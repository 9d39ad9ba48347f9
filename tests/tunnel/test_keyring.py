from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2ptun.tunnel.keyring import MAX_PENDING, MAX_PREVIOUS, Keyring
from p2ptun.tunnel.timing import Timing
from tests.tunnel.test_keypair import make_keypair

released: list[int] = []


@pytest.fixture
def ring() -> Iterator[Keyring]:
    released.clear()
    yield Keyring(Timing(), released.append)
    released.clear()


def test_an_empty_one(ring: Keyring) -> None:
    assert ring.current is None
    assert ring.newest_binder == b""
    assert ring.next_change_at is None
    assert not ring.knows_binder(b"")
    assert not ring.expire(1e9)


def test_rotation_keeps_what_may_be_on_its_way(ring: Keyring) -> None:
    keypairs = [make_keypair(index, 1000.0 + index) for index in range(5)]
    for keypair in keypairs:
        ring.rotate(keypair)
    assert ring.current is keypairs[4]
    assert ring.newest_binder == keypairs[4].binder
    assert list(ring) == [keypairs[4], *keypairs[1:4]]
    assert len(list(ring)) == 1 + MAX_PREVIOUS
    assert keypairs[0].is_wiped
    assert released == [0]
    assert ring.find(0) is None
    assert ring.find(1) is keypairs[1]
    assert ring.knows_binder(keypairs[1].binder)
    assert not ring.knows_binder(keypairs[0].binder)


def test_a_pending_keypair_takes_over_when_confirmed(ring: Keyring) -> None:
    current, pending = make_keypair(1), make_keypair(2)
    ring.rotate(current)
    ring.add_pending(pending)
    assert ring.has_pending(pending)
    assert not ring.has_pending(current)
    assert ring.find(2) is pending
    assert ring.newest_binder == current.binder
    ring.confirm(pending)
    assert ring.current is pending
    assert not ring.has_pending(pending)
    assert ring.find(1) is current
    assert not current.is_wiped


def test_confirming_drops_older_pending_ones_alone(ring: Keyring) -> None:
    old, right, young = make_keypair(1), make_keypair(2, is_bound=False), make_keypair(3)
    for keypair in (old, right, young):
        ring.add_pending(keypair)
    ring.confirm(right)
    assert old.is_wiped
    assert ring.has_pending(young)
    assert released == [1]


def test_a_replay_cant_push_out_a_rekey(ring: Keyring) -> None:
    rekey = make_keypair(1, is_bound=True)
    ring.add_pending(rekey)
    for index in range(10, 30):
        ring.add_pending(make_keypair(index, is_bound=False))
    assert ring.has_pending(rekey)
    assert len(list(ring)) == 1 + MAX_PENDING
    assert released == list(range(10, 28))
    for index in (2, 3):
        ring.add_pending(make_keypair(index, is_bound=True))
    assert rekey.is_wiped
    assert ring.find(29) is not None


def test_old_keys_go_in_two_steps(ring: Keyring) -> None:
    previous, current = make_keypair(1, 1000.0), make_keypair(2, 1100.0)
    ring.rotate(previous)
    ring.rotate(current)
    assert ring.next_change_at == 1185.0
    assert not ring.expire(1184.9)
    assert not ring.expire(1185.0)
    assert previous.is_wiped
    assert ring.next_change_at == 1280.0
    assert ring.expire(1280.0)
    assert ring.current is None
    assert ring.find(2) is current
    assert ring.next_change_at == 1285.0
    assert not ring.expire(1285.0)
    assert current.is_wiped
    assert released == [1, 2]
    assert ring.knows_binder(current.binder)


def test_after_a_long_sleep_everything_goes_at_once(ring: Keyring) -> None:
    current, pending = make_keypair(1), make_keypair(2)
    ring.rotate(current)
    ring.add_pending(pending)
    assert ring.expire(5000.0)
    assert list(ring) == []
    assert current.is_wiped
    assert pending.is_wiped
    assert sorted(released) == [1, 2]


def test_clearing_wipes_all(ring: Keyring) -> None:
    keypairs = [make_keypair(index) for index in range(3)]
    ring.rotate(keypairs[0])
    ring.rotate(keypairs[1])
    ring.add_pending(keypairs[2])
    ring.clear()
    assert all(keypair.is_wiped for keypair in keypairs)
    assert sorted(released) == [0, 1, 2]
    assert ring.current is None
    assert ring.next_change_at is None
