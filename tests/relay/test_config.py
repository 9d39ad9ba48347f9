"""The configuration of a server."""

from __future__ import annotations

import pytest

from p2ptun.errors import ConfigError
from p2ptun.relay.config import Limits, ServerConfig


def test_by_default_there_is_no_relay() -> None:
    assert ServerConfig().relay_addresses == ()
    assert ServerConfig().allowed_peers == ()


def test_a_default_server_has_bounds() -> None:
    limits = Limits()
    assert 0 < limits.user_allocations <= limits.address_allocations <= limits.allocations
    assert limits.permissions > 0
    assert limits.channels > 0
    assert limits.unauthenticated_burst >= 100 * limits.user_allocations  # as many challenges at once


@pytest.mark.parametrize(("lowest", "highest"), [(0, 10), (20, 10), (60000, 65536)])
def test_ports_are_a_range(lowest: int, highest: int) -> None:
    with pytest.raises(ConfigError, match=rf"{lowest}-{highest} is no range of ports") as caught:
        ServerConfig(lowest_port=lowest, highest_port=highest)
    assert caught.value.remedy
