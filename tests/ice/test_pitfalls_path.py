"""Pitfalls of a path in use. They are numbered through the tests of all packages."""

from __future__ import annotations

from collections import Counter

import pytest

from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, RestartReason
from p2ptun.ice.pair import PairState
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import USE_CANDIDATE, USERNAME
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message
from p2ptun.types import SendError, Transmit
from tests.sim.nat import Nat
from tests.sim.network import Network, at

from .couple import path_of, restarts
from .hand import BASE, OTHER_PEER, PEER, STRANGER, Duel, sealed
from .side import Side, connect, make_side, talk

CONSENT_TIMEOUT = 30.0  # RFC 7675 5.1


def connected(*others: str) -> Duel:
    """Settle on the pair to PEER; its checks are answered from then on only when a test does it."""
    duel = Duel()
    duel.meet(str(PEER), *others)
    checks = {packet.destination: (request, packet) for request, packet in duel.checks(0.1)}
    duel.answer(checks[PEER])
    for check in checks.values():
        if check[1].destination != PEER:
            duel.refuse(check, Code.BAD_REQUEST)
    nomination = next(item for item in duel.checks(2.0) if item[0].get(USE_CANDIDATE))
    duel.answer(nomination)
    assert duel.agent.state is AgentState.CONNECTED
    return duel


def send_for(duel: Duel, seconds: float) -> list[tuple[Message, Transmit]]:
    """Send data twice a second; give the checks that go out meanwhile."""
    found = []
    for _ in range(int(seconds * 2)):
        duel.agent.record_sent(duel.now)
        found += duel.checks(0.5)
    return found


def test_pitfall_18_every_consent_check_is_a_new_transaction_and_none_is_repeated() -> None:
    """RFC 7675 5.1: else an answer says nothing of when consent was given."""
    duel = connected()
    checks = send_for(duel, 25.0)
    assert len(checks) >= 4
    assert set(Counter(request.transaction_id for request, _ in checks).values()) == {1}


def test_pitfall_18_an_answer_that_takes_longer_than_the_interval_counts() -> None:
    duel = connected()
    last_answer = duel.now
    old: list[tuple[Message, Transmit]] = []
    for _ in range(20):
        fresh = send_for(duel, 7.0)
        for check in old:
            duel.answer(check)
        old = fresh
        assert duel.agent.may_send(duel.now), f"{duel.now - last_answer} s after the beginning"


