"""When and how our names are answered for (section numbers are RFC 6762's)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.link import GROUP_V4, GROUP_V6, Locals
from p2ptun.mdns.message import ANY_CLASS, Message, Record, RecordType, address_record, denial_record
from p2ptun.mdns.name import labels_of
from p2ptun.mdns.responder import (
    HOST_TTL,
    LEGACY_TTL,
    MAX_NAMES,
    MAX_UNICASTS,
    NAMES_PER_MESSAGE,
    RECENT,
    Responder,
)
from p2ptun.types import Endpoint, IPAddress
from tests.mdns.material import (
    ADDRESS,
    ADDRESS_V6,
    ETH_V4,
    ETH_V6,
    LEGACY,
    NEIGHBOUR,
    NEIGHBOUR_V6,
    START,
    WLAN_V4,
    ask,
    name,
    read,
    sent,
)


def make_responder(*locals_: tuple[Endpoint, str]) -> tuple[Responder, Locals]:
    known = Locals()
    responder = Responder(known)
    for local, link in locals_ or ((ETH_V4, "eth0"),):
        known.add(local, link, is_shared=False)
    return responder, known


def make_known(number: int = 1, address: IPAddress = ADDRESS) -> Responder:
    """Make a responder that has announced one name on eth0, both times."""
    responder, _ = make_responder()
    assert responder.register(labels_of(name(number)), address, "eth0", START)
    responder.handle_timeout(START + 1)
    assert len(sent(responder)) == 2
    assert responder.next_timeout() is None
    return responder


def query(*questions: object, known: tuple[Record, ...] = (), query_id: int = 0) -> Message:
    return Message(id=query_id, questions=questions, answers=known)  # type: ignore[arg-type]


def record(number: int = 1, ttl: int = HOST_TTL, is_unique: bool = True) -> Record:
    return address_record(labels_of(name(number)), ADDRESS, ttl, is_unique)


def denial(number: int = 1, ttl: int = HOST_TTL, is_unique: bool = True) -> Record:
    return denial_record(labels_of(name(number)), RecordType.A, ttl, is_unique)


ANSWER = Message(is_response=True, answers=(record(),), additionals=(denial(),))


def test_a_name_is_announced_twice_a_second_apart() -> None:  # 8.3
    responder, _ = make_responder((ETH_V4, "eth0"), (ETH_V6, "eth0"), (WLAN_V4, "wlan0"))
    assert responder.register(labels_of(name(1)), ADDRESS, "eth0", START)
    first = sent(responder)
    assert [(each.source, each.destination) for each in first] == [(ETH_V4, GROUP_V4), (ETH_V6, GROUP_V6)]
    assert read(first) == [ANSWER, ANSWER]
    assert responder.next_timeout() == START + 1
    responder.handle_timeout(START + 0.99)
    assert sent(responder) == []
    responder.handle_timeout(START + 1)
    assert read(sent(responder)) == [ANSWER, ANSWER]
    assert responder.next_timeout() is None


def test_several_names_are_announced_together_as_many_as_fit() -> None:
    responder, known = make_responder((WLAN_V4, "wlan0"))
    for number in range(NAMES_PER_MESSAGE + 1):
        assert responder.register(labels_of(name(number)), ADDRESS, "eth0", START)
    assert sent(responder) == []  # nobody to tell
    known.add(ETH_V4, "eth0", is_shared=False)
    responder.add_local(ETH_V4, START)
    transmits = sent(responder)
    assert [len(each.answers) for each in read(transmits)] == [NAMES_PER_MESSAGE, 1]
    assert all(len(each.payload) < 1232 for each in transmits)


def test_a_name_is_registered_once_and_there_is_a_limit() -> None:
    responder, _ = make_responder()
    for number in range(MAX_NAMES):
        assert responder.register(labels_of(name(number)), ADDRESS, "eth0", START)
    assert not responder.register(labels_of(name(0)), ADDRESS_V6, "eth0", START)
    assert not responder.register(labels_of(name(MAX_NAMES)), ADDRESS, "eth0", START)


def test_a_question_is_answered_to_all_at_once() -> None:  # 6
    responder = make_known()
    assert responder.receive_query(query(ask(1)), NEIGHBOUR, ETH_V4, START + 5) is None
    [transmit] = sent(responder)
    assert (transmit.source, transmit.destination) == (ETH_V4, GROUP_V4)
    assert read([transmit]) == [ANSWER]


@pytest.mark.parametrize("kind", [RecordType.A, RecordType.AAAA, RecordType.ANY, 16])
@pytest.mark.parametrize("class_", [1, ANY_CLASS])
def test_whatever_is_asked_of_our_name_is_answered_or_denied(kind: int, class_: int) -> None:  # 6.1, 6.2
    responder = make_known()
    assert responder.receive_query(query(ask(1, kind, class_=class_)), NEIGHBOUR, ETH_V4, START + 5) is None
    assert read(sent(responder)) == [ANSWER]


def test_an_ipv6_address_has_an_aaaa_record() -> None:
    responder = make_known(address=ADDRESS_V6)
    responder.receive_query(query(ask(1, RecordType.AAAA)), NEIGHBOUR, ETH_V4, START + 5)
    [message] = read(sent(responder))
    assert message.answers == (address_record(labels_of(name(1)), ADDRESS_V6, HOST_TTL),)
    assert message.additionals == (denial_record(labels_of(name(1)), RecordType.AAAA, HOST_TTL),)


def test_others_names_and_other_classes_are_not_answered() -> None:
    responder = make_known()
    for question in (ask(2), ask(1, class_=3)):
        reason = responder.receive_query(query(question), NEIGHBOUR, ETH_V4, START + 5)
        assert reason is DropReason.NOT_OUR_NAME
    assert responder.receive_query(query(), NEIGHBOUR, ETH_V4, START + 5) is DropReason.NOT_OUR_NAME
    assert sent(responder) == []


def test_a_name_lives_on_its_own_link_only() -> None:
    responder, _ = make_responder((ETH_V4, "eth0"), (ETH_V6, "eth0"), (WLAN_V4, "wlan0"))
    responder.register(labels_of(name(1)), ADDRESS, "eth0", START)
    sent(responder)
    asker = Endpoint.of("198.51.100.9", 5353)
    assert responder.receive_query(query(ask(1)), asker, WLAN_V4, START + 5) is DropReason.NOT_OUR_NAME
    assert sent(responder) == []
    assert responder.receive_query(query(ask(1)), NEIGHBOUR_V6, ETH_V6, START + 5) is None
    assert [each.destination for each in sent(responder) if each.source == ETH_V6] == [GROUP_V6]


def test_a_record_is_multicast_once_a_second_at_most() -> None:  # 6
    responder = make_known()
    count = 0
    for tick in range(100):
        now = START + 10 + tick / 20
        responder.handle_timeout(now)
        assert responder.receive_query(query(ask(1)), NEIGHBOUR, ETH_V4, now) is None
        count += len(sent(responder))
        at = responder.next_timeout()
        assert at is None or at > now
    assert count == 5
    responder.handle_timeout(START + 16)  # who asked within a second is answered after it
    assert len(sent(responder)) == 1
    assert responder.next_timeout() is None


def test_who_asks_for_it_is_answered_alone() -> None:  # 5.4
    responder = make_known()
    for kind, answer, extra in (
        (RecordType.A, record(), denial()),
        (RecordType.AAAA, denial(), record()),
    ):
        assert responder.receive_query(query(ask(1, kind, True)), NEIGHBOUR, ETH_V4, START + 2) is None
        [transmit] = sent(responder)
        assert (transmit.source, transmit.destination) == (ETH_V4, NEIGHBOUR)
        assert read([transmit]) == [Message(is_response=True, answers=(answer,), additionals=(extra,))]


def test_both_families_asked_for_alone_are_answered_without_repetition() -> None:
    responder = make_known()
    both = query(ask(1, RecordType.A, True), ask(1, RecordType.AAAA, True))
    responder.receive_query(both, NEIGHBOUR, ETH_V4, START + 2)
    [message] = read(sent(responder))
    assert (message.answers, message.additionals) == ((record(), denial()), ())


def test_an_answer_that_caches_have_forgotten_goes_to_all() -> None:  # 5.4
    responder = make_known()
    told_at = START + 1
    responder.receive_query(query(ask(1, wants_unicast=True)), NEIGHBOUR, ETH_V4, told_at + RECENT - 0.01)
    assert [each.destination for each in sent(responder)] == [NEIGHBOUR]
    responder.receive_query(query(ask(1, wants_unicast=True)), NEIGHBOUR, ETH_V4, told_at + RECENT)
    assert [each.destination for each in sent(responder)] == [GROUP_V4]


def test_plain_resolvers_are_answered_as_dns_has_it() -> None:  # 6.7
    responder = make_known()
    assert responder.receive_query(query(ask(1), query_id=77), LEGACY, ETH_V4, START + 5) is None
    [transmit] = sent(responder)
    assert transmit.destination == LEGACY
    answers = (record(ttl=LEGACY_TTL, is_unique=False),)
    assert read([transmit]) == [Message(id=77, is_response=True, questions=(ask(1),), answers=answers)]
    responder.receive_query(query(ask(1, RecordType.AAAA)), LEGACY, ETH_V4, START + 5)
    [message] = read(sent(responder))
    assert message.answers == (denial(ttl=LEGACY_TTL, is_unique=False),)


def test_unicast_answers_are_rationed() -> None:
    responder = make_known()
    asked = query(ask(1, wants_unicast=True))
    reasons = [responder.receive_query(asked, NEIGHBOUR, ETH_V4, START + 5.5) for _ in range(MAX_UNICASTS + 3)]
    assert reasons == [None] * MAX_UNICASTS + [DropReason.TOO_MANY_QUERIES] * 3
    assert len(sent(responder)) == MAX_UNICASTS
    assert responder.receive_query(asked, NEIGHBOUR, ETH_V4, START + 6) is None


def test_answers_to_one_host_fit_the_link_too() -> None:
    responder, _ = make_responder()
    for number in range(MAX_NAMES):
        responder.register(labels_of(name(number)), ADDRESS, "eth0", START)
    sent(responder)
    everything = query(*(ask(number, wants_unicast=True) for number in range(MAX_NAMES)))
    assert responder.receive_query(everything, NEIGHBOUR, ETH_V4, START + 0.5) is None
    transmits = sent(responder)
    assert {each.destination for each in transmits} == {NEIGHBOUR}
    assert sum(len(each.answers) for each in read(transmits)) == MAX_NAMES
    assert all(len(each.payload) < 1232 for each in transmits)


def test_who_knows_the_answer_is_not_told() -> None:  # 7.1
    responder = make_known()
    known = query(ask(1), known=(record(ttl=HOST_TTL // 2),))
    assert responder.receive_query(known, NEIGHBOUR, ETH_V4, START + 5) is DropReason.KNOWN_ANSWER
    for stale in (
        query(ask(1), known=(record(ttl=HOST_TTL // 2 - 1),)),  # but who will soon forget it is
        query(ask(1), known=(address_record(labels_of(name(1)), ip_address("192.0.2.99"), HOST_TTL),)),
        query(ask(1, RecordType.AAAA), known=(record(),)),  # that's no answer to this question
    ):
        assert responder.receive_query(stale, NEIGHBOUR, ETH_V4, START + 5) is None


def test_goodbye_is_said_where_a_name_was_told() -> None:  # 10.1
    responder, _ = make_responder((ETH_V4, "eth0"), (WLAN_V4, "wlan0"))
    for number, link in ((1, "eth0"), (2, "eth0"), (3, "wlan0")):
        responder.register(labels_of(name(number)), ADDRESS, link, START)
    sent(responder)
    responder.unregister(labels_of(name(1)))
    responder.unregister(labels_of(name(1)))
    [transmit] = sent(responder)
    assert transmit.source == ETH_V4
    assert read([transmit])[0].answers == (record(1, ttl=0),)
    assert responder.receive_query(query(ask(1)), NEIGHBOUR, ETH_V4, START + 5) is DropReason.NOT_OUR_NAME
    responder.close()
    farewell = sent(responder)
    assert [each.source for each in farewell] == [ETH_V4, WLAN_V4]
    assert [[each.ttl for each in message.answers] for message in read(farewell)] == [[0], [0]]
    assert responder.next_timeout() is None


def test_a_socket_that_is_gone_is_forgotten() -> None:
    responder, known = make_responder((ETH_V4, "eth0"), (ETH_V6, "eth0"))
    responder.register(labels_of(name(1)), ADDRESS, "eth0", START)
    sent(responder)
    known.remove(ETH_V4)
    responder.remove_local(ETH_V4)
    responder.handle_timeout(START + 1)
    assert [each.source for each in sent(responder)] == [ETH_V6]


def test_a_new_socket_hears_of_the_names_of_its_link() -> None:
    responder, known = make_responder()
    responder.register(labels_of(name(1)), ADDRESS, "eth0", START)
    responder.register(labels_of(name(2)), ADDRESS, "wlan0", START)
    sent(responder)
    known.add(ETH_V6, "eth0", is_shared=False)
    responder.add_local(ETH_V6, START + 0.5)
    [transmit] = sent(responder)
    assert transmit.source == ETH_V6
    assert read([transmit]) == [ANSWER]
