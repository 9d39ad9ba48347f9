"""How many streams may be open."""

from __future__ import annotations

import pytest
from trio.testing import memory_stream_pair

from p2ptun.server.admission import Admission
from p2ptun.server.connection import Connection
from p2ptun.types import Endpoint, Transport

LOCAL = Endpoint.of("192.0.2.1", 3478, Transport.TCP)


def connection(address: str, port: int = 1) -> Connection:
    return Connection(memory_stream_pair()[0], Endpoint.of(address, port, Transport.TCP), LOCAL)


@pytest.mark.trio
async def test_one_address_has_its_share() -> None:
    admission = Admission(most=10, most_per_address=2)
    ours = [connection("198.51.100.1", port) for port in range(3)]
    assert [admission.enter(each) for each in ours] == [True, True, False]
    assert admission.enter(connection("198.51.100.2"))
    assert admission.refused == {"too many streams from one address": 1}
    admission.leave(ours[2])
    assert not admission.enter(ours[2])
    admission.leave(ours[0])
    admission.leave(ours[0])
    assert admission.enter(ours[2])
    assert not admission.enter(ours[0])


@pytest.mark.trio
async def test_a_customer_of_ipv6_has_one_share() -> None:
    admission = Admission(most=10, most_per_address=1)
    assert admission.enter(connection("2001:db8:1:2::1"))
    assert not admission.enter(connection("2001:db8:1:ff::7"))
    assert admission.enter(connection("2001:db8:1:100::1"))


@pytest.mark.trio
async def test_the_oldest_without_an_allocation_makes_room() -> None:
    admission = Admission(most=2, most_per_address=2)
    old, older = connection("198.51.100.2"), connection("198.51.100.1")
    assert admission.enter(older)
    assert admission.enter(old)
    older.has_allocation = True
    assert admission.enter(connection("198.51.100.3"))
    assert old.problem == "made room for another"
    assert not older.problem


@pytest.mark.trio
async def test_where_all_have_allocations_nobody_else_enters() -> None:
    admission = Admission(most=1, most_per_address=2)
    only = connection("198.51.100.1")
    assert admission.enter(only)
    only.has_allocation = True
    assert not admission.enter(connection("198.51.100.3"))
    assert admission.refused == {"too many streams": 1}
    admission.leave(only)
    assert admission.enter(connection("198.51.100.3"))
