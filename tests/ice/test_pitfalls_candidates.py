"""Pitfalls of candidates, pairs and their order. They are numbered through the tests of all packages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.checklist import Checklist
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.event import AgentState, DropReason
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.pair import CandidatePair, PairState
from p2ptun.ice.priority import pair_priority
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import encode_message, success_response
from p2ptun.types import Endpoint
from tests.sim.nat import Nat
from tests.sim.network import Network, at

from .hand import BASE, OTHER_PEER, PEER, STRANGER, THEIRS, Duel, requests, responses
from .material import host, reflexive
from .side import Side, connect, gather, is_settled, make_side, plug, signal

SERVER, OTHER_SERVER = at("203.0.113.1:3478"), at("203.0.113.2:3478")


@pytest.mark.parametrize(
    ("controlling", "controlled", "priority"),
    [(5, 3, (3 << 32) + 2 * 5 + 1), (3, 5, (3 << 32) + 2 * 5), (4, 4, (4 << 32) + 2 * 4)],
)
def test_pitfall_09_the_formula_of_a_pair_s_priority(controlling: int, controlled: int, priority: int) -> None:
    """RFC 8445 6.1.2.3: 2^32 * min(G, D) + 2 * max(G, D) + (G > D)."""
    assert pair_priority(controlling, controlled) == priority


@pytest.mark.parametrize("conflict", [False, True])
def test_pitfall_09_both_sides_order_the_pairs_alike_also_after_a_role_switch(conflict: bool) -> None:
    """Two addresses each: two pairs differ in who of them is the controlling side's only."""
    network = Network()
    roles = (Role.CONTROLLING, Role.CONTROLLING if conflict else Role.CONTROLLED)
    left = make_side("192.0.2.1:1", "192.0.2.2:1", role=roles[0], seed=1, tie_breaker=1)
    right = make_side("192.0.2.3:1", "192.0.2.4:1", role=roles[1], seed=2, tie_breaker=2)
    assert connect(network, left, right)
    assert left.agent.role is (Role.CONTROLLED if conflict else Role.CONTROLLING)
    assert len(left.agent.pairs) == 4
    assert [(pair.base, pair.destination) for pair in left.agent.pairs] == [
        (pair.destination, pair.base) for pair in right.agent.pairs
    ]


def test_pitfall_10_a_signalled_candidate_updates_the_peer_reflexive_one_in_place() -> None:
    """RFC 8838 11.4: type and priority change; state, nomination and the number of pairs stay."""
    duel = Duel(Role.CONTROLLED)
    duel.meet(is_all=False)
    duel.ask(STRANGER, nominates=True)
    duel.answer(duel.first_check(STRANGER))
    before = duel.pair(STRANGER)
    assert (before.remote.type, before.state, before.is_nominated) == (
        CandidateType.PEER_REFLEXIVE,
        PairState.SUCCEEDED,
        True,
    )
    told = reflexive(str(STRANGER), "10.9.9.9:1")
    duel.agent.add_remote_candidate(told, duel.now)
    after = duel.pair(STRANGER)
    assert (after.remote.type, after.remote.priority) == (CandidateType.SERVER_REFLEXIVE, told.priority)
    assert (after.state, after.is_nominated) == (PairState.SUCCEEDED, True)
    assert len(duel.agent.pairs) == 1
    assert not requests(duel.wait(0.5))


def test_pitfall_11_a_server_reflexive_candidate_is_represented_by_its_base() -> None:
    """RFC 8445 6.1.2.4: it makes no pair of its own, before or after the other side's candidates are known."""
    network = Network()
    network.add_nat(Nat("198.51.100.1", "192.168.1.0/24"))
    side = make_side("192.168.1.2:5")
    plug(network, side)
    server = network.add_stun_server("203.0.113.1:3478")
    gather(network, side, server)
    side.agent.set_remote_credentials(THEIRS, network.now)
    side.agent.add_remote_candidate(host("203.0.113.9:1"), network.now)
    network.run(1.0)
    side.agent.add_remote_candidate(host("203.0.113.10:1"), network.now)
    assert {candidate.type for candidate in side.agent.local_candidates} == {
        CandidateType.HOST,
        CandidateType.SERVER_REFLEXIVE,
    }
    assert len(side.agent.pairs) == 2
    assert {pair.base for pair in side.agent.pairs} == {at("192.168.1.2:5")}


