"""Tokens are never in use twice, and closing comes last."""

from __future__ import annotations

import pytest

from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.sockets import LAST_TOKEN, Sockets, is_stream
from p2ptun.types import Endpoint, Transport

from .world import NOWHERE, server_at


@pytest.mark.parametrize("transport", Transport)
def test_a_socket_has_the_transport_of_its_server(transport: Transport) -> None:
    sockets = Sockets()
    server = server_at("203.0.113.1", transport)
    token = sockets.open(server)
    assert token == Endpoint.of(NOWHERE, 1, transport)
    assert is_stream(token) == (transport is not Transport.UDP)
    assert not sockets.is_open(token)
    assert sockets.next_order(has_farewells=False) == OpenSocket(token, server)
    assert sockets.is_open(token)
    assert sockets.next_order(has_farewells=False) is None


def test_closing_waits_for_what_is_still_to_be_sent() -> None:
    sockets = Sockets()
    first = sockets.open(server_at("203.0.113.1"))
    sockets.close(first)
    second = sockets.open(server_at("203.0.113.2"))
    assert sockets.next_order(has_farewells=True) == OpenSocket(first, server_at("203.0.113.1"))
    assert sockets.next_order(has_farewells=True) == OpenSocket(second, server_at("203.0.113.2"))
    assert sockets.next_order(has_farewells=True) is None
    assert sockets.next_order(has_farewells=False) == CloseSocket(first)


def test_numbers_begin_again_and_skip_what_is_in_use() -> None:
    sockets = Sockets()
    kept = sockets.open(server_at("203.0.113.1"))
    for _ in range(LAST_TOKEN - 1):
        sockets.close(sockets.open(server_at("203.0.113.1")))
        while sockets.next_order(has_farewells=False) is not None:
            pass
    assert kept.port == 1
    assert sockets.open(server_at("203.0.113.1")).port == 2
