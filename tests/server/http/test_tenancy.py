"""Whose rooms there are."""

from __future__ import annotations

from ipaddress import ip_address

from p2ptun.server.http.tenancy import Tenancy

ONE, TWO = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def test_an_address_has_so_many() -> None:
    tenancy = Tenancy(2)
    assert tenancy.wait(ONE, "1", 0) == 0
    tenancy.begin(ONE, "1", 10)
    tenancy.begin(ONE, "2", 30)
    assert tenancy.wait(ONE, "3", 0) == 10
    assert tenancy.wait(ONE, "2", 0) == 0  # it has that one
    assert tenancy.wait(TWO, "3", 0) == 0
    tenancy.end("2")
    tenancy.end("2")
    assert tenancy.wait(ONE, "3", 0) == 0


def test_rooms_are_over_after_a_while() -> None:
    tenancy = Tenancy(1)
    tenancy.begin(ONE, "1", 10)
    assert tenancy.wait(ONE, "2", 9) == 1
    tenancy.prolong("1", 20)
    assert tenancy.wait(ONE, "2", 10) == 10
    assert tenancy.wait(ONE, "2", 20) == 0
    assert len(tenancy) == 0
    tenancy.prolong("1", 30)
    assert len(tenancy) == 0


def test_a_room_stays_with_who_was_first() -> None:
    tenancy = Tenancy(1)
    tenancy.begin(ONE, "1", 10)
    tenancy.begin(TWO, "1", 20)
    assert tenancy.wait(TWO, "2", 0) == 0
    assert tenancy.wait(ONE, "2", 0) == 20


def test_a_sweep_forgets_what_is_over() -> None:
    tenancy = Tenancy(5)
    for number in range(4):
        tenancy.begin(ONE, str(number), number)
    tenancy.sweep(1)
    assert len(tenancy) == 2