def test_pitfall_11_identical_pairs_collapse() -> None:
    duel = Duel()
    duel.meet(host(str(PEER)), reflexive(str(PEER), "10.9.9.9:1"), host(f"[::ffff:{PEER.address}]:{PEER.port}"))
    assert len(duel.agent.pairs) == 1
    assert len(duel.agent.remote_candidates) == 1


def test_pitfall_12_local_preferences_are_unique_and_the_families_take_turns() -> None:
    """RFC 8445 5.1.2.1, RFC 8421 4: no two candidates of a type share a priority on a host of many addresses."""
    bases = [f"[2001:db8::{number}]:1" for number in (1, 2, 3)] + [f"10.0.0.{number}:1" for number in (1, 2, 3)]
    duel = Duel(Role.CONTROLLING, *bases)
    found = sorted(duel.agent.local_candidates, key=lambda each: -each.priority)
    assert len({each.priority for each in found}) == len(bases)
    assert [each.endpoint.address.version for each in found] == [6, 4, 6, 4, 6, 4]
    assert len({each.priority >> 8 & 0xFFFF for each in found}) == len(bases)


def test_pitfall_12_what_several_servers_saw_of_one_socket_has_priorities_of_its_own() -> None:
    duel = Duel(has_servers=True)
    for number, server in enumerate((SERVER, OTHER_SERVER)):
        duel.agent.add_stun_server(server, duel.now)
        request = next(item for item in duel.checks(0.1) if item[1].destination == server)
        seen = (XOR_MAPPED_ADDRESS, at(f"198.51.100.{number + 1}:9"))
        duel.hear(encode_message(success_response(request[0], seen)), server)
    reflexives = [each for each in duel.agent.local_candidates if each.type is CandidateType.SERVER_REFLEXIVE]
    assert len(reflexives) == 2
    assert len({each.priority for each in reflexives}) == 2
    assert len({each.foundation for each in duel.agent.local_candidates}) == 3  # pitfall 13: the server counts


def test_pitfall_13_foundations_are_compared_as_two_whole_strings() -> None:
    """`1` with `11` is another foundation than `11` with `1`: neither waits for the other (RFC 8445 6.1.2.6)."""
    checklist = Checklist(100)
    foundations = [("1", "11"), ("11", "1")]
    for number, (here, there) in enumerate(foundations):
        local, remote = host(f"10.0.0.{number}:1", foundation=here), host(f"192.0.2.{number}:1", foundation=there)
        assert checklist.add(CandidatePair(local, remote, remote.endpoint), Role.CONTROLLING)
    assert [pair.state for pair in checklist.pairs] == [PairState.WAITING] * 2


def test_pitfall_13_one_pair_of_a_foundation_goes_first_and_frees_the_rest() -> None:
    duel = Duel()
    duel.meet(host(str(PEER), foundation="same"), host(str(OTHER_PEER), foundation="same"))
    states = sorted(pair.state.value for pair in duel.agent.pairs)
    assert "frozen" in states
    first = duel.checks(0.019)
    assert len(first) == 1
    duel.answer(first[0])
    assert PairState.FROZEN not in {pair.state for pair in duel.agent.pairs}


def test_pitfall_13_a_foundation_follows_type_base_address_and_server() -> None:
    """RFC 8445 5.1.1.3: the base's address without its port."""
    local = LocalCandidates(THEIRS, 32)
    same, other = at("10.0.0.1:1"), at("10.0.0.2:1")
    hosts = [local.add_host(base) for base in (same, replace(same, port=2), other)]
    first, twin, third = (each.foundation for each in hosts if each is not None)
    assert first == twin
    assert first != third


def patient(duel: Duel) -> AgentState:
    duel.wait(200.0)
    return duel.agent.state


def test_pitfall_17_no_failure_while_gathering() -> None:
    duel = Duel(has_servers=True)
    duel.meet(str(PEER))
    assert patient(duel) is AgentState.CHECKING


