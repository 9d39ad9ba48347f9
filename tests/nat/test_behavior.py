"""The values, and which two of them meet without a relay: the simulator's table says the same of sites."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import product

import pytest

from p2ptun.nat.behavior import Allocation, Filtering, Mapping, NatBehavior, PortAllocation, can_meet

LOCAL = ip_address("192.168.1.10")
EIM, ADM, APDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
EIF, ADF, APDF = Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT


def nat(mapping: Mapping | None, filtering: Filtering | None = None) -> NatBehavior:
    return NatBehavior(LOCAL, mapping=mapping, filtering=filtering)


def test_every_kind_has_words() -> None:
    for kind in (*Mapping, *Filtering):
        assert kind.meaning
    assert len({kind.meaning for kind in Mapping}) == len(Mapping)
    assert len({kind.meaning for kind in Filtering}) == len(Filtering)


def test_only_independent_mappings_are_soft() -> None:
    assert [kind for kind in Mapping if not kind.is_dependent] == [EIM]
    assert not nat(EIM).is_hard
    assert not nat(None).is_hard
    assert nat(Mapping.DEPENDENT).is_hard


def test_open_is_who_lets_everybody_in_at_one_port() -> None:
    assert nat(EIM, EIF).is_open
    assert not nat(EIM, ADF).is_open
    assert not nat(ADM, EIF).is_open


def test_what_can_be_predicted() -> None:
    assert not nat(APDM).is_predictable
    assert nat(APDM).port_delta is None
    sequential = NatBehavior(LOCAL, allocation=PortAllocation(Allocation.SEQUENTIAL, 2))
    assert sequential.is_predictable
    assert sequential.port_delta == 2
    assert not NatBehavior(LOCAL, allocation=PortAllocation(Allocation.RANDOM)).is_predictable


MEETINGS = """
111111111
111111111
111000000
110110110
110100100
110000000
110110000
110100000
110000000
"""
"""Who met whom without a search in network namespaces (tests.e2e.matrix), in the order of the README's table."""


@pytest.mark.parametrize(("one", "other"), list(product(range(9), repeat=2)))
def test_who_meets(one: int, other: int) -> None:
    kinds = list(product((EIM, ADM, APDM), (EIF, ADF, APDF)))
    assert can_meet(nat(*kinds[one]), nat(*kinds[other])) is (MEETINGS.split()[one][other] == "1")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (nat(None), nat(EIM, APDF), None),
        (nat(None), nat(EIM, ADF), True),
        (nat(APDM, APDF), nat(EIM), None),
        (nat(APDM), nat(APDM, APDF), False),
        (nat(APDM), nat(ADM, ADF), None),
        (nat(APDM, APDF), nat(Mapping.DEPENDENT, ADF), False),
        (nat(EIM), nat(EIM), True),
        (nat(Mapping.DEPENDENT, EIF), nat(APDM, ADF), None),
        (nat(Mapping.DEPENDENT, EIF), nat(ADM, ADF), True),
    ],
)
def test_what_isnt_known_may_not_be_needed(one: NatBehavior, other: NatBehavior, expected: bool | None) -> None:
    assert can_meet(one, other) is expected
    assert can_meet(other, one) is expected
