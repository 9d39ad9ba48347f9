from __future__ import annotations

import random

import pytest

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.event import DropReason
from p2ptun.ice.gathering import Gathering, Mapping
from p2ptun.ice.pacer import MIN_PACE, Pacer
from p2ptun.stun.attribute import ALTERNATE_SERVER, MAPPED_ADDRESS, XOR_MAPPED_ADDRESS, Attribute, AttributeValue
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message, decode_message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit
from tests.sim.network import START, at

from .material import random_bytes_from, with_unknown

BASE, OTHER_BASE, SIXTH = at("10.0.0.1:1"), at("10.0.0.2:1"), at("[2001:db8::1]:1")
SERVER, OTHER_SERVER, SIXTH_SERVER = at("203.0.113.1:3478"), at("203.0.113.2:3478"), at("[2001:db8::5]:3478")
SEEN, SEEN_ANEW = at("198.51.100.1:7"), at("198.51.100.1:8")


def make() -> Gathering:
    return Gathering(AgentConfig(), random_bytes_from(1), Pacer(0.0))


def drain(gathering: Gathering) -> list[Transmit]:
    sent = []
    while (packet := gathering.next_transmit()) is not None:
        sent.append(packet)
    return sent


def answer(
    gathering: Gathering, packet: Transmit, *attributes: AttributeValue, now: float = START + 0.1
) -> DropReason | None:
    reply = success_response(decode_message(packet.payload), *attributes)
    return receive(gathering, packet, reply, now)


def receive(gathering: Gathering, packet: Transmit, reply: Message, now: float = START + 0.1) -> DropReason | None:
    message = decode_message(encode_message(reply))
    assert gathering.has_asked(message)
    return gathering.receive_response(message, packet.destination, packet.source, now)


def advance(gathering: Gathering, until: float) -> list[tuple[float, Transmit]]:
    """Run the timers to `until`; give what was sent, with its time."""
    sent = []
    while (timeout := gathering.next_timeout()) is not None and timeout <= until:
        gathering.handle_timeout(timeout)
        sent += [(timeout, packet) for packet in drain(gathering)]
        following = gathering.next_timeout()
        assert following is None or following > timeout
    return sent


def test_every_server_is_asked_from_every_socket_at_once() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(OTHER_SERVER, START)
    gathering.add_base(OTHER_BASE, START)
    assert {(packet.source, packet.destination) for packet in drain(gathering)} == {
        (base, server) for base in (BASE, OTHER_BASE) for server in (SERVER, OTHER_SERVER)
    }
    assert gathering.progress == (0, 4)


def test_families_and_scopes_do_not_mix() -> None:
    gathering = make()
    for base in (BASE, SIXTH, at("[fe80::1%eth0]:1")):
        gathering.add_base(base, START)
    gathering.add_server(SIXTH_SERVER, START)
    assert [packet.source for packet in drain(gathering)] == [SIXTH]


def test_servers_are_asked_once_and_bounded() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(SERVER, START)
    for number in range(40):
        gathering.add_server(at(f"203.0.113.{number + 10}:3478"), START)
    assert gathering.progress == (0, AgentConfig().max_servers)


@pytest.mark.parametrize("attribute", [XOR_MAPPED_ADDRESS, MAPPED_ADDRESS])
def test_answer_becomes_a_mapping(attribute: Attribute[Endpoint]) -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(OTHER_SERVER, START)
    assert answer(gathering, drain(gathering)[1], (attribute, SEEN)) is None
    assert gathering.next_mapping() == Mapping(BASE, OTHER_SERVER, 1, SEEN)
    assert gathering.next_mapping() is None
    assert gathering.progress == (1, 2)


def test_answer_from_elsewhere_or_to_another_socket_changes_nothing() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    packet = drain(gathering)[0]
    forged = success_response(decode_message(packet.payload), (XOR_MAPPED_ADDRESS, SEEN))
    message = decode_message(encode_message(forged))
    for source, base in ((OTHER_SERVER, BASE), (SERVER, OTHER_BASE)):
        assert gathering.receive_response(message, source, base, START) is DropReason.UNKNOWN_TRANSACTION
    assert gathering.next_mapping() is None
    stray = Message(message.method, message.message_class, type(message.transaction_id)(bytes(12)))
    assert not gathering.has_asked(stray)
    assert gathering.receive_response(stray, SERVER, BASE, START) is DropReason.UNKNOWN_TRANSACTION
    assert answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN)) is None


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((XOR_MAPPED_ADDRESS, at("0.0.0.0:5")),),
        ((XOR_MAPPED_ADDRESS, at("198.51.100.1:0")),),
        ((XOR_MAPPED_ADDRESS, at("224.0.0.1:5")),),
        ((XOR_MAPPED_ADDRESS, at("[2001:db8::1]:5")),),
    ],
)
def test_senseless_answer_gives_the_binding_up(attributes: tuple[AttributeValue, ...]) -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.end_of_servers()
    answer(gathering, drain(gathering)[0], *attributes)
    assert gathering.is_complete
    assert gathering.next_mapping() is None
    assert gathering.next_timeout() is None


