"""What waits for a path is the newest, and leaves in order."""

from __future__ import annotations

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.node.outbox import MAX_HELD, Outbox
from p2ptun.node.path import Path
from p2ptun.types import Transmit
from tests.sim.network import at
from tests.sim.node import batch_of

HERE, THERE = at("192.0.2.1:1"), at("192.0.2.2:2")
OURS, THEIRS = (Candidate(CandidateType.HOST, end, 1, "1", end) for end in (HERE, THERE))
PATH = Path(HERE, THERE, OURS, THEIRS, None)
RESPONSE = b"\xd2"


def payloads(outbox: Outbox) -> list[bytes]:
    taken = []
    while (transmit := outbox.take()) is not None:
        assert (transmit.source, transmit.destination) == (HERE, THERE)
        taken.append(transmit.payload)
    return taken


def test_nothing_is_in_an_empty_one() -> None:
    outbox = Outbox()
    outbox.release(PATH)
    assert outbox.take() is None
    assert not outbox.holds_response


def test_it_is_sent_in_order() -> None:
    outbox = Outbox()
    outbox.add(Transmit(b"1", HERE, THERE))
    outbox.hold(b"2")
    outbox.release(PATH)
    outbox.add_batch(batch_of([b"3", b"4"]), PATH)
    assert payloads(outbox) == [b"1", b"2", b"3", b"4"]


def test_the_newest_few_wait() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.hold(bytes([number]))
    assert payloads(outbox) == []
    outbox.release(PATH)
    assert payloads(outbox) == [bytes([number]) for number in range(10 - MAX_HELD, 10)]
    outbox.release(PATH)
    assert payloads(outbox) == []


def test_it_knows_whether_an_answer_waits() -> None:
    outbox = Outbox()
    known: list[bool] = []
    for act in (outbox.hold, outbox.hold):
        act(RESPONSE if known else b"\xd1initiation")
        known.append(outbox.holds_response)
    outbox.release(PATH)
    assert [*known, outbox.holds_response] == [False, True, False]


def test_an_answer_is_repeated_over_another_way_until_its_keys_are_in_use() -> None:
    outbox = Outbox()
    outbox.repeat()
    outbox.hold(RESPONSE)
    outbox.repeat()
    outbox.release(PATH)
    assert payloads(outbox) == [RESPONSE]
    outbox.repeat()
    assert outbox.holds_response
    outbox.release(PATH)
    assert payloads(outbox) == [RESPONSE]
    outbox.confirm()
    outbox.repeat()
    outbox.release(PATH)
    assert payloads(outbox) == []
