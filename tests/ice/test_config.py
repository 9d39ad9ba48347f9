from __future__ import annotations

import pytest

from p2ptun.errors import ConfigError
from p2ptun.ice.config import AgentConfig


def test_constants_are_those_of_the_rfcs() -> None:
    config = AgentConfig()
    assert (config.pace, config.connected_pace, config.pac_timeout, config.max_pairs) == (0.02, 0.05, 39.5, 100)
    assert (config.consent_interval, config.consent_timeout) == (5.0, 30.0)


def test_pace_under_five_milliseconds_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 ms"):
        AgentConfig(pace=0.004)
    with pytest.raises(ConfigError, match="5 ms"):
        AgentConfig(connected_pace=0.004)
