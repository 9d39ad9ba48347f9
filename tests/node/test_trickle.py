"""What the other side hasn't been told is told once, in messages and descriptions that it accepts."""

from __future__ import annotations

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.priority import candidate_priority
from p2ptun.node.trickle import Trickle, read_candidates
from p2ptun.signal.candidate import encode_candidate
from p2ptun.signal.description import MAX_CANDIDATES as MAX_DESCRIBED
from p2ptun.tunnel.control import MAX_CANDIDATES, MAX_CONTROL_SIZE, Candidates, decode_control, encode_control
from p2ptun.types import Endpoint


def local(count: int) -> list[Candidate]:
    """Make host candidates, the best last, with addresses of the larger kind."""
    return [
        Candidate(
            CandidateType.HOST,
            endpoint := Endpoint.of(f"2001:db8::{number:x}", 41641),
            candidate_priority(CandidateType.HOST, 1000 + number),
            str(number),
            endpoint,
        )
        for number in range(count)
    ]


def test_what_was_described_is_no_news() -> None:
    trickle, candidates = Trickle(), local(5)
    assert set(trickle.describe(candidates[:3])) == set(candidates[:3])
    (message,) = trickle.news(candidates, 7)
    assert message == Candidates(7, tuple(encode_candidate(each) for each in candidates[3:]))
    assert list(trickle.news(candidates, 7)) == []


def test_a_full_description_has_the_best_and_the_rest_follows() -> None:
    trickle, candidates = Trickle(), local(MAX_DESCRIBED + 6)
    described = trickle.describe(candidates)
    assert described == tuple(reversed(candidates[6:]))
    (message,) = trickle.news(candidates, 0)
    assert [each.endpoint for each in read_candidates(message)] == [each.endpoint for each in candidates[:6]]


def test_much_news_comes_in_messages_that_are_accepted() -> None:
    candidates = local(2 * MAX_CANDIDATES + 1)
    messages = list(Trickle().news(candidates, 0))
    assert [len(message.candidates) for message in messages] == [MAX_CANDIDATES, MAX_CANDIDATES, 1]
    for message in messages:
        payload = encode_control(message)
        assert len(payload) <= MAX_CONTROL_SIZE
        assert decode_control(payload) == message
    read = [each.endpoint for message in messages for each in read_candidates(message)]
    assert read == [each.endpoint for each in candidates]


def test_what_is_malformed_is_passed_over() -> None:
    (good,) = local(1)
    packed = encode_candidate(good)
    message = Candidates(0, (b"", packed[:-1], packed, b"\xff" * 9))
    assert [each.endpoint for each in read_candidates(message)] == [good.endpoint]