def test_error_gives_the_binding_up() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    packet = drain(gathering)[0]
    receive(gathering, packet, error_response(decode_message(packet.payload), Code.SERVER_ERROR))
    assert gathering.progress == (1, 1)


def test_pitfall_4_answer_with_an_unknown_required_attribute_gives_the_binding_up() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    packet = drain(gathering)[0]
    reply = success_response(decode_message(packet.payload), (XOR_MAPPED_ADDRESS, SEEN))
    assert gathering.receive_response(with_unknown(reply, b"key"), SERVER, BASE, START) is None
    assert gathering.progress == (1, 1)
    assert gathering.next_mapping() is None


def test_silent_server_is_asked_seven_times_and_given_up_after_39_5_seconds() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.end_of_servers()
    first = drain(gathering)
    sent = advance(gathering, START + 39.4)
    assert len(first) + len(sent) == 7
    assert {packet.payload for _, packet in sent} == {first[0].payload}
    assert gathering.progress == (0, 1)
    advance(gathering, START + 39.5)
    assert gathering.is_complete


def test_server_that_comes_back_is_heard_of() -> None:
    """While people carry descriptions about, a server may be started, or the way to it mended."""
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.end_of_servers()
    drain(gathering)
    advance(gathering, START + 39.5)
    lowest, highest = AgentConfig().binding_interval
    [(at_, packet), *_] = advance(gathering, START + 39.5 + highest)
    assert lowest <= at_ - START - 39.5 <= highest
    assert gathering.is_complete, "nobody waits for it any more"
    answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN), now=at_)
    assert gathering.next_mapping() == Mapping(BASE, SERVER, 0, SEEN)
    gathering.rest()
    assert gathering.next_timeout() is None


def test_server_that_stays_away_is_asked_on_until_gathering_rests() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    drain(gathering)
    asked = {packet.payload for _, packet in advance(gathering, START + 300)}
    assert 5 <= len(asked) <= 6, "each question takes 39.5 s, and is followed by a pause of 15 to 25"
    gathering.rest()
    advance(gathering, START + 400)
    assert gathering.next_timeout() is None


def test_gathering_is_not_complete_while_servers_may_come() -> None:
    gathering = make()
    assert not gathering.is_complete
    gathering.end_of_servers()
    assert gathering.is_complete


def test_bindings_are_renewed_every_15_to_25_seconds_from_their_socket() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    packet, now, gaps = drain(gathering)[0], START, []
    for _ in range(50):
        answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN), now=now)
        timeout = gathering.next_timeout()
        assert timeout is not None
        gaps.append(timeout - now)
        now = timeout
        gathering.handle_timeout(now)
        renewed = drain(gathering)
        assert [(item.source, item.destination) for item in renewed] == [(BASE, SERVER)]
        assert renewed[0].payload != packet.payload
        packet = renewed[0]
    assert all(15 <= gap <= 25 for gap in gaps)
    assert max(gaps) - min(gaps) > 5


def test_bound_server_that_falls_silent_is_asked_on() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    answer(gathering, drain(gathering)[0], (XOR_MAPPED_ADDRESS, SEEN), now=START)
    sent = advance(gathering, START + 200)
    assert len({packet.payload for _, packet in sent}) > 2
    assert sent[-1][0] > START + 150
    assert gathering.progress == (1, 1)


def test_resting_ends_renewals_but_not_open_questions() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(OTHER_SERVER, START)
    first, second = drain(gathering)
    answer(gathering, first, (XOR_MAPPED_ADDRESS, SEEN), now=START)
    gathering.rest()
    assert answer(gathering, second, (XOR_MAPPED_ADDRESS, SEEN_ANEW), now=START) is None
    assert gathering.next_timeout() is None
    assert [gathering.next_mapping(), gathering.next_mapping()] == [
        Mapping(BASE, SERVER, 0, SEEN),
        Mapping(BASE, OTHER_SERVER, 1, SEEN_ANEW),
    ]


def test_pitfall_23_kernel_refusal_gives_up_this_binding_only() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(OTHER_SERVER, START)
    gathering.record_send_error(BASE, SERVER, START)
    gathering.record_send_error(BASE, SERVER, START)
    gathering.record_send_error(OTHER_BASE, SERVER, START)
    assert gathering.progress == (1, 2)
    assert [packet.destination for packet in drain(gathering)] == [OTHER_SERVER]


