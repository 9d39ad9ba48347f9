"""What may be sent in the long run."""

from __future__ import annotations

from p2ptun.ice.budget import Budget


def test_time_alone_gives_back_what_was_spent() -> None:
    budget = Budget(10, 0.5)
    assert budget.ready_at(10) <= 0.0
    budget.spend(8, 100.0)
    assert budget.ready_at(2) == 100.0
    assert budget.ready_at(4) == 101.0
    budget.spend(2, 100.0)
    assert budget.ready_at(1) == 100.5
    assert budget.ready_at(10) == 105.0


def test_rest_saves_up_no_more_than_there_was() -> None:
    budget = Budget(10, 0.5)
    budget.spend(1, 0.0)
    budget.spend(10, 1000.0)
    assert budget.ready_at(1) == 1000.5
