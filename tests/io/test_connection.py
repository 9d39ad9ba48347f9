"""How long a connection lives."""

from __future__ import annotations

import socket

from p2ptun.io.connection import IDLE_TIMEOUT, UNPROVEN_TIMEOUT, Connection
from p2ptun.types import Endpoint, Transport

THERE = Endpoint.of("127.0.0.1", 9, Transport.TCP)


def test_only_use_of_a_proven_connection_prolongs_its_life() -> None:
    with socket.socket() as sock:
        connection = Connection(sock, THERE, True, 1000.0)
        connection.record_use(1003.0)
        assert connection.expires_at == 1000.0 + UNPROVEN_TIMEOUT
        connection.is_proven = True
        connection.record_use(1004.0)
        assert connection.expires_at == 1004.0 + IDLE_TIMEOUT


def test_one_that_we_open_has_to_be_watched_until_it_is_up() -> None:
    with socket.socket() as sock:
        opened = Connection(sock, THERE, False, 1000.0)
        assert (opened.is_proven, opened.is_watched, opened.is_connected) == (True, True, False)
        accepted = Connection(sock, THERE, True, 1000.0)
        assert (accepted.is_proven, accepted.is_watched, accepted.is_connected) == (False, False, True)
