from __future__ import annotations

import pytest

from p2ptun.errors import AuthenticationFailed
from p2ptun.tunnel.cookie import Stamp
from p2ptun.tunnel.event import SessionFailure
from p2ptun.tunnel.handshake import Birth, ResponderHandshake
from p2ptun.tunnel.index import IndexTable, SessionIndex
from p2ptun.tunnel.initiator import Initiator
from p2ptun.tunnel.timing import HEAD_START, REPEAT_INTERVAL
from p2ptun.tunnel.wire import CookieReply, Response, decode_initiation, decode_response
from tests.tunnel.world import ALGORITHMS, GREATER, LESSER, config_of, stream_of

NOW = 1000.0
BIRTH = Birth(NOW, NOW + 120)
INDICES: IndexTable[str] = IndexTable(stream_of("indices"))


@pytest.fixture
def initiator() -> Initiator:
    INDICES.__init__(stream_of("indices"))  # type: ignore[misc]
    return Initiator(
        config_of(LESSER, GREATER),
        Stamp(GREATER.public),
        stream_of("initiator"),
        lambda: INDICES.claim("me"),
        INDICES.release,
    )


def answer(datagram: bytes) -> Response:
    theirs = ResponderHandshake(config_of(GREATER, LESSER), decode_initiation(datagram), stream_of("responder"))
    return decode_response(theirs.respond(SessionIndex(2), ALGORITHMS[0]) + bytes(16))


def test_an_answer_makes_keys(initiator: Initiator) -> None:
    initiator.begin(b"binder", NOW)
    response = answer(initiator.datagram)
    assert initiator.is_answered_by(response)
    keypair = initiator.read_response(response, BIRTH)
    assert keypair.is_initiator
    assert INDICES.find(keypair.local_index) == "me"
    assert [initiator.is_waiting, initiator.is_answered_by(response)] == [False, False]
    with pytest.raises(AuthenticationFailed, match="nobody asked"):
        initiator.read_response(response, BIRTH)


def test_a_retry_is_a_new_handshake(initiator: Initiator) -> None:
    initiator.begin(b"", NOW)
    first = initiator.datagram
    late = answer(first)
    assert initiator.retry(b"", NOW + 5)
    second = decode_initiation(initiator.datagram)
    assert second.ephemeral != decode_initiation(first).ephemeral
    assert not initiator.is_answered_by(late)
    assert not initiator.is_answered_by(CookieReply(late.receiver, b"", b""))
    assert initiator.is_answered_by(CookieReply(second.sender, b"", b""))
    assert len(INDICES) == 1


@pytest.mark.parametrize(
    ("round_trip", "intervals"),
    [(None, [1, 2, 4, 5, 5]), (0.1, [1, 2, 4, 5, 5]), (2.0, [4, 5, 5]), (4.0, [8, 8])],
)
def test_retries_become_rarer_and_wait_for_two_round_trips(
    initiator: Initiator, round_trip: float | None, intervals: list[float]
) -> None:
    initiator.begin(b"", NOW, round_trip)
    for interval in intervals:
        assert initiator.retry_at(NOW, 0.0) == NOW + interval
        assert initiator.retry(b"", NOW)
    initiator.begin(b"", NOW)
    assert initiator.retry_at(NOW, 0.0) == NOW + intervals[0], "the round trip is still known"


def test_it_gives_up_after_90_seconds(initiator: Initiator) -> None:
    initiator.begin(b"", NOW)
    assert initiator.retry_at(NOW, 0.0) == NOW + 1
    assert initiator.retry_at(NOW, 1.0) == pytest.approx(NOW + 1 + 1 / 3)
    assert initiator.retry(b"", NOW + 89.9)
    assert initiator.retry_at(NOW + 89.9, 0.0) == NOW + 90
    assert not initiator.retry(b"", NOW + 90)
    assert not initiator.is_waiting
    assert initiator.failure is SessionFailure.NO_ANSWER
    assert len(INDICES) == 0
    initiator.lapse()


def test_it_remembers_that_an_answer_was_refused(initiator: Initiator) -> None:
    initiator.begin(b"", NOW)
    good = answer(initiator.datagram)
    forged = Response(good.receiver, good.body[:-1] + bytes([good.body[-1] ^ 1]), good.mac1)
    with pytest.raises(AuthenticationFailed):
        initiator.read_response(forged, BIRTH)
    failures = [initiator.failure]
    initiator.lapse()
    initiator.begin(b"", NOW)
    assert [*failures, initiator.failure] == [SessionFailure.UNAUTHENTIC_ANSWER, SessionFailure.NO_ANSWER]


def test_it_is_repeated_as_it_is_or_made_anew_when_its_answer_may_be_lost(initiator: Initiator) -> None:
    initiator.begin(b"", NOW)
    first = initiator.datagram
    assert initiator.repeat(b"", NOW + REPEAT_INTERVAL - 0.01) == first
    second = initiator.repeat(b"", NOW + REPEAT_INTERVAL)
    assert second == initiator.datagram != first
    assert initiator.is_answered_by(answer(second))
    assert not initiator.is_answered_by(answer(first))
    assert len(INDICES) == 1


def test_the_greater_key_insists_unless_its_initiation_is_just_out() -> None:
    insisting = []
    for ours, theirs in ((LESSER, GREATER), (GREATER, LESSER)):
        initiator = Initiator(
            config_of(ours, theirs), Stamp(theirs.public), stream_of("i"), lambda: INDICES.claim("me"), INDICES.release
        )
        insisting.append(initiator.insists(NOW))
        initiator.begin(b"", NOW)
        insisting.append(initiator.insists(NOW + HEAD_START))
        insisting.append(initiator.is_waiting)
        insisting.append(initiator.insists(NOW + HEAD_START / 2))
        insisting.append(initiator.is_waiting)
        initiator.lapse()
    assert insisting == [False, False, True, False, True, False, True, True, False, False]