def test_kernel_refusal_is_not_for_ever() -> None:
    """The first packet may come before a route does, or while a neighbour isn't known."""
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.end_of_servers()
    drain(gathering)
    now, pauses = START, []
    for _ in range(9):
        gathering.record_send_error(BASE, SERVER, now)
        assert gathering.is_complete
        due = gathering.next_timeout()
        assert due is not None
        pauses.append(due - now)
        [(now, packet)] = advance(gathering, due)
    assert pauses[:4] == pytest.approx([1, 2, 4, 8])
    assert all(AgentConfig().binding_interval[0] <= pause <= AgentConfig().binding_interval[1] for pause in pauses[5:])
    answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN), now=now)
    assert gathering.next_mapping() == Mapping(BASE, SERVER, 0, SEEN)
    gathering.record_send_error(BASE, SERVER, now)
    assert gathering.progress == (1, 1), "what is bound stays bound"


def test_removed_socket_is_forgotten() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_base(OTHER_BASE, START)
    gathering.add_server(SERVER, START)
    gathering.remove_base(BASE)
    assert [packet.source for packet in drain(gathering)] == [OTHER_BASE]
    gathering.add_server(OTHER_SERVER, START)
    assert gathering.progress == (0, 2)


def test_timers_called_at_any_time_leave_the_next_in_the_future() -> None:
    for seed in range(30):
        source = random.Random(seed)
        gathering, now = Gathering(AgentConfig(), source.randbytes, Pacer()), START
        gathering.add_base(BASE, now)
        gathering.add_server(SERVER, now)
        gathering.add_server(OTHER_SERVER, now)
        for _ in range(200):
            now += source.choice((0.0, 0.1, 1.0, 20.0, 60.0))
            gathering.handle_timeout(now)
            timeout = gathering.next_timeout()
            assert timeout is None or timeout > now, seed
            for packet in drain(gathering):
                if source.random() < 0.5:
                    answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN), now=now)


def test_questions_to_many_servers_keep_the_pace_of_the_machine() -> None:
    """RFC 8445 14.2: 5 ms apart at least."""
    gathering = Gathering(AgentConfig(), random_bytes_from(1), Pacer())
    gathering.add_base(BASE, START)
    for number in range(1, 5):
        gathering.add_server(at(f"203.0.113.{number}:3478"), START)
    sent = [START for _ in drain(gathering)] + [when for when, _ in advance(gathering, START + 0.1)]
    assert [round(when - START, 6) for when in sent] == [0.0, 0.005, 0.010, 0.015]


def test_restart_asks_every_server_again_and_keeps_bindings_alive() -> None:
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    gathering.add_server(OTHER_SERVER, START)
    for packet in drain(gathering):
        answer(gathering, packet, (XOR_MAPPED_ADDRESS, SEEN))
    gathering.rest()
    gathering.rest()
    assert gathering.next_timeout() is None
    gathering.renew(START + 100)
    assert {packet.destination for packet in drain(gathering)} == {SERVER, OTHER_SERVER}
    gathering.renew(START + 100.02)
    assert advance(gathering, START + 100.1) == [], "a question that is under way is enough"


def test_restarts_in_quick_succession_take_no_turns_of_other_agents() -> None:
    pacer = Pacer()
    gathering = Gathering(AgentConfig(), random_bytes_from(1), pacer)
    for number in range(1, 11):
        gathering.add_base(at(f"10.0.0.{number}:1"), START)
        gathering.add_server(at(f"203.0.113.{number}:3478"), START)
    advance(gathering, START + 50)  # nobody answers
    now = START + 60
    for _ in range(100):
        gathering.renew(now)
    assert pacer.reserve(now) == pytest.approx(now + 100 * MIN_PACE), "one turn for each of a hundred questions"
    advance(gathering, START + 120)
    gathering.renew(START + 130)
    assert len(advance(gathering, START + 130.55)) >= 100


def test_pitfall_19_server_that_names_another_is_not_followed() -> None:
    """Nothing seals its answer, so anybody on the way could send us to a victim: RFC 8489 14.8 forbids to go there."""
    gathering = make()
    gathering.add_base(BASE, START)
    gathering.add_server(SERVER, START)
    [packet] = drain(gathering)
    request = decode_message(packet.payload)
    receive(gathering, packet, error_response(request, Code.TRY_ALTERNATE, (ALTERNATE_SERVER, OTHER_SERVER)))
    assert drain(gathering) == []
    assert gathering.progress == (1, 1)
