"""Where a server may send us."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.stun.trust import Scope, may_follow, scope_of
from p2ptun.types import Endpoint


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("8.8.8.8", Scope.PUBLIC),
        ("203.0.113.1", Scope.PUBLIC),
        ("2001:db8::1", Scope.PUBLIC),
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("169.254.169.254", Scope.LINK),
        ("fe80::1%eth0", Scope.LINK),
        ("10.0.0.1", Scope.PRIVATE),
        ("172.31.255.255", Scope.PRIVATE),
        ("192.168.0.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("192.0.0.2", Scope.PRIVATE),
        ("0.0.0.1", Scope.NOWHERE),
        ("224.0.0.1", Scope.NOWHERE),
        ("255.255.255.255", Scope.NOWHERE),
        ("::", Scope.NOWHERE),
        ("::10.0.0.1", Scope.NOWHERE),
        ("ff02::1", Scope.NOWHERE),
        ("fec0::1", Scope.NOWHERE),
        ("::ffff:10.0.0.1", Scope.PRIVATE),  # mapped
        ("2002:7f00:1::", Scope.LOOPBACK),  # 6to4 of 127.0.0.1
        ("64:ff9b::a9fe:a9fe", Scope.LINK),  # NAT64 of 169.254.169.254
        ("2001:0:0:0:0:0:f5ff:fffe", Scope.PRIVATE),  # Teredo of 10.0.0.1
        ("64:ff9b::808:808", Scope.PUBLIC),
    ],
)
def test_scope(address: str, scope: Scope) -> None:
    assert scope_of(ip_address(address)) is scope


@pytest.mark.parametrize(
    ("server", "named", "may"),
    [
        ("203.0.113.1", "198.51.100.7", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("192.168.1.1", "10.0.0.1", True),
        ("203.0.113.1", "192.168.1.1", False),
        ("203.0.113.1", "127.0.0.1", False),
        ("192.168.1.1", "127.0.0.1", False),
        ("192.168.1.1", "203.0.113.1", False),  # a victim elsewhere
        ("203.0.113.1", "2001:db8::1", False),
        ("203.0.113.1", "224.0.0.1", False),
        ("224.0.0.1", "224.0.0.1", False),
        ("2001:db8::1", "64:ff9b::7f00:1", False),
    ],
)
def test_who_may_be_followed_where(server: str, named: str, may: bool) -> None:
    assert may_follow(Endpoint.of(server, 3478), Endpoint.of(named, 3479)) is may
    assert not may_follow(Endpoint.of(server, 3478), Endpoint.of(named, 0))