def test_pitfall_17_no_failure_while_candidates_may_come() -> None:
    duel = Duel()
    duel.meet(str(PEER), is_all=False)
    assert patient(duel) is AgentState.CHECKING
    duel.agent.add_remote_candidate(host(str(OTHER_PEER)), duel.now)
    duel.answer(duel.first_check(OTHER_PEER))
    assert duel.agent.state is AgentState.CONNECTED


@pytest.mark.parametrize("remotes", [(), (str(PEER),)], ids=["no candidate", "a silent one"])
def test_pitfall_17_no_failure_before_the_pac_timer(remotes: tuple[str, ...]) -> None:
    """RFC 8863 4: even with nothing to check, for the other side may check us."""
    duel = Duel()
    duel.meet(*remotes)
    duel.wait(39.4)
    assert duel.agent.state is AgentState.CHECKING
    assert patient(duel) is AgentState.FAILED


def test_pitfall_17_candidates_of_a_foreign_ufrag_are_dropped() -> None:
    duel = Duel()
    duel.meet(replace(host(str(PEER)), ufrag="alien"), replace(host(str(OTHER_PEER)), ufrag=THEIRS.ufrag))
    assert [pair.destination for pair in duel.agent.pairs] == [OTHER_PEER]
    assert duel.agent.drops[DropReason.FOREIGN_GENERATION] == 1


def test_pitfall_22_an_answer_leaves_from_the_socket_that_was_asked() -> None:
    other_base = at("10.0.0.2:1")
    duel = Duel(Role.CONTROLLED, str(BASE), str(other_base))
    duel.meet(is_all=False)
    for base in (other_base, BASE):
        [(_, answer)] = responses(duel.ask(STRANGER, base))
        assert (answer.source, answer.destination) == (base, STRANGER)


def link_local(zone: str, number: int = 1) -> Endpoint:
    return at(f"[fe80::{number}%{zone}]:7")


def test_pitfall_22_a_link_local_candidate_keeps_its_zone_at_home() -> None:
    duel = Duel(Role.CONTROLLING, str(link_local("eth0")))
    [candidate] = duel.agent.local_candidates
    assert candidate.endpoint == link_local("eth0")
    assert "%" not in candidate.to_sdp()
    with pytest.raises(MalformedPacket):
        Candidate.from_sdp("candidate:1 1 UDP 1 fe80::9%eth0 7 typ host")


def test_pitfall_22_a_link_local_candidate_pairs_on_every_link_and_with_nothing_else() -> None:
    """The other side's zone means nothing here, so each link is tried: sent from its own socket, with its own zone."""
    bases = [link_local("eth0"), link_local("eth1"), at("[2001:db8::1]:7"), at("10.0.0.1:7")]
    duel = Duel(Role.CONTROLLING, *map(str, bases), config=AgentConfig())
    duel.meet("[fe80::9]:7")
    assert {(pair.base, pair.destination) for pair in duel.agent.pairs} == {
        (link_local("eth0"), link_local("eth0", 9)),
        (link_local("eth1"), link_local("eth1", 9)),
    }
    assert {(packet.source, packet.destination) for _, packet in duel.checks(0.2)} == {
        (link_local("eth0"), link_local("eth0", 9)),
        (link_local("eth1"), link_local("eth1", 9)),
    }


def test_pitfall_22_two_hosts_on_one_link_meet_by_their_link_local_addresses() -> None:
    network = Network()
    left, right = make_side("[fe80::1%eth0]:7", seed=1), make_side("[fe80::2%eth0]:7", role=Role.CONTROLLED, seed=2)
    plug(network, left, right)
    for side in (left, right):
        gather(network, side)
    for teller, listener in ((left, right), (right, left)):
        signal_by_sdp(network, teller, listener)
    assert network.run(5.0, lambda: is_settled(left) and is_settled(right))


def signal_by_sdp(network: Network, teller: Side, listener: Side) -> None:
    """Carry candidates as text, as others' signalling does."""
    listener.agent.set_remote_credentials(teller.agent.local_credentials, network.now)
    for candidate in teller.agent.local_candidates:
        listener.agent.add_remote_candidate(Candidate.from_sdp(candidate.to_sdp()), network.now)
    signal(network, teller, listener)
