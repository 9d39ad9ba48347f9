"""One server by name: when a round begins, with which addresses, and what a round's end means for the next one."""

from __future__ import annotations

import pytest

from p2ptun.turn.config import DEFAULT_CONFIG
from p2ptun.turn.event import LossReason, Problem
from p2ptun.turn.host import AT_ONCE, Goal, Host, rank
from p2ptun.types import Transport

from .world import START as NOW
from .world import random_bytes_from, server_at

UDP, TCP, TLS = (server_at("203.0.113.1", transport, name="relay.example") for transport in Transport)
RETRY, REFUSAL, UPGRADE = (
    DEFAULT_CONFIG.retry_interval[0],
    DEFAULT_CONFIG.refusal_interval[0],
    DEFAULT_CONFIG.upgrade_interval[0],
)


def make() -> Host:
    host = Host("relay.example", DEFAULT_CONFIG, random_bytes_from(1))
    for server in (TLS, UDP, TCP):
        host.add_server(server, None, NOW)
    return host


def test_a_first_round_has_every_address_the_better_transport_first() -> None:
    host = make()
    assert host.due_goal(None, True, NOW) is Goal.FIRST
    host.begin(Goal.FIRST, None)
    assert host.untried == [UDP, TCP, TLS]
    assert [rank(server) for server in host.untried] == [0, 1, 2]
    assert host.next_timeout(None, True) is None, "a round runs"


def test_a_server_that_is_not_needed_is_not_asked() -> None:
    host = make()
    assert host.due_goal(None, False, NOW) is None
    assert host.next_timeout(None, False) is None


def test_an_address_that_comes_late_joins_the_round() -> None:
    host = Host("relay.example", DEFAULT_CONFIG, random_bytes_from(1))
    host.add_server(TCP, None, NOW)
    host.begin(Goal.FIRST, None)
    host.add_server(UDP, None, NOW)
    assert host.untried == [UDP, TCP]


def test_an_address_that_is_better_than_what_serves_begins_an_upgrade() -> None:
    host = Host("relay.example", DEFAULT_CONFIG, random_bytes_from(1))
    host.add_server(TCP, None, NOW)
    host.succeed(TCP, NOW)
    host.add_server(TLS, TCP, NOW)
    assert host.due_goal(TCP, False, NOW) is None
    host.add_server(UDP, TCP, NOW)
    assert host.due_goal(TCP, False, NOW) is Goal.UPGRADE
    host.begin(Goal.UPGRADE, TCP)
    assert host.untried == [UDP]


def test_a_worse_transport_that_serves_is_left_for_a_better_one_later() -> None:
    host = make()
    host.succeed(TLS, NOW)
    assert host.due_goal(TLS, False, NOW + UPGRADE - 1) is None
    assert host.due_goal(TLS, False, NOW + UPGRADE) is Goal.UPGRADE
    host.succeed(UDP, NOW)
    assert host.next_timeout(UDP, False) is None


@pytest.mark.parametrize(("problem", "pause"), [(Problem.NO_ANSWER, RETRY), (Problem.QUOTA_REACHED, REFUSAL)])
def test_a_round_that_fails_is_followed_by_a_pause(problem: Problem, pause: float) -> None:
    host = make()
    host.begin(Goal.FIRST, None)
    host.note(UDP, problem, None)
    failure = host.fail(NOW)
    assert failure is not None
    assert failure.problem is problem
    assert host.failure is failure
    next_at = host.next_timeout(None, True)
    assert next_at is not None
    assert NOW + pause <= next_at <= NOW + 1.25 * pause


def test_the_most_telling_problem_is_told_and_only_when_it_is_news() -> None:
    host = make()
    for _ in range(2):
        host.begin(Goal.FIRST, None)
        host.note(UDP, Problem.NO_ANSWER, None)
        host.note(TCP, Problem.NO_CAPACITY, 508)
        host.note(TLS, Problem.CONNECTION_REFUSED, None)
        failure = host.fail(NOW)
        assert host.failure is not None
        assert (host.failure.server, host.failure.problem, host.failure.code) == (TCP, Problem.NO_CAPACITY, 508)
    assert failure is None, "known already"


def test_a_wrong_password_ends_the_round_at_once() -> None:
    host = make()
    host.begin(Goal.FIRST, None)
    host.note(UDP, Problem.WRONG_CREDENTIALS, 401)
    assert host.untried == []


def test_another_credential_replaces_what_serves() -> None:
    host = make()
    host.succeed(UDP, NOW)
    host.renew()
    assert host.due_goal(UDP, False, NOW) is Goal.RENEWAL
    host.begin(Goal.RENEWAL, UDP)
    assert host.untried == [UDP, TCP, TLS]
    host.succeed(UDP, NOW)
    assert host.due_goal(UDP, False, NOW) is None


@pytest.mark.parametrize(
    ("reason", "was_stable", "is_at_once"),
    [
        (LossReason.FORGOTTEN, True, True),
        (LossReason.CONNECTION_LOST, True, True),
        (LossReason.FORGOTTEN, False, True),
        (LossReason.SILENT, True, False),
        (LossReason.CREDENTIALS, True, False),
    ],
)
def test_who_may_still_answer_is_asked_again_at_once(reason: LossReason, was_stable: bool, is_at_once: bool) -> None:
    host = make()
    host.succeed(UDP, NOW)
    host.lose(UDP, reason, was_stable, NOW)
    assert (host.next_timeout(None, True) == AT_ONCE) is is_at_once


def test_who_loses_again_and_again_is_asked_less_often() -> None:
    host = make()
    host.lose(UDP, LossReason.FORGOTTEN, False, NOW)
    host.lose(UDP, LossReason.FORGOTTEN, False, NOW)
    next_at = host.next_timeout(None, True)
    assert next_at is not None
    assert next_at > NOW


def test_a_loss_during_an_upgrade_brings_back_the_worse_addresses() -> None:
    host = make()
    host.succeed(TCP, NOW)
    host.begin(Goal.UPGRADE, TCP)
    assert host.untried == [UDP]
    host.lose(TCP, LossReason.CONNECTION_LOST, True, NOW)
    assert host.goal is Goal.FIRST
    assert host.untried == [UDP, TCP, TLS]


def test_a_restart_forgets_how_it_went() -> None:
    host = make()
    host.begin(Goal.FIRST, None)
    host.note(UDP, Problem.NO_ANSWER, None)
    host.fail(NOW)
    host.restart()
    assert host.due_goal(None, True, NOW) is Goal.FIRST
