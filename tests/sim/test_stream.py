"""Streams of the simulator: whole frames, in order, once; refused, reset and given up where TCP is."""

from __future__ import annotations

import pytest

from p2ptun.types import Endpoint, SendError, Transport

from .nat import Behaviour, Nat
from .network import Network, at
from .talker import Talker

ACTIVE, LISTENER = at("10.0.0.2:9", Transport.TCP), at("192.0.2.2:80", Transport.TCP)
OUTSIDE = at("192.0.2.5:9", Transport.TCP)


def make(public: str | None = None) -> tuple[Network, Talker, Talker]:
    """Make a network with one side that opens, behind a NAT if asked for, and one that listens."""
    network = Network()
    if public is not None:
        network.add_nat(Nat(public, "10.0.0.0/24"))
    left, right = Talker(), Talker()
    network.plug(left, ACTIVE)
    network.plug(right, LISTENER)
    return network, left, right


def test_frames_cross_after_one_round_trip_and_answers_come_to_the_active_base() -> None:
    network, left, right = make("203.0.113.1")
    right.answer = b"yes"
    left.say(b"one", ACTIVE, LISTENER)
    left.say(b"two", ACTIVE, LISTENER)
    network.run(1)
    assert right.words == [b"one", b"two"]
    assert right.times[0] == pytest.approx(network.now - 1 + 3 * network.latency)
    assert {source.address for _, _, source in right.heard} == {at("203.0.113.1:1").address}
    assert [(word, source) for _, word, source in left.heard] == [(b"yes", LISTENER)] * 2


def test_each_connection_has_a_port_of_its_own() -> None:
    network, left, right = make()
    second = at("192.0.2.2:81", Transport.TCP)
    network.plug(right, second)
    left.say(b"one", ACTIVE, LISTENER)
    left.say(b"two", ACTIVE, second)
    network.run(1)
    assert len({source for _, _, source in right.heard}) == 2


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_frames_stay_whole_and_in_order_whatever_the_network_does(loss: float) -> None:
    network, left, right = make()
    network.jitter, network.repetition, network.loss = 0.1, 0.2, loss
    frames = [bytes([number]) * number for number in range(1, 100)]
    for frame in frames:
        left.say(frame, ACTIVE, LISTENER)
        network.run(0.01)
    network.run(60)
    assert right.words == frames
    assert (network.lost["loss"] > 0) is (loss > 0)


def test_refused_where_nobody_listens() -> None:
    network, left, right = make()
    network.plug(right, at("192.0.2.2:99"))
    left.say(b"?", ACTIVE, at("192.0.2.2:99", Transport.TCP))
    network.run(1)
    assert left.errors == [SendError.REFUSED]
    left.say(b"?", ACTIVE, at("192.0.2.3:99", Transport.TCP))
    network.run(30)
    assert left.errors == [SendError.REFUSED], "a host that isn't there says nothing at all"
    network.run(100)
    assert left.errors == [SendError.REFUSED, SendError.UNREACHABLE]


def test_reset_where_the_connection_is_unknown() -> None:
    network, left, right = make()
    left.say(b"?", ACTIVE, LISTENER)
    network.run(1)
    network.unplug(LISTENER)
    network.plug(right, LISTENER)
    left.say(b"?", ACTIVE, LISTENER)
    network.run(1)
    assert left.errors == [SendError.REFUSED]
    left.say(b"again", ACTIVE, LISTENER)
    network.run(1)
    assert right.words == [b"?", b"again"]


def test_nobody_connects_to_an_active_base() -> None:
    network, left, right = make()
    right.say(b"?", LISTENER, ACTIVE)
    network.run(1)
    assert right.errors == [SendError.REFUSED]
    assert left.heard == []


@pytest.mark.parametrize("filtering", list(Behaviour))
def test_connection_from_outside_takes_a_nat_that_lets_it_in(filtering: Behaviour) -> None:
    network = Network()
    nat = network.add_nat(Nat("203.0.113.1", "10.0.0.0/24", filtering=filtering))
    inside, outside = Talker(b"yes"), Talker()
    base = at("10.0.0.2:7", Transport.TCP)
    network.plug(inside, base)
    network.plug(outside, OUTSIDE)
    assert nat.outbound(base, at("192.0.2.77:1", Transport.TCP), network.now).port == 40000
    outside.say(b"?", OUTSIDE, at("203.0.113.1:40000", Transport.TCP))
    network.run(5)
    assert (outside.words == [b"yes"]) is (filtering is Behaviour.ENDPOINT_INDEPENDENT)


def test_both_may_open_at_once_through_two_nats() -> None:
    network = Network()
    nats = [network.add_nat(Nat(f"203.0.113.{number}", f"10.0.{number}.0/24")) for number in (1, 2)]
    bases = [at(f"10.0.{number}.2:7", Transport.TCP) for number in (1, 2)]
    talkers = [Talker(), Talker()]
    public = [Endpoint(nat.address, 40000, Transport.TCP) for nat in nats]
    for talker, base, other in zip(talkers, bases, reversed(public), strict=True):
        network.plug(talker, base)
        talker.say(b"hello", base, other)
    network.run(5)
    assert [talker.words for talker in talkers] == [[b"hello"], [b"hello"]]


def test_connection_ends_when_a_nat_has_forgotten_it() -> None:
    network, left, right = make()
    nat = network.add_nat(Nat("203.0.113.1", "10.0.0.0/24"))
    left.say(b"one", ACTIVE, LISTENER)
    network.run(1)
    [(_, _, source)] = right.heard
    nat.reboot()
    right.say(b"late", LISTENER, source)
    left.say(b"two", ACTIVE, LISTENER)
    network.run(300)
    assert left.errors == [SendError.REFUSED]
    assert right.errors == [SendError.UNREACHABLE]
    assert left.heard == []


def test_silence_ends_a_connection_after_a_while() -> None:
    network, left, right = make()
    left.say(b"one", ACTIVE, LISTENER)
    network.run(1)
    network.is_cut = lambda packet: True
    left.say(b"two", ACTIVE, LISTENER)
    network.run(30)
    assert left.errors == []
    network.is_cut = lambda packet: False
    network.run(60)
    assert right.words == [b"one", b"two"]
    network.is_cut = lambda packet: True
    left.say(b"three", ACTIVE, LISTENER)
    network.run(600)
    assert left.errors == [SendError.UNREACHABLE]
