from __future__ import annotations

from dataclasses import replace

from p2ptun.ice.check import InboundCheck
from p2ptun.ice.early import Early
from p2ptun.ice.role import Role
from tests.sim.network import at

from .material import host

BASE, PEER, OTHER = at("10.0.0.1:1"), at("192.0.2.1:2"), at("192.0.2.2:2")
CHECK = InboundCheck(7, Role.CONTROLLING, 1, use_candidate=False, ufrag="peer")


def test_both_kinds_are_kept_within_a_bound_each() -> None:
    early = Early(1)
    assert early.keep_candidate(host("192.0.2.1:2"))
    assert not early.keep_candidate(host("192.0.2.2:2"))
    assert early.keep_check(CHECK, BASE, PEER)
    assert not early.keep_check(CHECK, BASE, OTHER)
    assert early.keep_check(CHECK, BASE, PEER), "one more on the same path takes no room"
    assert early.take() == ([host("192.0.2.1:2")], {(BASE, PEER): CHECK})
    assert early.take() == ([], {})


def test_a_later_check_takes_no_nomination_back() -> None:
    early = Early(9)
    for check in (CHECK, replace(CHECK, use_candidate=True, nomination=3), replace(CHECK, priority=9)):
        early.keep_check(check, BASE, PEER)
    [kept] = early.take()[1].values()
    assert (kept.use_candidate, kept.nomination, kept.priority) == (True, 3, 9)
