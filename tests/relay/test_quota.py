"""Quotas per user and per address."""

from __future__ import annotations

from ipaddress import ip_address

from p2ptun.relay.config import Limits
from p2ptun.relay.quota import Quota, person_of, prefix_of
from p2ptun.stun.error import Code

HERE, THERE = ip_address("198.51.100.7"), ip_address("198.51.100.8")
LIMITS = Limits(allocations=6, user_allocations=2, address_allocations=3)


def test_an_ipv6_client_is_its_56_bits() -> None:
    assert prefix_of(ip_address("2001:db8:0:100::1")) == prefix_of(ip_address("2001:db8:0:1ff:2::3"))
    assert prefix_of(ip_address("2001:db8:0:100::1")) != prefix_of(ip_address("2001:db8:0:200::1"))
    assert prefix_of(HERE) != prefix_of(THERE)


def test_each_limit_refuses_in_its_own_way() -> None:
    quota = Quota(LIMITS)
    quota.add("alice", HERE, 2)
    assert quota.refusal("alice", THERE) == Code.ALLOCATION_QUOTA_REACHED
    assert quota.refusal("bob", HERE) is None
    assert quota.refusal("bob", HERE, 2) == Code.ALLOCATION_QUOTA_REACHED
    quota.add("bob", HERE)
    assert quota.refusal("carol", HERE) == Code.ALLOCATION_QUOTA_REACHED
    quota.add("carol", THERE)
    quota.add("dave", THERE, 2)
    assert quota.refusal("erin", ip_address("2001:db8::1")) == Code.INSUFFICIENT_CAPACITY


def test_another_time_limited_user_name_is_no_other_person() -> None:
    quota = Quota(LIMITS)
    quota.add("1900000000:alice", HERE)
    quota.add("1900086400:alice", HERE)
    assert quota.refusal("1900172800:alice", THERE) == Code.ALLOCATION_QUOTA_REACHED
    assert quota.refusal("1900172800:bob", THERE) is None
    quota.remove("1900000000:alice", HERE)
    assert quota.refusal("1900172800:alice", THERE) is None
    assert [person_of(each) for each in ("alice", "1900000000", "1900000000:", "1:x:y", "bob:1")] == [
        *("alice", "1900000000", "1900000000:", "x:y", "bob:1")
    ]


def test_what_is_given_back_can_be_had_again() -> None:
    quota = Quota(LIMITS)
    quota.add("alice", HERE, 2)
    quota.remove("alice", HERE)
    assert quota.refusal("alice", HERE) is None
    assert quota.refusal("alice", HERE, 2) == Code.ALLOCATION_QUOTA_REACHED
    quota.remove("alice", HERE)
    assert quota.refusal("alice", HERE, 2) is None
