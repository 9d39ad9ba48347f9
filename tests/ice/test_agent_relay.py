"""Relayed addresses in the agent. To it one is a base like others, so here it is an address of the network."""

from __future__ import annotations

from dataclasses import replace

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.event import AgentState, CandidateGathered, CandidateRemoved, DropReason, StandbyChanged
from p2ptun.ice.pair import PairProblem, PairState
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, SendError
from tests.sim.network import START, Network, at

from .hand import PEER, Duel
from .side import Side, gather, is_settled, make_side, plug, signal, talk

RELAYED, SERVER, MAPPED = at("203.0.113.9:50000"), at("203.0.113.2:3478"), at("198.51.100.1:7")
THEIR_RELAYED = at("203.0.113.10:50000")
LEFT, RIGHT = "192.0.2.1:1000", "192.0.2.2:2000"


def relayed_pair(policy: PathPolicy = PathPolicy.ANY, seed: int = 1) -> tuple[Network, Side, Side]:
    """Make two sides that can reach each other directly; the left one has a relay as well. They have met."""
    network = Network(seed)
    left = make_side(LEFT, seed=seed, config=AgentConfig(path_policy=policy))
    right = make_side(RIGHT, role=Role.CONTROLLED, seed=seed + 1)
    plug(network, left, right)
    network.plug(left, RELAYED)
    left.agent.add_relayed_address(RELAYED, SERVER, MAPPED, network.now)
    for side in (left, right):
        gather(network, side)
    signal(network, left, right)
    signal(network, right, left)
    assert network.run(10.0, lambda: is_settled(left) and is_settled(right))
    return network, left, right


def kinds(agent: Agent) -> tuple[CandidateType, CandidateType] | None:
    selected = agent.selected
    return None if selected is None else (selected.local.type, selected.remote.type)


def test_direct_path_wins_and_the_relay_stands_ready() -> None:
    network, left, right = relayed_pair()
    talk(network, 3.0, left, right)
    assert kinds(left.agent) == kinds(right.agent) == (CandidateType.HOST, CandidateType.HOST)
    assert left.agent.standby is not None
    assert left.agent.standby.base == RELAYED
    assert left.of(StandbyChanged)


def test_relay_takes_over_when_the_direct_path_dies_and_yields_when_it_is_back() -> None:
    network, left, right = relayed_pair()
    talk(network, 3.0, left, right, interval=0.05)
    network.link("192.0.2.1").is_up = False
    cut_at = network.now
    while kinds(left.agent) != (CandidateType.RELAYED, CandidateType.HOST):
        talk(network, 0.05, left, right, interval=0.05)
        assert network.now < cut_at + 2.0
    network.link("192.0.2.1").is_up = True
    while kinds(left.agent) != (CandidateType.HOST, CandidateType.HOST):
        talk(network, 0.5, left, right, interval=0.05)
        assert network.now < cut_at + 130.0


def test_only_a_relay_is_told_and_used_where_that_is_wanted() -> None:
    _, left, right = relayed_pair(PathPolicy.RELAY)
    assert [each.type for each in left.agent.local_candidates] == [CandidateType.RELAYED]
    assert kinds(left.agent) == (CandidateType.RELAYED, CandidateType.HOST)
    assert {each.endpoint for each in right.agent.remote_candidates} == {RELAYED}


def test_no_relay_is_told_where_none_is_wanted() -> None:
    _, left, _ = relayed_pair(PathPolicy.DIRECT)
    assert [each.type for each in left.agent.local_candidates] == [CandidateType.HOST]


def test_relay_of_the_peer_is_barred_where_none_is_wanted_also_when_its_check_came_first() -> None:
    duel = Duel(Role.CONTROLLED, config=AgentConfig(path_policy=PathPolicy.DIRECT))
    duel.meet(str(PEER), is_all=False)
    duel.ask(source=THEIR_RELAYED)
    assert any(pair.destination == THEIR_RELAYED for pair in duel.agent.pairs)
    told = replace(next(iter(duel.agent.remote_candidates)), type=CandidateType.RELAYED, endpoint=THEIR_RELAYED)
    for _ in range(2):
        duel.agent.add_remote_candidate(told, duel.now)
    assert duel.agent.drops[DropReason.UNWANTED_RELAY] == 2
    barred = next(pair for pair in duel.agent.pairs if pair.destination == THEIR_RELAYED)
    assert (barred.state, barred.problem) == (PairState.FAILED, PairProblem.EXPIRED)
    duel.take()
    duel.ask(source=THEIR_RELAYED)
    assert duel.agent.drops[DropReason.UNWANTED_RELAY] == 3
    assert not [packet for _, packet in duel.take() if packet.destination == THEIR_RELAYED]


def test_peer_that_the_relay_refuses_costs_its_pair_only() -> None:
    duel = Duel()
    duel.agent.add_relayed_address(RELAYED, SERVER, None, START)
    duel.meet("192.0.2.1:2", "192.0.2.2:2")
    duel.wait(0.2)
    duel.agent.record_send_error(RELAYED, at("192.0.2.1:2"), SendError.REFUSED_BY_RELAY, duel.now)
    refused = [pair for pair in duel.agent.pairs if pair.problem is PairProblem.REFUSED_BY_RELAY]
    assert [(pair.base, pair.destination, pair.state) for pair in refused] == [
        (RELAYED, at("192.0.2.1:2"), PairState.FAILED)
    ]
    others = [pair for pair in duel.agent.pairs if pair not in refused]
    assert len(others) == 3
    assert all(pair.state is PairState.IN_PROGRESS for pair in others)


def test_relay_that_is_gone_takes_its_pairs_and_its_candidate_with_it() -> None:
    network, left, right = relayed_pair(PathPolicy.RELAY)
    left.agent.remove_local_address(RELAYED, network.now)
    left.agent.remove_local_address(RELAYED, network.now)
    assert left.agent.selected is None
    assert not left.agent.local_candidates
    left.agent.add_relayed_address(replace(RELAYED, port=50001), SERVER, None, network.now)
    assert [each.endpoint.port for each in left.agent.local_candidates] == [50001]
    assert right.state() is not AgentState.FAILED


def test_gateway_adds_and_removes_a_candidate() -> None:
    side, gateway, external = make_side(LEFT), at("192.0.2.254:5351"), at("198.51.100.1:1000")
    side.agent.add_local_address(at(LEFT), START)
    side.agent.add_mapped_address(at(LEFT), external, gateway, START)
    side.agent.remove_mapped_address(at(LEFT), gateway, START)
    side.next_transmit()
    told = [each.candidate.endpoint for each in side.of(CandidateGathered) if isinstance(each, CandidateGathered)]
    gone = [each.candidate.endpoint for each in side.of(CandidateRemoved) if isinstance(each, CandidateRemoved)]
    assert (told, gone) == ([at(LEFT), external], [external])


def endpoints(agent: Agent) -> list[Endpoint]:
    return [each.endpoint for each in agent.local_candidates]


def test_restart_keeps_the_relay() -> None:
    network, left, _ = relayed_pair()
    before = endpoints(left.agent)
    left.agent.restart(network.now)
    assert endpoints(left.agent) == before
    assert {each.generation for each in left.agent.local_candidates} == {1}
