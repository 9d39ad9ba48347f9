from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptun.tunnel.replay import WINDOW, ReplayWindow


class Model:
    """The definition, in a set: refuse what was seen, and what is 8192 or more behind the highest."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.highest = -1

    def accept(self, counter: int) -> bool:
        if counter in self.seen or counter <= self.highest - WINDOW:
            return False
        self.seen.add(counter)
        self.highest = max(self.highest, counter)
        return True


STEPS = st.one_of(
    st.integers(-20, 20),
    st.integers(-WINDOW - 9, WINDOW + 9),
    st.sampled_from([-WINDOW - 1, -WINDOW, -WINDOW + 1, WINDOW - 1, WINDOW, 2 * WINDOW, 2 * WINDOW + 7, 1 << 40]),
)


@settings(max_examples=300)
@given(st.integers(0, 1 << 60), st.lists(STEPS, max_size=120))
def test_it_agrees_with_a_set(start: int, steps: list[int]) -> None:
    window, model = ReplayWindow(), Model()
    for step in [0, *steps]:
        counter = max(0, (model.highest if model.seen else start) + step)
        assert window.accept(counter) == model.accept(counter), (counter, model.highest)


def test_everything_in_the_window_is_taken_once() -> None:
    window = ReplayWindow()
    assert window.accept(WINDOW)
    assert not window.accept(0)
    assert all(window.accept(counter) for counter in range(1, WINDOW))
    assert not any(window.accept(counter) for counter in range(WINDOW + 1))


def test_a_jump_forgets_what_stood_in_the_ring() -> None:
    window = ReplayWindow()
    for counter in range(100):
        assert window.accept(counter)
    assert window.accept(1 << 50)
    assert all(window.accept((1 << 50) - ago) for ago in range(1, WINDOW))
    assert not window.accept((1 << 50) - WINDOW)


@pytest.mark.parametrize("highest", [2**64 - 2**13 - 1, 2**64 - 1])
def test_the_last_counters_work(highest: int) -> None:
    window = ReplayWindow()
    assert window.accept(highest)
    assert not window.accept(highest)
    assert window.accept(highest - 1)
