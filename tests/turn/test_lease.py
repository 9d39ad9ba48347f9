"""A client in the hands of the pool: loops of redirections, hints, and what is shown of it."""

from __future__ import annotations

from collections import Counter

import pytest

from p2ptun.turn.client import Client
from p2ptun.turn.config import DEFAULT_CONFIG
from p2ptun.turn.event import Problem
from p2ptun.turn.host import Host
from p2ptun.turn.lease import HINT_INTERVAL, MAX_REDIRECTS, PASSING_ERRORS, PROBLEMS, Lease, Stage
from p2ptun.turn.status import AllocationState
from p2ptun.types import Endpoint, SendError

from .world import ALICE, NOWHERE, random_bytes_from, server_at
from .world import START as NOW

SERVER = server_at("203.0.113.1", name="relay.example")


def make(trail: tuple[Endpoint, ...] = ()) -> Lease:
    draw = random_bytes_from(1)
    client = Client(SERVER, Endpoint(NOWHERE, 1), ALICE, draw, DEFAULT_CONFIG, Counter(), NOW)
    return Lease(client, Host(SERVER.name, DEFAULT_CONFIG, draw), SERVER, trail)


def test_nobody_is_asked_twice_on_one_way() -> None:
    lease = make((Endpoint.of("203.0.113.9", 3478),))
    assert lease.leads_in_circles(Endpoint.of("203.0.113.9", 3478))
    assert lease.leads_in_circles(SERVER.endpoint)
    assert not lease.leads_in_circles(Endpoint.of("203.0.113.2", 3478))


def test_a_way_of_redirections_has_an_end() -> None:
    trail = tuple(Endpoint.of("203.0.113.9", 1000 + number) for number in range(MAX_REDIRECTS))
    assert make(trail).leads_in_circles(Endpoint.of("203.0.113.2", 3478))
    assert not make(trail[1:]).leads_in_circles(Endpoint.of("203.0.113.2", 3478))


def test_hints_cost_nothing_and_count_once_a_second() -> None:
    lease = make()
    assert lease.take_hint(NOW)
    assert not lease.take_hint(NOW + HINT_INTERVAL / 2)
    assert lease.take_hint(NOW + HINT_INTERVAL)


@pytest.mark.parametrize(
    ("stage", "state"),
    [
        (Stage.TRYING, AllocationState.ASKED),
        (Stage.SERVING, AllocationState.READY),
        (Stage.RETIRING, AllocationState.REPLACED),
    ],
)
def test_status_tells_the_stage(stage: Stage, state: AllocationState) -> None:
    lease = make()
    lease.stage = stage
    status = lease.status
    assert (status.server, status.state, status.relayed, status.problem) == (SERVER, state, (), None)


def test_status_tells_why_the_last_attempt_failed() -> None:
    lease = make()
    lease.host.note(SERVER, Problem.NO_CAPACITY, 508)
    lease.host.fail(NOW)
    assert (lease.status.problem, lease.status.code) == (Problem.NO_CAPACITY, 508)


def test_no_error_both_passes_and_is_a_problem() -> None:
    assert not PASSING_ERRORS & PROBLEMS.keys()
    assert PASSING_ERRORS | PROBLEMS.keys() < set(SendError)
