"""Whatever a rendezvous server may answer: an error for people at most, and nothing in it that a terminal obeys."""

from __future__ import annotations

from contextlib import suppress

from p2ptun.errors import RendezvousError
from p2ptun.rendezvous.http_answer import (
    HealthAnswer,
    IceAnswer,
    MailAnswer,
    PostAnswer,
    Problem,
    SeatAnswer,
    Unreadable,
    check_seat,
    ice_servers,
    read_answer,
)
from p2ptun.rendezvous.http_problem import Reply, refusal
from p2ptun.rendezvous.http_url import parse_server_url
from p2ptun.signal.text import printable

SERVER = parse_server_url("https://rv.example.net")
STATUSES = (301, 400, 401, 404, 407, 408, 409, 410, 413, 429, 500, 503)


def check_refusal(status: int, body: bytes) -> None:
    """Check what people are told."""
    text = body.decode("latin-1")
    error = refusal(SERVER, "v1/rooms", Reply(status, "application/problem+json", body, text, text))
    assert isinstance(error, RendezvousError)
    for said in (str(error), error.remedy):
        assert said == printable(said)
        assert len(said) < 700
    assert str(error).endswith(".")


def test_one_input(data: bytes) -> None:
    for shape in (HealthAnswer, MailAnswer, PostAnswer, Problem):
        with suppress(Unreadable):
            read_answer(data, shape)
    with suppress(Unreadable):
        assert len(ice_servers(read_answer(data, IceAnswer)).servers) <= 16
    with suppress(Unreadable):
        check_seat(read_answer(data, SeatAnswer), None)
    check_refusal(STATUSES[len(data) % len(STATUSES)], data)
