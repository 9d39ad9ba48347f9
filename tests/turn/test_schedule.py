"""Refreshes come in time, retries ever more rarely."""

from __future__ import annotations

import pytest

from p2ptun.turn.schedule import back_off, refresh_after, uniform


@pytest.mark.parametrize(
    ("lifetime", "after"), [(600, 300), (3600, 1800), (120, 60), (100, 40), (90, 30), (70, 17.5), (30, 7.5), (1, 0.25)]
)
def test_refresh_from_the_granted_lifetime(lifetime: float, after: float) -> None:
    assert refresh_after(lifetime) == after


def test_uniform_has_both_ends() -> None:
    assert uniform((15.0, 25.0), bytes) == 15.0
    assert uniform((15.0, 25.0), lambda count: b"\xff" * count) == 25.0


def test_back_off_doubles_up_to_a_bound() -> None:
    assert [back_off(failures, (1.0, 120.0), bytes) for failures in (1, 2, 3, 7, 8, 9, 10_000)] == [
        *(1.0, 2.0, 4.0, 64.0, 120.0, 120.0, 120.0)
    ]
    assert back_off(2, (1.0, 120.0), lambda count: b"\xff" * count) == 2.5
