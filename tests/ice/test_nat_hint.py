from __future__ import annotations

import pytest

from p2ptun.ice.nat_hint import MAX_DELTA, NO_HINT, MappingKind, NatHint, judge
from p2ptun.types import Endpoint
from tests.sim.network import at

SOMEWHERE = "198.51.100.1"


def row(*ports: int) -> dict[int, Endpoint]:
    return {number: at(f"{SOMEWHERE}:{port}") for number, port in enumerate(ports)}


@pytest.mark.parametrize("mapping", MappingKind)
@pytest.mark.parametrize("delta", [0, 1, -1, MAX_DELTA, -MAX_DELTA])
@pytest.mark.parametrize("has_search", [False, True])
def test_hint_comes_back_as_it_was(mapping: MappingKind, delta: int, has_search: bool) -> None:
    hint = NatHint(mapping, delta, has_search)
    assert NatHint.decode(hint.encode()) == hint
    assert hint.encode() & ~0x0FFE == 0


def test_layout() -> None:
    assert NatHint(MappingKind.DEPENDENT, -2, True).encode() == 0x0FE0 | 2 << 2 | 2
    assert NO_HINT.encode() == 0


def test_any_number_is_read_and_nonsense_as_not_knowing() -> None:
    for number in range(1 << 16):
        hint = NatHint.decode(number)
        assert abs(hint.delta) <= MAX_DELTA
    assert NatHint.decode(3 << 2).mapping is MappingKind.UNKNOWN
    assert NatHint.decode(127 << 4).delta == 0


def test_one_server_says_nothing_of_mapping() -> None:
    assert judge([], has_search=True) == NatHint(has_search=True)
    assert judge([row(7), row(8)], has_search=False) == NO_HINT


def test_same_endpoint_for_every_server_is_independent_mapping() -> None:
    assert judge([row(7, 7), row(8, 8, 8)], has_search=False).mapping is MappingKind.INDEPENDENT


def test_one_socket_that_differs_is_dependent_mapping() -> None:
    assert judge([row(7, 7), row(8, 4711)], has_search=False) == NatHint(MappingKind.DEPENDENT)


def test_delta_is_the_step_that_all_have_in_common_in_the_order_of_the_servers() -> None:
    assert judge([{2: at(f"{SOMEWHERE}:24"), 0: at(f"{SOMEWHERE}:20"), 1: at(f"{SOMEWHERE}:22")}], False).delta == 2
    assert judge([row(20, 19), row(18, 17)], has_search=False).delta == -1
    assert judge([row(20, 21), row(22, 24)], has_search=False).delta == 0
    assert judge([row(20, 20 + MAX_DELTA + 1)], has_search=False).delta == 0
