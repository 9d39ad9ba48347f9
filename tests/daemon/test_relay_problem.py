"""Each way in which a relay may fail is one sentence, and another that helps."""

from __future__ import annotations

import pytest

from p2ptun.daemon.relay_problem import explain
from p2ptun.daemon.turn_credentials import Issued, Login, SharedSecret, TurnCredentials
from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.event import Problem
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, Transport

NOW = 1_800_000_000.0


def server(transport: Transport = Transport.UDP) -> Server:
    return Server(Endpoint.of("192.0.2.9", 443, transport), "turn.example.net")


def login(username: str) -> Issued:
    return TurnCredentials(Login(LongTermCredential(username, "hush-hush"))).issue(NOW)


MINTED = TurnCredentials(SharedSecret("hush-hush")).issue(NOW)

WRONG = Problem.WRONG_CREDENTIALS
CASES = [
    (Transport.UDP, Problem.NO_CREDENTIALS, 401, None, "wants a user name", "--turn-credentials FILE"),
    (Transport.TLS, WRONG, 401, login("alice"), "doesn't accept the user name and password", "Check"),
    (Transport.TLS, WRONG, 441, login("alice"), "doesn't accept the user name", "Check them"),
    (Transport.TCP, WRONG, 401, login("1700000000:a"), "good until 2023-11-14 22:13 UTC", "genturn"),
    (Transport.TCP, WRONG, 401, login("1900000000:a"), "doesn't accept the user name and", "Check them"),
    (Transport.UDP, WRONG, 401, MINTED, "make of the secret", "clocks"),
    (Transport.UDP, Problem.QUOTA_REACHED, 486, MINTED, "no allocation left", "another relay"),
    (Transport.UDP, Problem.FORBIDDEN, 403, MINTED, "forbids us to use it as a relay (403)", "whoever runs it"),
    (Transport.TLS, Problem.UNTRUSTED, None, None, "certificate", "--ca-file"),
    (Transport.UDP, Problem.NO_ANSWER, None, None, "doesn't answer", "turns: with port 443"),
    (Transport.TLS, Problem.NO_ANSWER, None, None, "doesn't answer", "turns: with port 443"),
]
CASES += [(Transport.UDP, each, None, None, each.value, "") for each in Problem]


@pytest.mark.parametrize(("transport", "problem", "code", "issued", "sentence", "remedy"), CASES)
def test_a_problem_is_a_sentence_with_a_remedy(
    transport: Transport, problem: Problem, code: int | None, issued: Issued | None, sentence: str, remedy: str
) -> None:
    told = explain(server(transport), problem.value, code, issued)
    assert told[0].startswith("The relay turn.example.net:443 ")
    assert told[0].endswith(".")
    assert sentence in told[0]
    assert remedy in told[1]
    assert told[1]
    assert "hush" not in "".join(told)


def test_what_is_new_to_us_is_said_as_it_is() -> None:
    assert explain(server(), "is on fire", 599, None)[0] == "The relay turn.example.net:443 is on fire (599)."
