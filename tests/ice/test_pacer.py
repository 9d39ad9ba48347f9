from __future__ import annotations

from p2ptun.ice.pacer import MIN_PACE, Pacer


def test_two_transactions_keep_their_distance_whoever_asks() -> None:
    pacer = Pacer()
    assert [round(pacer.reserve(1000.0) - 1000.0, 6) for _ in range(3)] == [0.0, MIN_PACE, 2 * MIN_PACE]


def test_what_wasn_t_used_isn_t_saved_up() -> None:
    pacer = Pacer(0.01)
    assert pacer.reserve(1000.0) == 1000.0
    assert pacer.reserve(2000.0) == 2000.0
    assert pacer.reserve(2000.0) == 2000.01