@pytest.mark.parametrize("latency", [1.0, 3.0])
def test_pitfall_18_long_round_trips_keep_consent(latency: float) -> None:
    network = Network(latency=latency)
    left, right = make_side("192.0.2.1:1", seed=1), make_side("192.0.2.2:1", role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    talk(network, 300.0, left, right)
    for side in (left, right):
        assert side.agent.may_send(network.now)
        assert side.states[:2] == [AgentState.CHECKING, AgentState.CONNECTED]
        assert not {AgentState.CHECKING, AgentState.FAILED} & set(side.states[2:])


def test_pitfall_18_consent_ends_thirty_seconds_after_the_last_answer() -> None:
    """Requests and data of the other side don't prolong it (RFC 7675 5.1)."""
    duel = connected()
    [first, *_] = send_for(duel, 7.0)
    duel.answer(first)
    answered_at = duel.now
    while duel.now < answered_at + CONSENT_TIMEOUT - 0.6:
        duel.agent.record_authenticated(duel.now)
        duel.ask()
        send_for(duel, 0.5)
        assert duel.agent.may_send(duel.now)
    send_for(duel, 1.0)
    assert not duel.agent.may_send(duel.now)


def test_consent_that_the_peer_revokes_ends_at_once() -> None:
    """RFC 7675 5.2: an authentic 403. The same credentials are never used on that pair again."""
    duel = connected()
    check, *_ = send_for(duel, 7.0)
    request, packet = check
    forged = sealed(error_response(request, Code.FORBIDDEN), duel.ours.password)
    duel.hear(forged, packet.destination, packet.source)
    assert duel.agent.may_send(duel.now)
    duel.refuse(check, Code.FORBIDDEN)
    assert not duel.agent.may_send(duel.now)
    assert duel.agent.state is AgentState.FAILED
    assert not duel.checks(60.0)


def test_revoked_consent_is_asked_for_anew_with_other_credentials() -> None:
    duel = connected()
    check, *_ = send_for(duel, 7.0)
    duel.agent.set_next_remote_credentials(Credentials("anew", "their/next/password/012", 1), duel.now)
    duel.refuse(check, Code.FORBIDDEN)
    assert not duel.agent.may_send(duel.now)
    assert duel.agent.state is AgentState.CHECKING
    asked = [request.get(USERNAME) or "" for request, _ in duel.checks(1.0)]
    assert asked
    assert {name.partition(":")[0] for name in asked} == {"anew"}


@pytest.mark.parametrize("error", [SendError.UNREACHABLE, SendError.REFUSED_BY_FIREWALL])
def test_pitfall_23_what_the_kernel_refuses_ends_one_pair_only(error: SendError) -> None:
    duel = Duel()
    duel.meet(str(PEER), str(OTHER_PEER))
    checks = {packet.destination: (request, packet) for request, packet in duel.checks(0.1)}
    duel.agent.record_send_error(BASE, PEER, error, duel.now)
    assert duel.pair(PEER).state is PairState.FAILED
    duel.answer(checks[OTHER_PEER])
    assert duel.agent.state is AgentState.CONNECTED


@pytest.mark.parametrize("error", [SendError.REFUSED, SendError.TOO_LARGE, SendError.WOULD_BLOCK, SendError.NO_BUFFERS])
def test_pitfall_23_a_hint_ends_nothing(error: SendError) -> None:
    """ECONNREFUSED comes from an ICMP message that anybody can forge; a full socket says nothing of the pair."""
    duel = Duel()
    duel.meet(str(PEER))
    check = duel.first_check()
    duel.agent.record_send_error(BASE, PEER, error, duel.now)
    assert duel.pair().state is PairState.IN_PROGRESS
    duel.answer(check)
    duel.agent.record_send_error(BASE, PEER, error, duel.now)
    assert duel.agent.state is AgentState.CONNECTED
    assert duel.pair().state is PairState.SUCCEEDED


def test_pitfall_23_an_error_about_nobody_of_ours_is_none() -> None:
    duel = connected()
    duel.agent.record_send_error(BASE, STRANGER, SendError.UNREACHABLE, duel.now)
    assert duel.agent.state is AgentState.CONNECTED


def suspended(seconds: float) -> tuple[Network, Side, Side]:
    """Connect a laptop behind a NAT with somebody outside, and let the laptop sleep."""
    network = Network()
    network.add_nat(Nat("198.51.100.1", "192.168.1.0/24"))
    server = network.add_stun_server("203.0.113.1:3478")
    laptop, other = make_side("192.168.1.2:5", seed=1), make_side("203.0.113.9:5", role=Role.CONTROLLED, seed=2)
    assert connect(network, laptop, other, server)
    for side, peer in ((laptop, other), (other, laptop)):
        side.agent.set_next_remote_credentials(peer.agent.next_credentials, network.now)
    network.run(60.0)
    network.suspend(laptop)
    network.run(seconds)
    network.resume(laptop)
    return network, laptop, other


def test_pitfall_24_after_a_suspend_nothing_waits_for_its_timer() -> None:
    """The NAT has forgotten us: servers are asked and pairs are checked at once, and a path is there within 3 s."""
    network, laptop, other = suspended(3600.0)
    before, began = len(network.log), network.now
    laptop.agent.restart(network.time_of(laptop), RestartReason.RESUMED)
    network.run(0.2)
    first = [each.packet for each in network.log[before:] if each.host is laptop]
    assert at("203.0.113.1:3478") in {packet.destination for packet in first}, "the binding is asked for anew"
    assert at("203.0.113.9:5") in {packet.destination for packet in first}
    assert network.run(3.0, lambda: all(side.agent.may_send(network.time_of(side)) for side in (laptop, other)))
    assert network.now - began < 3.0
    assert restarts(laptop) == [RestartReason.RESUMED]


def test_pitfall_24_both_sides_are_in_one_generation_afterwards() -> None:
    network, laptop, other = suspended(3600.0)
    laptop.agent.restart(network.time_of(laptop), RestartReason.RESUMED)
    network.run(5.0)
    assert laptop.agent.generation == other.agent.generation == 1
    ours, theirs = path_of(laptop), path_of(other)
    assert ours is not None
    assert theirs is not None
    assert theirs[0] == ours[1]
