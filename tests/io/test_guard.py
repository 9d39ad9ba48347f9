"""The way out, as the kernel tells it. With tunnels: test_guard_root."""

from __future__ import annotations

import socket
import time

from p2ptun.io.guard import RouteGuard
from p2ptun.types import Endpoint

HERE, THERE = Endpoint.of("127.0.0.1", 4000), Endpoint.of("127.0.0.2", 5000)
LOOPBACK = socket.if_nametoindex("lo")


def test_the_way_to_loopback() -> None:
    guard = RouteGuard()
    assert guard.way_out(HERE, THERE) == LOOPBACK
    assert guard.way_out(Endpoint.of("::1", 4000), Endpoint.of("::1", 5000)) == LOOPBACK
    guard.close()
    guard.close()


def test_no_way_is_nothing_to_refuse() -> None:
    guard = RouteGuard()
    assert guard.way_out(Endpoint.of("::1", 4000), Endpoint.of("fe80::1%nowhere0", 9)) is None
    assert guard.way_out(Endpoint.of("192.0.2.9", 1), THERE) is None, "that isn't our address"
    assert not guard.refuses(Endpoint.of("192.0.2.9", 1), THERE)
    guard.close()
    assert guard.way_out(HERE, THERE) is None, "who can't be asked doesn't answer"


def test_a_tunnel_is_refused_and_so_is_an_interface_that_is_not_known_yet() -> None:
    guard = RouteGuard()
    assert guard.refuses(HERE, THERE)
    guard.learn({LOOPBACK: False})
    assert not guard.refuses(HERE, THERE)
    guard.learn({LOOPBACK: True})
    assert guard.refuses(HERE, THERE)
    guard.close()


def test_a_question_takes_far_less_than_a_millisecond() -> None:
    """It is asked in the event loop. Measured over many, for one may meet whatever else the machine does."""
    guard = RouteGuard()
    began = time.perf_counter()
    for _ in range(500):
        guard.way_out(HERE, THERE)
    took = (time.perf_counter() - began) / 500
    print(f"a route is looked up in {took * 1e6:.0f} us")
    assert took < 0.001
    guard.close()
