"""How the other side's names are asked for (section numbers are RFC 6762's)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.event import LossReason, NameLost, NameResolved
from p2ptun.mdns.link import GROUP_V4, GROUP_V6, Locals
from p2ptun.mdns.message import Message, Record, RecordType, address_record
from p2ptun.mdns.name import labels_of
from p2ptun.mdns.querier import MAX_LOOKUPS, NAMES_PER_MESSAGE, Querier
from p2ptun.types import Endpoint
from tests.mdns.material import ADDRESS, ADDRESS_V6, ETH_V4, ETH_V6, NEIGHBOUR, START, WLAN_V4, ask, name, read, sent


def make_querier(*locals_: Endpoint, is_shared: bool = False) -> tuple[Querier, Locals]:
    known = Locals()
    for local in locals_ or (ETH_V4,):
        known.add(local, "eth0", is_shared)
    return Querier(known), known


def events(querier: Querier) -> list[object]:
    return list(iter(querier.next_event, None))


def answer(number: int, *addresses: object, ttl: int = 120) -> Message:
    records = tuple(address_record(labels_of(name(number)), ip_address(str(each)), ttl) for each in addresses)
    return Message(is_response=True, answers=records)


def both(number: int, wants_unicast: bool = False) -> tuple[object, object]:
    return ask(number, RecordType.A, wants_unicast), ask(number, RecordType.AAAA, wants_unicast)


def test_a_name_is_asked_for_at_once_then_after_1_and_2_seconds() -> None:  # 5.2
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    times = [START] * len(sent(querier))
    while (at := querier.next_timeout()) is not None:
        assert at > times[-1]
        querier.handle_timeout(at)
        times += [at] * len(sent(querier))
        if at == START + 5:
            break
    assert times == [START, START + 1, START + 3]
    assert events(querier) == [NameLost(name(1), LossReason.TIMEOUT)]
    assert querier.next_timeout() is None


def test_the_first_question_wants_unicast_and_later_ones_dont() -> None:  # 5.4
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    assert read(sent(querier)) == [Message(questions=both(1, True))]  # type: ignore[arg-type]
    querier.handle_timeout(START + 1)
    assert read(sent(querier)) == [Message(questions=both(1))]  # type: ignore[arg-type]


def test_over_a_shared_port_everybody_is_to_hear_the_answer() -> None:  # 15.1
    querier, _ = make_querier(is_shared=True)
    querier.resolve([name(1)], START)
    assert read(sent(querier)) == [Message(questions=both(1))]  # type: ignore[arg-type]


def test_every_link_is_asked() -> None:
    querier, known = make_querier(ETH_V4, ETH_V6)
    querier.resolve([name(1)], START)
    assert [(each.source, each.destination) for each in sent(querier)] == [(ETH_V4, GROUP_V4), (ETH_V6, GROUP_V6)]
    known.add(WLAN_V4, "wlan0", is_shared=False)
    querier.add_local(WLAN_V4)
    assert [each.source for each in sent(querier)] == [WLAN_V4]


def test_several_names_share_a_query_as_many_as_fit() -> None:
    querier, _ = make_querier()
    querier.resolve([name(number) for number in range(NAMES_PER_MESSAGE + 1)], START)
    transmits = sent(querier)
    assert [len(each.questions) for each in read(transmits)] == [2 * NAMES_PER_MESSAGE, 2]
    assert all(len(each.payload) < 1232 for each in transmits)


def test_an_answer_ends_the_questions() -> None:
    querier, _ = make_querier()
    querier.resolve([name(1), name(2)], START)
    sent(querier)
    assert querier.receive_response(answer(1, ADDRESS), NEIGHBOUR) is None
    assert events(querier) == [NameResolved(name(1), ADDRESS)]
    querier.handle_timeout(START + 1)
    assert read(sent(querier)) == [Message(questions=both(2))]  # type: ignore[arg-type]
    assert querier.receive_response(answer(1, ADDRESS), NEIGHBOUR) is DropReason.NOT_ASKED_FOR


def test_additional_records_answer_too() -> None:
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    message = Message(is_response=True, additionals=answer(1, ADDRESS_V6, ADDRESS_V6).answers)
    assert querier.receive_response(message, NEIGHBOUR) is None
    assert events(querier) == [NameResolved(name(1), ADDRESS_V6)]


def test_a_name_with_two_addresses_is_ignored() -> None:  # the draft, 3.2.2
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    assert querier.receive_response(answer(1, ADDRESS, ADDRESS_V6), NEIGHBOUR) is None
    assert events(querier) == [NameLost(name(1), LossReason.AMBIGUOUS)]
    assert querier.next_timeout() is None


@pytest.mark.parametrize(
    ("message", "port", "reason"),
    [
        (answer(1, ADDRESS), 5354, DropReason.FOREIGN_PORT),  # 6
        (answer(2, ADDRESS), 5353, DropReason.NOT_ASKED_FOR),
        (answer(1, ADDRESS, ttl=0), 5353, DropReason.NOT_ASKED_FOR),  # 10.1: a goodbye
        (
            Message(is_response=True, answers=(Record(labels_of(name(1)), 16, b"", 120),)),
            5353,
            DropReason.NOT_ASKED_FOR,
        ),
        (Message(is_response=True), 5353, DropReason.NOT_ASKED_FOR),
    ],
)
def test_what_is_no_answer_changes_nothing(message: Message, port: int, reason: DropReason) -> None:
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    assert querier.receive_response(message, Endpoint(NEIGHBOUR.address, port)) is reason
    assert events(querier) == []
    assert querier.next_timeout() == START + 1


def test_a_name_that_is_being_asked_for_is_let_be() -> None:
    querier, _ = make_querier()
    querier.resolve([name(1), name(1)], START)
    querier.resolve([name(1)], START + 0.5)
    assert len(sent(querier)) == 1
    querier.receive_response(answer(1, ADDRESS), NEIGHBOUR)
    assert events(querier) == [NameResolved(name(1), ADDRESS)]
    querier.resolve([name(1)], START + 1)  # nothing is remembered
    assert len(sent(querier)) == 1


@pytest.mark.parametrize("foreign", ["printer.local", "example.org", name(1).upper()])
def test_only_names_that_hide_addresses_are_asked_for(foreign: str) -> None:
    querier, _ = make_querier()
    querier.resolve([foreign], START)
    assert sent(querier) == []
    assert events(querier) == [NameLost(foreign, LossReason.UNACCEPTABLE)]


def test_a_hostile_peer_gets_so_many_names_asked_for() -> None:
    querier, _ = make_querier()
    querier.resolve([name(number) for number in range(MAX_LOOKUPS + 2)], START)
    assert events(querier) == [NameLost(name(MAX_LOOKUPS + more), LossReason.TOO_MANY) for more in range(2)]
    querier.receive_response(answer(0, ADDRESS), NEIGHBOUR)
    querier.resolve([name(MAX_LOOKUPS)], START + 1)
    assert events(querier) == [NameResolved(name(0), ADDRESS)]


def test_after_a_sleep_nothing_is_asked_in_a_row() -> None:
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    sent(querier)
    querier.handle_timeout(START + 4.5)
    assert len(sent(querier)) == 1
    assert querier.next_timeout() == START + 5
    querier.handle_timeout(START + 3600)
    assert sent(querier) == []
    assert events(querier) == [NameLost(name(1), LossReason.TIMEOUT)]


def test_closed_it_asks_no_more() -> None:
    querier, _ = make_querier()
    querier.resolve([name(1)], START)
    sent(querier)
    querier.close()
    querier.handle_timeout(START + 1)
    assert sent(querier) == []
    assert querier.next_timeout() is None
    assert events(querier) == []
