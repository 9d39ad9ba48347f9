"""Deadlines of many: always those that a plain dictionary would give, without looking at more than the first."""

from __future__ import annotations

import random

import pytest

from p2ptun.node.schedule import FEW, STALE_PER_NAME, Schedule

START = 1000.0


def test_an_empty_schedule() -> None:
    schedule = Schedule()
    assert schedule.next() is None
    assert schedule.pop_due(1e9) == []
    schedule.set("nobody", None)
    assert len(schedule) == 0


def test_the_newest_deadline_counts() -> None:
    schedule = Schedule()
    schedule.set("a", START + 1)
    schedule.set("b", START + 2)
    assert schedule.next() == (START + 1, "a")
    schedule.set("a", START + 3)
    assert schedule.next() == (START + 2, "b")
    schedule.set("b", None)
    assert schedule.next() == (START + 3, "a")
    schedule.set("a", START + 1)
    assert schedule.pop_due(START + 5) == ["a"]
    assert schedule.next() is None


def test_the_same_deadline_again_costs_nothing() -> None:
    schedule = Schedule()
    for _ in range(10):
        schedule.set("a", START)
    assert len(schedule) == 1


def test_one_deadline_is_served_in_the_order_of_setting() -> None:
    schedule = Schedule()
    for name in "cab":
        schedule.set(name, START)
    assert schedule.pop_due(START) == ["c", "a", "b"]


def test_who_was_due_may_be_due_again_at_the_same_time() -> None:
    schedule = Schedule()
    schedule.set("a", START)
    assert schedule.pop_due(START) == ["a"]
    assert schedule.pop_due(START) == []
    schedule.set("a", START)
    assert schedule.pop_due(START) == ["a"]


@pytest.mark.parametrize("seed", range(20))
def test_it_says_what_a_dictionary_says(seed: int) -> None:
    draw = random.Random(seed)
    schedule, plain = Schedule(), dict[str, float]()
    now = START
    for _ in range(2000):
        name = str(draw.randrange(30))
        match draw.randrange(4):
            case 0 | 1:
                plain[name] = now + draw.choice([0.0, 0.5, 1.0, draw.random() * 30])
                schedule.set(name, plain[name])
            case 2:
                plain.pop(name, None)
                schedule.set(name, None)
            case _:
                now += draw.random() * 3
                due = schedule.pop_due(now)
                assert sorted(due) == sorted(each for each, at in plain.items() if at <= now), f"seed {seed}"
                assert [plain[each] for each in due] == sorted(plain[each] for each in due)
                plain = {each: at for each, at in plain.items() if at > now}
        first = schedule.next()
        assert (None if first is None else first[0]) == min(plain.values(), default=None), f"seed {seed}"
        assert first is None or plain[first[1]] == first[0]


def test_outdated_entries_stay_few() -> None:
    """Deadlines that are put off again and again, none of which ever comes."""
    schedule = Schedule()
    for step in range(10_000):
        schedule.set(str(step % 10), START + 100 + step)
        assert len(schedule) <= STALE_PER_NAME * 10 + FEW
    assert schedule.next() == (START + 100 + 9990, "0")
