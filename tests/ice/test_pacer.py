from __future__ import annotations

from p2ptun.ice.pacer import MIN_PACE, SLOWEST, STRANGERS, Cadence, Pacer


def test_two_transactions_keep_their_distance_whoever_asks() -> None:
    pacer = Pacer()
    assert [round(pacer.reserve(1000.0) - 1000.0, 6) for _ in range(3)] == [0.0, MIN_PACE, 2 * MIN_PACE]


def test_what_wasn_t_used_isn_t_saved_up() -> None:
    pacer = Pacer(0.01)
    assert pacer.reserve(1000.0) == 1000.0
    assert pacer.reserve(2000.0) == 2000.0
    assert pacer.reserve(2000.0) == 2000.01


def test_one_agent_keeps_ta_and_a_place_among_all() -> None:
    pacer = Pacer()
    left, right = Cadence(pacer), Cadence(pacer)
    assert left.is_due(1000.0)
    assert not right.is_due(1000.0)
    assert right.next_at == 1000.0 + MIN_PACE
    assert right.is_due(right.next_at), "the place was reserved"
    left.begin(0.02, is_strange=False, now=1000.0)
    assert not left.is_due(1000.019)
    assert left.is_due(1000.02)


def test_a_chase_after_ever_new_addresses_slows_down_until_something_changes() -> None:
    cadence, now, begun = Cadence(Pacer()), 1000.0, 0
    while now < 1060.0:
        assert cadence.is_due(now)
        cadence.begin(0.02, is_strange=True, now=now)
        now = cadence.next_at
        begun += 1
    assert STRANGERS < begun < 5 * STRANGERS
    assert cadence.next_at - now <= SLOWEST
    cadence.hasten()
    cadence.begin(0.02, is_strange=True, now=now)
    assert round(cadence.next_at - now, 6) == 0.02


def test_signalled_candidates_are_checked_at_the_usual_pace_however_many() -> None:
    cadence = Cadence(Pacer())
    for _ in range(1000):
        cadence.begin(0.02, is_strange=False, now=1000.0)
    assert round(cadence.next_at - 1000.0, 6) == 0.02
