from __future__ import annotations

from random import Random

import pytest

from p2ptun.rendezvous.backoff import Backoff


def test_waits_double_and_spread() -> None:
    backoffs = [Backoff(Random(seed)) for seed in range(200)]
    for ceiling in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        delays = [each.next_delay() for each in backoffs]
        assert all(ceiling / 2 <= delay <= ceiling for delay in delays)
        assert max(delays) - min(delays) > 0.4 * ceiling


def test_they_begin_anew() -> None:
    backoff = Backoff(Random(1))
    for _ in range(5):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 1.0


@pytest.mark.parametrize(
    ("told", "least", "most"), [(0, 0.5, 1), (7, 7.5, 8), (59.9, 60, 60), (1e9, 60, 60), (-5, 0.5, 1)]
)
def test_what_a_server_tells_goes_before_and_has_a_bound(told: float, least: float, most: float) -> None:
    backoff = Backoff(Random(1))
    assert all(least <= backoff.next_delay(told) <= most for _ in range(100))
    assert backoff.next_delay() <= 30.0
