"""One server, asked by sockets that don't get in each other's way."""

from __future__ import annotations

import random

from p2ptun.nat.behavior import Filtering, Mapping
from p2ptun.nat.probe import Exchange
from p2ptun.nat.survey import FIRST_PLAN, Posts, Survey
from p2ptun.stun.attribute import CHANGE_REQUEST, PADDING, RESPONSE_PORT
from p2ptun.stun.message import decode_message
from p2ptun.types import Endpoint, Transmit
from tests.nat.world import NOW, OTHER, OUTSIDE, SERVER, Responder, sockets

PROBER, RECEIVER, PADDER = sockets(count=10)[:3]
NEAR, FAR = Endpoint(SERVER.address, OTHER.port), Endpoint(OTHER.address, SERVER.port)


class Bench:
    """A survey and its server, joined by hand; `dependent` gives each destination another port."""

    def __init__(self, is_dependent: bool = False, padding: int = 1500) -> None:
        self.is_dependent = is_dependent
        self.exchange = Exchange(random.Random(1).randbytes)
        self.survey = Survey(self.exchange, SERVER, Posts(PROBER, RECEIVER, PADDER), padding, NOW)
        self.responder = Responder(SERVER, OTHER)
        self.sent: list[Transmit] = []
        self.ports: dict[tuple[Endpoint, Endpoint | None], int] = {}

    def run(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for step in range(int(seconds * 100) + 1):
            now = NOW + step / 100
            self.survey.advance(now)
            self.exchange.handle_timeout(now)
            for transmit in iter(self.exchange.next_transmit, None):
                self.sent.append(transmit)
                key = transmit.source, transmit.destination if self.is_dependent else None
                seen = Endpoint.of(OUTSIDE, self.ports.setdefault(key, 40000 + len(self.ports)))
                self.responder.receive(transmit.payload, seen, transmit.destination, now)
            for answer in iter(self.responder.next_transmit, None):
                base = next(base for (base, _), port in self.ports.items() if port == answer.destination.port)
                self.exchange.receive(decode_message(answer.payload), answer.source, base, now)


def test_the_receiver_asks_nobody_but_the_server() -> None:
    """Else it would have let in by itself whom it is to be sent to by."""
    bench = Bench()
    bench.run(1)
    assert {each.destination for each in bench.sent if each.source == RECEIVER} == {SERVER}
    assert {each.destination for each in bench.sent if each.source == PROBER} == {SERVER, NEAR, FAR, OTHER}
    assert {each.destination for each in bench.sent if each.source == PADDER} == {SERVER}


def test_an_open_network() -> None:
    bench = Bench()
    assert bench.survey.seen == {}
    assert (bench.survey.mapping, bench.survey.filtering) == (None, None)
    assert (bench.survey.sends_fragments, bench.survey.receives_fragments) == (None, None)
    bench.run(1)
    assert bench.survey.other == OTHER
    assert bench.survey.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert bench.survey.filtering is Filtering.ENDPOINT_INDEPENDENT
    assert (bench.survey.sends_fragments, bench.survey.receives_fragments) == (True, True)
    assert bench.exchange.is_over


def test_controls_go_to_where_the_answerer_has_seen_the_socket() -> None:
    """Behind a dependent mapping that is another port; without RESPONSE-PORT, nobody would let them in."""
    for is_dependent in (False, True):
        bench = Bench(is_dependent)
        bench.run(1)
        asked = [decode_message(each.payload) for each in bench.sent if each.source == PROBER]
        wishes = [message for message in asked if message.get(CHANGE_REQUEST) is not None]
        assert wishes
        ports = {message.get(RESPONSE_PORT) for message in wishes}
        seen = bench.survey.seen
        assert ports == ({seen[OTHER].port, seen[NEAR].port} if is_dependent else {None})
        assert bench.survey.filtering is Filtering.ENDPOINT_INDEPENDENT


def test_padding_comes_from_one_socket_and_never_with_another_port() -> None:
    """RFC 5780 7.5 forbids both together."""
    bench = Bench(is_dependent=True)
    bench.run(1)
    padded = [each for each in bench.sent if decode_message(each.payload).get(PADDING) is not None]
    assert padded
    assert {each.source for each in padded} == {PADDER}
    assert all(decode_message(each.payload).get(RESPONSE_PORT) is None for each in padded)


def test_a_silent_server_is_asked_six_times_and_no_more() -> None:
    bench = Bench()
    bench.responder.change = lambda answer: None
    bench.run(2)
    assert len(bench.sent) == 3 * FIRST_PLAN.copies
    assert bench.survey.first.is_over
    assert bench.exchange.is_over
