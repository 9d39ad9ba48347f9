"""One mapping: what the owner is told of it, when it is renewed, and when it is gone."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.nat.portmap_event import LossReason, PortMapped, PortRefused, PortUnmapped, Problem, Protocol
from p2ptun.nat.portmap_lease import LONGEST_LIFETIME, RECOVERY_PATIENCE, Lease, is_possible, is_private, nowhere
from p2ptun.types import Endpoint

from .gateway import PORT
from .gateway import START as NOW

EXTERNAL, OTHER = Endpoint.of("203.0.113.7", 41000), Endpoint.of("203.0.113.7", 41001)
INNER = Endpoint.of("100.64.0.7", 41000)


def make() -> Lease:
    return Lease(PORT, bytes(12), Endpoint(nowhere(4), PORT), NOW)


def granted() -> Lease:
    lease = make()
    assert list(lease.grant(EXTERNAL, 7200, Protocol.PCP, NOW)) == [PortMapped(PORT, EXTERNAL, 7200, Protocol.PCP)]
    return lease


def test_a_grant_is_told_once_and_renewed_at_half_of_its_time() -> None:
    lease = granted()
    assert (lease.expires_at, lease.due_at, lease.suggested) == (NOW + 7200, NOW + 3600, EXTERNAL)
    assert lease.is_settled
    assert list(lease.grant(EXTERNAL, 7200, Protocol.PCP, NOW + 3600)) == []
    assert lease.expires_at == NOW + 3600 + 7200


def test_no_grant_is_believed_for_longer_than_a_day() -> None:
    lease = make()
    list(lease.grant(EXTERNAL, 1e9, Protocol.PCP, NOW))
    assert lease.expires_at == NOW + LONGEST_LIFETIME


def test_another_address_takes_the_place_of_the_first() -> None:
    events = list(granted().grant(OTHER, 7200, Protocol.PCP, NOW))
    assert events == [PortUnmapped(PORT, EXTERNAL, LossReason.CHANGED), PortMapped(PORT, OTHER, 7200, Protocol.PCP)]


def test_a_private_address_is_kept_and_told_as_a_problem() -> None:
    lease = granted()
    events = list(lease.grant(INNER, 7200, Protocol.NAT_PMP, NOW))
    refused = PortRefused(PORT, Problem.BEHIND_ANOTHER_NAT, INNER)
    assert events == [PortUnmapped(PORT, EXTERNAL, LossReason.CHANGED), refused]
    assert lease.expires_at == NOW + 7200


def test_a_refusal_is_told_once_and_ends_nothing() -> None:
    lease = granted()
    assert list(lease.refuse(Problem.NO_RESOURCES, 30.0, NOW)) == [PortRefused(PORT, Problem.NO_RESOURCES)]
    assert list(lease.refuse(Problem.NO_RESOURCES, 30.0, NOW)) == []
    assert (lease.due_at, lease.expires_at) == (NOW + 30, NOW + 7200)


def test_what_a_restarted_gateway_has_lost_is_asked_for_at_once_and_soon_given_up() -> None:
    lease = granted()
    lease.doubt(NOW + 1)
    assert (lease.due_at, lease.expires_at) == (NOW + 1, NOW + 1 + RECOVERY_PATIENCE)
    never = make()
    never.doubt(NOW + 1)
    assert never.due_at == NOW
    assert never.expires_at is None


def test_time_runs_out() -> None:
    lease = granted()
    assert list(lease.expire(NOW + 7199)) == []
    assert list(lease.expire(NOW + 7200)) == [PortUnmapped(PORT, EXTERNAL, LossReason.EXPIRED)]
    assert list(lease.expire(NOW + 9999)) == []
    assert lease.expires_at is None


@pytest.mark.parametrize(
    ("external", "version", "is_fine"),
    [
        ("203.0.113.7", 4, True),
        ("10.0.0.1", 4, True),
        ("2001:db8::1", 6, True),
        ("203.0.113.7", 6, False),
        ("0.0.0.0", 4, False),  # noqa: S104 (nothing is bound)
        ("224.0.0.1", 4, False),
        ("255.255.255.255", 4, False),
        ("::", 6, False),
        ("ff02::1", 6, False),
    ],
)
def test_packets_can_come_in_at_some_addresses_only(external: str, version: int, is_fine: bool) -> None:
    assert is_possible(Endpoint.of(external, 1), version) is is_fine
    assert not is_possible(Endpoint.of(external, 0), version)


def test_what_the_internet_does_not_reach_is_private() -> None:
    assert all(is_private(ip_address(text)) for text in ("192.168.1.1", "192.0.0.2", "100.64.0.1", "fd00::1"))
    assert not is_private(ip_address("203.0.113.7"))


def test_nowhere_is_the_unspecified_address_of_a_family() -> None:
    assert (str(nowhere(4)), str(nowhere(6))) == ("0.0.0.0", "::")  # noqa: S104 (nothing is bound)
