from __future__ import annotations

from ipaddress import ip_address

from p2ptun.mdns.event import LossReason, NameLost, NameResolved


def test_events_are_values() -> None:
    assert NameResolved("a.local", ip_address("192.0.2.1")) == NameResolved("a.local", ip_address("192.0.2.1"))
    assert NameLost("a.local", LossReason.TIMEOUT) != NameLost("a.local", LossReason.AMBIGUOUS)


def test_reasons_are_words() -> None:
    assert len({reason.value for reason in LossReason}) == len(LossReason)
