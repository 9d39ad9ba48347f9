"""Each way in which a relay may fail is one sentence, and another that helps."""

from __future__ import annotations

import pytest

from p2ptun.daemon.relay_problem import explain
from p2ptun.daemon.turn_credentials import Issued, Login, SharedSecret, TurnCredentials
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.error import Code
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport

NOW = 1_800_000_000.0


def server(transport: Transport = Transport.UDP) -> Server:
    return Server(Endpoint.of("192.0.2.9", 443, transport), "turn.example.net")


def login(username: str) -> Issued:
    return TurnCredentials(Login(LongTermCredential(username, "hush-hush"))).issue(NOW)


MINTED = TurnCredentials(SharedSecret("hush-hush")).issue(NOW)

CASES = [
    (Transport.UDP, "Unauthenticated", Code.UNAUTHENTICATED, None, "wants a user name", "--turn-credentials FILE"),
    (Transport.TLS, "x", Code.UNAUTHENTICATED, login("alice"), "doesn't accept the user name and password", "Check"),
    (Transport.TLS, "x", Code.WRONG_CREDENTIALS, login("alice"), "doesn't accept the user name", "Check them"),
    (Transport.TCP, "x", Code.UNAUTHENTICATED, login("1700000000:a"), "good until 2023-11-14 22:13 UTC", "genturn"),
    (Transport.TCP, "x", Code.UNAUTHENTICATED, login("1900000000:a"), "doesn't accept the user name", "Check them"),
    (Transport.UDP, "x", Code.UNAUTHENTICATED, MINTED, "make of the secret", "clocks"),
    (Transport.UDP, "Quota", Code.ALLOCATION_QUOTA_REACHED, MINTED, "no room for us: Quota", "another relay"),
    (Transport.UDP, "Full", Code.INSUFFICIENT_CAPACITY, MINTED, "no room for us: Full", "another relay"),
    (Transport.UDP, "Forbidden", Code.FORBIDDEN, MINTED, "refuses us: Forbidden (403)", "whoever runs it"),
    (Transport.TLS, SendError.UNTRUSTED.value, None, None, "certificate", "--ca-file"),
    (Transport.UDP, "no answer", None, None, "can't be reached: no answer", "?transport=tcp"),
    (Transport.TLS, "no answer", None, None, "can't be reached: no answer", "nothing between"),
]


@pytest.mark.parametrize(("transport", "reason", "code", "issued", "sentence", "remedy"), CASES)
def test_a_problem_is_a_sentence_with_a_remedy(
    transport: Transport, reason: str, code: int | None, issued: Issued | None, sentence: str, remedy: str
) -> None:
    told = explain(server(transport), reason, code, issued)
    assert told[0].startswith("The relay turn.example.net:443 ")
    assert told[0].endswith(".")
    assert sentence in told[0]
    assert remedy in told[1]
    assert "hush" not in "".join(told)
