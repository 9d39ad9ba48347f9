"""What refused requests are told."""

from __future__ import annotations

import json

import pytest

from p2ptun.rendezvous.backoff import SPREAD
from p2ptun.rendezvous.base import BurnReason
from p2ptun.rendezvous.trouble import PATIENCE
from p2ptun.server.http.problem import Problem, Slug, not_found, of_refusal, retry, too_large, unauthorized
from p2ptun.server.refusal import Kind, Limit, Refusal

REFUSALS = [
    *(Refusal(kind) for kind in Kind),
    *(Refusal(Kind.FULL, limit=limit) for limit in Limit),
    *(Refusal(Kind.BURNT, reason=reason) for reason in BurnReason),
]


@pytest.mark.parametrize(
    "problem",
    [*map(of_refusal, REFUSALS), not_found(), too_large(), unauthorized("No."), retry(Slug.FULL, "No.", "Wait.", 3)],
)
def test_every_problem_is_whole(problem: Problem) -> None:
    found = json.loads(problem.encode())
    assert found["type"] == f"urn:p2ptun:problem:{problem.slug.value}"
    assert found["status"] == problem.slug.status
    assert found["title"]
    for text in (found["detail"], found["remedy"]):
        assert text[0].isupper()
        assert not text.endswith(" ")
    assert found["detail"].endswith(".")
    assert ("Retry-After" in problem.headers) == (problem.slug.status in (429, 503))
    assert ("WWW-Authenticate" in problem.headers) == (problem.slug.status == 401)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal(Kind.UNKNOWN), 404),
        (Refusal(Kind.CROWDED), 409),
        (Refusal(Kind.BURNT), 410),
        (Refusal(Kind.UNAUTHORIZED), 401),
        (Refusal(Kind.UNAVAILABLE), 503),
        (Refusal(Kind.FULL), 503),
        (Refusal(Kind.FULL, limit=Limit.ROOMS), 503),
        (Refusal(Kind.FULL, limit=Limit.POLLS), 503),
        (Refusal(Kind.FULL, limit=Limit.MESSAGES), 429),
        (Refusal(Kind.FULL, limit=Limit.SIDE_BYTES), 429),
        (Refusal(Kind.FULL, limit=Limit.MESSAGE), 413),
    ],
)
def test_what_a_room_says_has_a_status(refusal: Refusal, status: int) -> None:
    assert of_refusal(refusal).slug.status == status


def test_a_burnt_room_says_why() -> None:
    told = json.loads(of_refusal(Refusal(Kind.BURNT, reason=BurnReason.WRONG_CODE)).encode())
    assert told["reason"] == "wrong-code"
    assert "reason" not in json.loads(of_refusal(Refusal(Kind.UNKNOWN)).encode())


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.2, "2"), (7.0, "7")])
def test_nobody_is_asked_back_too_early(seconds: float, told: str) -> None:
    assert retry(Slug.FULL, "No.", "Wait.", seconds).headers["Retry-After"] == told


def test_of_a_store_that_was_away_for_a_moment_nobody_is_told() -> None:
    """Who asks again, as late as told and spread, does so before a client tells its person."""
    assert int(of_refusal(Refusal(Kind.UNAVAILABLE)).headers["Retry-After"]) + SPREAD < PATIENCE


def test_every_status_is_an_error_and_every_name_its_own() -> None:
    assert all(400 <= slug.status < 600 for slug in Slug)
    assert len({slug.value for slug in Slug}) == len(Slug)
