"""Our agent and a peer that only answers: one nomination, consent for ever, and no waiting for the peer's checks."""

from __future__ import annotations

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, Restarted
from p2ptun.ice.role import Role
from p2ptun.stun.message import is_stun
from p2ptun.types import Endpoint
from tests.ice.side import Side, gather, is_settled, make_side, plug, talk

from .lite import LitePeer
from .nat import Behaviour, Nat
from .network import Network, at

HERE, THERE, THERE_V6 = "198.51.100.2:5000", "203.0.113.9:6000", "[2001:db8::9]:6000"


def meet(network: Network, side: Side, peer: LitePeer, *, is_told: bool = True) -> None:
    """Exchange descriptions. The peer says that it is lite, or forgets to."""
    plug(network, side)
    network.plug(peer, *peer.sockets)
    gather(network, side)
    peer.remote_ufrag = side.agent.local_credentials.ufrag
    if is_told:
        side.agent.set_remote_options(RemoteOptions(is_lite=True), network.now)
    side.agent.set_remote_credentials(Credentials(peer.ufrag, peer.password), network.now)
    for text in peer.sdp_candidates:
        side.agent.add_remote_candidate(Candidate.from_sdp(text), network.now)
    side.agent.end_of_remote_candidates(network.now)


def path(side: Side) -> tuple[Endpoint, Endpoint]:
    """Give what the lite peer has to have nominated: its own socket, and where it sees us."""
    assert side.agent.selected is not None
    return side.agent.selected.destination, side.agent.selected.local.endpoint


@pytest.mark.parametrize("is_told", [True, False], ids=["it says so", "it says nothing of it"])
@pytest.mark.parametrize("role", Role)
def test_whatever_our_role_was_we_control_and_nominate_one_pair(role: Role, is_told: bool) -> None:
    """Without the word we learn by a 487 that our role can't be that of the controlled side."""
    network, side, peer = Network(), make_side(HERE, role=role), LitePeer([at(THERE)])
    meet(network, side, peer, is_told=is_told)
    assert network.run(5.0, lambda: is_settled(side))
    assert side.agent.role is Role.CONTROLLING
    assert peer.nominated == [path(side)]
    assert bool(peer.refused) is (role is Role.CONTROLLED and not is_told)
    assert set(peer.refused) <= {487}


def test_the_better_of_two_families_is_nominated_and_the_other_was_checked() -> None:
    network, side = Network(), make_side(HERE, "[2001:db8:1::2]:5000")
    peer = LitePeer([at(THERE_V6), at(THERE)])
    meet(network, side, peer)
    assert network.run(5.0, lambda: is_settled(side))
    assert peer.nominated == [path(side)] == [(at(THERE_V6), at("[2001:db8:1::2]:5000"))]


def test_from_behind_a_nat_the_peer_sees_a_peer_reflexive_address() -> None:
    network, side, peer = Network(), make_side("192.168.1.2:5000"), LitePeer([at(THERE)])
    mapping = Behaviour.ADDRESS_AND_PORT_DEPENDENT
    network.add_nat(Nat("198.51.100.1", "192.168.1.0/24", mapping=mapping))
    meet(network, side, peer)
    assert network.run(5.0, lambda: is_settled(side))
    assert side.agent.selected is not None
    assert side.agent.selected.local.type is CandidateType.PEER_REFLEXIVE
    assert peer.nominated == [path(side)]


@pytest.mark.parametrize("seed", range(10))
def test_a_third_of_the_packets_lost_only_takes_longer(seed: int) -> None:
    network, side, peer = Network(seed, loss=0.3), make_side(HERE, seed=seed), LitePeer([at(THERE)])
    meet(network, side, peer)
    assert network.run(20.0, lambda: is_settled(side)), f"seed {seed}"
    assert peer.nominated == [path(side)]


def test_consent_is_kept_though_the_peer_never_asks() -> None:
    network, side, peer = Network(), make_side(HERE), LitePeer([at(THERE)])
    meet(network, side, peer)
    assert network.run(5.0, lambda: is_settled(side))
    talk(network, 300.0, side)
    assert side.states == [AgentState.CHECKING, AgentState.CONNECTED]
    assert side.agent.may_send(network.now)
    assert peer.nominated == [path(side)]
    requests = [sent for sent in network.log if sent.host is peer and not sent.packet.payload[0] & 1]
    assert not requests, "a lite peer answers only"
    assert all(is_stun(sent.packet.payload) for sent in network.log)


def test_a_peer_that_died_costs_consent_within_thirty_seconds() -> None:
    network, side, peer = Network(), make_side(HERE), LitePeer([at(THERE)])
    meet(network, side, peer)
    assert network.run(5.0, lambda: is_settled(side))
    peer.is_dead = True
    talk(network, 31.0, side)
    assert not side.agent.may_send(network.now)
    assert AgentState.SUSPECT in side.states


def test_a_restart_with_new_credentials_moves_over() -> None:
    network, side, peer = Network(), make_side(HERE), LitePeer([at(THERE)])
    meet(network, side, peer)
    assert network.run(5.0, lambda: is_settled(side))
    side.agent.restart(network.now)
    new = LitePeer([at("203.0.113.9:6001")], ufrag="anew", remote_ufrag=side.agent.local_credentials.ufrag)
    network.plug(new, *new.sockets)
    side.agent.set_remote_credentials(Credentials(new.ufrag, new.password), network.now)
    for text in new.sdp_candidates:
        side.agent.add_remote_candidate(Candidate.from_sdp(text), network.now)
    assert network.run(5.0, lambda: bool(new.nominated) and path(side) in new.nominated)
    assert len(side.of(Restarted)) == 1
    assert AgentState.CHECKING not in side.states[1:], "the old path carries data until then"
    assert new.nominated == [path(side)]
