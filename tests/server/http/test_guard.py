"""All limits of an address together."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from p2ptun.server.http.guard import MISS_COST, NAMED_SHARE, SITE_SHARE, SWEEP_EVERY, Guard
from p2ptun.server.http.options import HttpLimits
from p2ptun.server.http.problem import Problem, Slug

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")
LIMITS = HttpLimits(address_requests=3, address_entries=2, address_rooms=1)


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def guard(limits: HttpLimits = LIMITS) -> tuple[Guard, Clock]:
    clock = Clock()
    return Guard(limits, clock), clock


def begin(guard: Guard, client: IPv4Address, room: str, ttl: float = 10) -> None:
    with guard.tenant(client, room if len(room) == 64 else "") as take:
        take(room, ttl)


@pytest.mark.parametrize(("name", "most", "every"), [("admit_request", 3, 20), ("admit_entry", 2, 30)])
def test_so_many_a_minute(name: str, most: int, every: float) -> None:
    guarded, clock = guard()
    admit = getattr(guarded, name)
    for _ in range(most):
        admit(ONE)
    with pytest.raises(Problem) as caught:
        admit(ONE)
    assert caught.value.slug is Slug.TOO_MANY_REQUESTS
    assert float(caught.value.headers["Retry-After"]) >= every
    admit(TWO)
    clock.now = every
    admit(ONE)


def test_a_room_that_can_not_be_joined_counts_for_more() -> None:
    guarded, clock = guard(HttpLimits(address_entries=1 + MISS_COST + 1))
    guarded.admit_entry(ONE)
    guarded.note_miss(ONE)
    guarded.admit_entry(ONE)
    guarded.note_miss(ONE)  # more than is left
    with pytest.raises(Problem):
        guarded.admit_entry(ONE)
    guarded.admit_entry(TWO)
    clock.now = 60 / (1 + MISS_COST + 1)
    guarded.admit_entry(ONE)


def test_a_site_of_ipv6_has_a_share_however_many_addresses_it_has() -> None:
    guarded, clock = guard()
    households = [ip_address(f"2001:db8:0:{number << 8:x}::1") for number in range(SITE_SHARE + 1)]
    for _ in range(LIMITS.address_entries):
        for client in households[:-1]:
            guarded.admit_entry(client)
    with pytest.raises(Problem):
        guarded.admit_entry(households[-1])
    guarded.admit_entry(ip_address("2001:db8:1::1"))
    clock.now = 60
    guarded.admit_entry(households[-1])


def test_so_many_rooms_at_a_time() -> None:
    guarded, clock = guard()
    begin(guarded, IPv4Address(1), "7")
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            begin(guarded, IPv4Address(1), "8")
        assert caught.value.slug is Slug.TOO_MANY_ROOMS
        guarded.prolong("7", 20)
        clock.now += 10
    guarded.end("7")
    begin(guarded, IPv4Address(1), "8")


def test_named_rooms_have_a_larger_share() -> None:
    guarded, _ = guard()
    for number in range(NAMED_SHARE):
        begin(guarded, IPv4Address(1), f"{number:064x}")
    with pytest.raises(Problem):
        begin(guarded, IPv4Address(1), "f" * 64)
    begin(guarded, IPv4Address(1), f"{0:064x}")  # once more into one that it has
    begin(guarded, IPv4Address(1), "7")


def test_rooms_that_are_being_opened_count() -> None:
    guarded, _ = guard()
    with guarded.tenant(IPv4Address(1)), pytest.raises(Problem), guarded.tenant(IPv4Address(1)):
        pass
    begin(guarded, IPv4Address(1), "7")  # nothing came of the first


def test_what_is_over_is_forgotten() -> None:
    guarded, clock = guard(HttpLimits(address_rooms=1))
    for number in range(SWEEP_EVERY * 3):
        clock.now += 1
        begin(guarded, IPv4Address(number), str(number), ttl=5)
    assert len(guarded._numbered) < SWEEP_EVERY + 10
