from __future__ import annotations

import pytest

from p2ptun.tunnel.timing import RETRY_INTERVAL, Timing


def test_the_default_is_wireguards() -> None:
    timing = Timing()
    assert (timing.rekey_interval, timing.reject_after, timing.forget_after) == (120, 180, 185)


@pytest.mark.parametrize("interval", [0.5, 3.0, 29.0, 30.0, 120.0, 3600.0])
def test_a_lost_handshake_message_never_loses_data(interval: float) -> None:
    timing = Timing(interval)
    assert timing.reject_after - timing.rekey_after(True, 0.999) > 2 * RETRY_INTERVAL
    assert timing.reject_after - timing.rekey_after(False, 0.999) > RETRY_INTERVAL


@pytest.mark.parametrize("interval", [0.5, 30.0, 120.0])
def test_the_initiator_goes_first(interval: float) -> None:
    timing = Timing(interval)
    assert interval <= timing.rekey_after(True, 0) < timing.rekey_after(True, 0.999) < timing.rekey_after(False, 0)
