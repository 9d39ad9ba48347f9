"""Conclusions, one by one."""

from __future__ import annotations

import pytest

from p2ptun.nat.behavior import Allocation, Filtering, Mapping, PortAllocation
from p2ptun.nat.classify import classify_filtering, classify_mapping, classify_ports, openest
from p2ptun.types import Endpoint

A1P1, A1P2, A2P1, A2P2 = (Endpoint.of(f"203.0.113.{number}", port) for number in (2, 3) for port in (3478, 3479))
ONE, TWO, THREE, FOUR = (Endpoint.of("198.51.100.1", port) for port in (40000, 40001, 40002, 40003))


@pytest.mark.parametrize(
    ("seen", "mapping"),
    [
        ({}, None),
        ({A1P1: ONE}, None),
        ({A1P1: ONE, A1P2: ONE}, None),  # one address can't tell
        ({A1P1: ONE, A2P2: ONE}, Mapping.ENDPOINT_INDEPENDENT),
        ({A1P1: ONE, A1P2: ONE, A2P1: ONE, A2P2: ONE}, Mapping.ENDPOINT_INDEPENDENT),
        ({A1P1: ONE, A2P2: TWO}, Mapping.DEPENDENT),
        ({A1P1: ONE, A2P1: TWO, A2P2: TWO}, Mapping.ADDRESS_DEPENDENT),
        ({A1P1: ONE, A1P2: ONE, A2P2: TWO}, Mapping.ADDRESS_DEPENDENT),
        ({A1P1: ONE, A1P2: TWO}, Mapping.ADDRESS_AND_PORT_DEPENDENT),
        ({A1P1: ONE, A1P2: TWO, A2P1: THREE, A2P2: FOUR}, Mapping.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_mapping(seen: dict[Endpoint, Endpoint], mapping: Mapping | None) -> None:
    assert classify_mapping(seen) is mapping


@pytest.mark.parametrize(
    ("stranger", "other_port", "filtering"),
    [
        (True, True, Filtering.ENDPOINT_INDEPENDENT),
        (True, None, Filtering.ENDPOINT_INDEPENDENT),
        (False, True, Filtering.ADDRESS_DEPENDENT),
        (False, False, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (None, True, None),
        (None, False, None),
        (False, None, None),
        (None, None, None),
    ],
)
def test_filtering(stranger: bool | None, other_port: bool | None, filtering: Filtering | None) -> None:
    assert classify_filtering(stranger, other_port) is filtering


def test_of_several_filterings_the_openest_counts() -> None:
    kinds = list(Filtering)
    assert openest([]) is None
    assert openest([None, None]) is None
    assert openest([None, kinds[2]]) is kinds[2]
    assert openest([kinds[2], kinds[0], None, kinds[1]]) is kinds[0]


@pytest.mark.parametrize(
    ("ports", "preserves", "allocation"),
    [
        ([], None, None),
        ([], True, PortAllocation(Allocation.PRESERVING)),
        ([40000, 40001, 40002], False, None),  # two steps are no rule
        ([40000, 40001, 40002, 40003], False, PortAllocation(Allocation.SEQUENTIAL, 1)),
        ([40006, 40004, 40002, 40000], False, PortAllocation(Allocation.SEQUENTIAL, -2)),
        ([40000, 40001, 40002, 40003, 40009], False, PortAllocation(Allocation.SEQUENTIAL, 1, is_consistent=False)),
        ([40000, None, 40002, 40003, 40004, 40005], False, PortAllocation(Allocation.SEQUENTIAL, 1)),
        ([40000, None, 40002, None, 40004], False, None),  # what was lost between can't be counted
        ([1025, 60000, 33333, 2222], False, PortAllocation(Allocation.RANDOM)),
        ([40000, 40002, 40001, 40004, 40003], False, None),  # the network changed their order
        ([40000, 40000, 40000, 40000], False, None),
    ],
)
def test_ports(ports: list[int | None], preserves: bool | None, allocation: PortAllocation | None) -> None:
    assert classify_ports(ports, preserves) == allocation
