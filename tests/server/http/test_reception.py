"""How many connections may be open."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from trio.testing import memory_stream_pair

from p2ptun.server.http.connection import Connection
from p2ptun.server.http.reception import LOOKS, Reception
from p2ptun.types import Endpoint, Transport

LOCAL = Endpoint.of("192.0.2.1", 80, Transport.TCP)
PROXIES = ip_network("203.0.113.0/24")


def connection(address: str, is_busy: bool = False) -> Connection:
    stream: Any = memory_stream_pair()[0]
    made = Connection(stream, Endpoint.of(address, 1, Transport.TCP), LOCAL)
    made.is_busy = is_busy
    return made


def reception(most: int, most_per_address: int) -> Reception:
    return Reception(most, most_per_address, lambda address: address in PROXIES)


@pytest.mark.trio
async def test_one_address_has_its_share() -> None:
    door = reception(10, 2)
    ours = [connection("198.51.100.1") for _ in range(3)]
    assert [door.enter(each) for each in ours] == [True, True, False]
    assert door.refused == {"too many connections from one address": 1}
    assert door.enter(connection("198.51.100.2"))
    door.leave(ours[0])
    door.leave(ours[0])
    door.leave(ours[2])
    assert door.enter(ours[2])
    assert len(door) == 3


@pytest.mark.trio
async def test_a_customer_of_ipv6_has_one_share() -> None:
    door = reception(10, 1)
    assert door.enter(connection("2001:db8:1:2::1"))
    assert not door.enter(connection("2001:db8:1:ff::7"))
    assert door.enter(connection("2001:db8:1:100::1"))


@pytest.mark.trio
async def test_a_proxy_of_ours_speaks_for_many() -> None:
    door = reception(10, 1)
    assert ip_address("203.0.113.1") in PROXIES
    assert all(door.enter(connection("203.0.113.1")) for _ in range(5))


@pytest.mark.trio
async def test_the_oldest_idle_one_makes_room() -> None:
    door = reception(3, 3)
    busy, idle, young = connection("198.51.100.1", is_busy=True), connection("198.51.100.2"), connection("198.51.100.3")
    assert all(door.enter(each) for each in (busy, idle, young))
    assert door.enter(newest := connection("198.51.100.4"))
    assert set(door) == {busy, young, newest}


@pytest.mark.trio
async def test_where_all_are_busy_nobody_else_enters() -> None:
    door = reception(LOOKS * 2, LOOKS * 2)
    for _ in range(LOOKS * 2):
        assert door.enter(connection("198.51.100.1", is_busy=True))
    assert not door.enter(connection("198.51.100.2"))
    assert door.refused == {"too many connections": 1}
    assert len(door) == LOOKS * 2
