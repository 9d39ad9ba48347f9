from __future__ import annotations

import base64
from contextlib import suppress
from random import Random

import msgspec
import pytest

from p2ptun.rendezvous.base import IceServers
from p2ptun.rendezvous.http_answer import (
    MAX_ICE_SERVERS,
    HealthAnswer,
    IceAnswer,
    IceEntry,
    MailAnswer,
    PostAnswer,
    Problem,
    SeatAnswer,
    Unreadable,
    check_seat,
    ice_servers,
    is_number,
    is_token,
    read_answer,
    told,
)
from p2ptun.rendezvous.http_problem import Reply
from tests.rendezvous.place import NAME, TOKEN_SECRET, seat

SHAPES = (HealthAnswer, IceAnswer, MailAnswer, PostAnswer, Problem, SeatAnswer)
DOCUMENT = msgspec.json.encode(
    seat(
        messages=({"sequence": 1, "body": base64.b64encode(b"\0hello").decode()}, {"sequence": 2, "notice": "joined"}),
        ice={"servers": [{"urls": ["stun:a.example"]}], "ttl": 86400},
    )
)


def test_a_seat_is_read_whole() -> None:
    answer = read_answer(DOCUMENT, SeatAnswer)
    check_seat(answer, "42")
    check_seat(answer, None, f"42.{TOKEN_SECRET}")
    assert [(each.sequence, each.body, each.notice) for each in answer.messages] == [
        (1, b"\0hello", None),
        (2, None, "joined"),
    ]
    assert ice_servers(answer.ice).lifetime == 86400


def test_what_a_newer_server_adds_is_left_out() -> None:
    document = {**msgspec.json.decode(DOCUMENT), "colour": ["red"]}
    assert read_answer(msgspec.json.encode(document), SeatAnswer) == read_answer(DOCUMENT, SeatAnswer)


def test_a_cut_answer_is_none() -> None:
    for size in range(len(DOCUMENT)):
        with pytest.raises(Unreadable):
            read_answer(DOCUMENT[:size], SeatAnswer)


def test_bytes_that_nobody_meant_are_none() -> None:
    random = Random(1)
    for _ in range(2000):
        damaged = bytearray(DOCUMENT)
        for _ in range(random.randrange(1, 8)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        for shape in SHAPES:
            for body in (bytes(damaged), random.randbytes(random.randrange(64))):
                with suppress(Unreadable):
                    read_answer(body, shape)


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"ice":' * 100_000])
def test_depth_is_no_weapon(deep: bytes) -> None:
    for shape in SHAPES:
        with pytest.raises(Unreadable):
            read_answer(deep, shape)


@pytest.mark.parametrize("ttl", ["NaN", "Infinity", "1e999", "-1", '"1"'])
def test_a_lifetime_is_a_number(ttl: str) -> None:
    with pytest.raises(Unreadable):
        read_answer(f'{{"servers":[],"ttl":{ttl}}}'.encode(), IceAnswer)


def test_a_seat_elsewhere_is_none() -> None:
    here = SeatAnswer("42", f"42.{TOKEN_SECRET}")
    named = SeatAnswer(NAME, f"{NAME}.{TOKEN_SECRET}")
    check_seat(named, NAME, named.side_token)
    for answer, room, token in ((here, "43", None), (here, None, "42.x"), (named, None, None), (here, NAME, None)):
        with pytest.raises(Unreadable):
            check_seat(answer, room, token)


def test_numbers_and_tokens_have_a_form() -> None:
    assert all(map(is_number, ("1", "42", "999999999")))
    assert not any(map(is_number, ("", "0", "042", "1234567890", "-1", "+1", "4\n", "\u0664\u0662", "0x1", "4 2")))
    assert is_token(f"42.{'aZ09_-' * 7}a")
    assert not any(map(is_token, (f"42{TOKEN_SECRET}", f"42.{TOKEN_SECRET}\n", f"x.{TOKEN_SECRET}", f"42.{'é' * 43}")))


def test_servers_on_offer_are_bounded() -> None:
    urls = [f"stun:s{number}.example" for number in range(MAX_ICE_SERVERS)]
    many = IceAnswer([IceEntry([f"{url}x{place}" for url in urls]) for place in range(MAX_ICE_SERVERS)])
    assert len(ice_servers(many).servers) == MAX_ICE_SERVERS
    assert ice_servers(IceAnswer()) == IceServers()


def test_words_are_cut_and_cleaned() -> None:
    assert told(" two\n\tlines\x07 ") == "two lines"
    assert told("x" * 300) == "x" * 199 + "…"
    assert told("\u202e\u200b" * 10_000) == ""


def test_no_token_password_or_message_is_shown() -> None:
    relay = IceAnswer([IceEntry(["turn:a.example"], "user", "hidden")])
    shown = repr([SeatAnswer("42", "42.hidden", relay), relay, Reply(200, body=b"hidden")])
    assert "hidden" not in shown
    assert "a.example" in shown
