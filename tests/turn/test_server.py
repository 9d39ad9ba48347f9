"""How a server is called."""

from __future__ import annotations

import pytest

from p2ptun.types import Transport

from .world import server_at


@pytest.mark.parametrize("transport", Transport)
def test_people_read_name_port_and_transport(transport: Transport) -> None:
    assert str(server_at("203.0.113.1", transport, 443, "turn.example")) == f"turn.example:443 ({transport.value})"
