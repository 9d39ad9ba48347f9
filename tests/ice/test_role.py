from __future__ import annotations

import pytest

from p2ptun.ice.role import Resolution, Role, Stance

CONTROLLING, CONTROLLED = Role.CONTROLLING, Role.CONTROLLED


@pytest.mark.parametrize(
    ("role", "own", "theirs", "resolution"),
    [
        (CONTROLLING, 2, 1, Resolution.REJECT),
        (CONTROLLING, 1, 1, Resolution.REJECT),
        (CONTROLLING, 1, 2, Resolution.SWITCH),
        (CONTROLLED, 2, 1, Resolution.SWITCH),
        (CONTROLLED, 1, 1, Resolution.SWITCH),
        (CONTROLLED, 1, 2, Resolution.REJECT),
    ],
)
def test_conflict_is_resolved_as_rfc_8445_section_7_3_1_1_says(
    role: Role, own: int, theirs: int, resolution: Resolution
) -> None:
    assert Stance(role, own).resolve(role, theirs) is resolution


@pytest.mark.parametrize("role", Role)
def test_opposite_roles_and_missing_roles_agree(role: Role) -> None:
    assert Stance(role, 1).resolve(role.opposite, 1) is Resolution.AGREE
    assert Stance(role, 1).resolve(None, 0) is Resolution.AGREE


def test_losing_switches_and_draws_a_new_tie_breaker() -> None:
    stance = Stance(CONTROLLING, 5)
    stance.lose(lambda count: b"\x01" * count)
    assert (stance.role, stance.tie_breaker) == (CONTROLLED, 0x0101010101010101)
    stance.switch()
    assert (stance.role, stance.tie_breaker) == (CONTROLLING, 0x0101010101010101)
