"""The timer wheel against a plain list of deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2ptun.relay.wheel import Wheel


def test_nothing_is_due_while_nothing_is_set() -> None:
    wheel: Wheel[str] = Wheel()
    assert wheel.next() is None
    assert wheel.pop_expired(1e9) == []
    wheel.cancel("a")
    assert len(wheel) == 0


def test_items_come_out_at_the_end_of_their_second() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.set("late", 1005.0)
    wheel.set("early", 1000.2)
    assert wheel.next() == 1001.0
    assert wheel.pop_expired(1000.9) == []
    assert wheel.pop_expired(1001.0) == ["early"]
    assert wheel.next() == 1005.0
    assert wheel.pop_expired(2000.0) == ["late"]
    assert len(wheel) == 0


def test_what_is_set_again_moves_either_way() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.set("a", 1010.0)
    wheel.set("a", 1020.0)
    assert wheel.next() == 1020.0
    wheel.set("a", 1005.0)
    assert wheel.pop_expired(1005.0) == ["a"]
    assert wheel.next() is None


def test_a_cancelled_item_leaves_nothing() -> None:
    wheel: Wheel[int] = Wheel()
    for turn in range(1000):
        wheel.set(turn, 1010.0)
        wheel.cancel(turn)
    assert len(wheel) == 0
    assert wheel.next() is None


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 30) | st.none()), max_size=30), st.floats(0, 40))
def test_it_does_what_a_plain_list_does(changes: list[tuple[int, float | None]], now: float) -> None:
    wheel: Wheel[int] = Wheel()
    plain: dict[int, float] = {}
    for item, at in changes:
        if at is None:
            wheel.cancel(item)
            plain.pop(item, None)
        else:
            wheel.set(item, at)
            plain[item] = at
    expired = set(wheel.pop_expired(now))
    assert {item for item, at in plain.items() if at <= now - 1} <= expired
    assert expired <= {item for item, at in plain.items() if at <= now}
    assert len(wheel) == len(plain) - len(expired)
    after = wheel.next()
    assert after is None or after > now
