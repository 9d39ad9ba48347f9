"""What real networks do to a connection, and what must become of it: the list of issue 3, one or more tests each."""

from __future__ import annotations

import random
from itertools import pairwise, product

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.event import AgentState, RestartReason
from p2ptun.ice.pair import PairState
from p2ptun.ice.role import Role
from p2ptun.node.event import PeerState, PeerStateChanged
from p2ptun.node.keying import HANDSHAKE_TIMEOUT
from p2ptun.stun.attribute import ERROR_CODE
from p2ptun.stun.message import MessageClass, decode_message
from p2ptun.types import Endpoint, Transmit
from tests.ice.side import Side, connect, gather, make_side, plug, signal

from .host import is_check
from .meeting import RTT, SERVERS, NodeMeeting
from .nat import Behaviour, Habit, Nat, Ports
from .network import Network, at
from .scene import LATENCY, PUBLIC_A, PUBLIC_B, Scene
from .site import PORT_RESTRICTED, PUBLIC, SYMMETRIC, Kind, Site, bases

SEEDS = range(1, 11)
V6_A, V6_B = "[2001:db8:a::1]:5000", "[2001:db8:b::1]:5000"


def homes(network: Network, habit: Habit | None = None) -> tuple[str, str]:
    """Put two port-restricted NATs up; give the addresses behind them."""
    for number in (1, 2):
        network.add_nat(Nat(f"198.51.100.{number}", f"10.0.{number}.0/24", habit=habit))
    return "10.0.1.2:5000", "10.0.2.2:5000"


# Setting up


@pytest.mark.parametrize("seed", range(1, 21))
def test_first_packet_within_four_round_trips_over_two_port_restricted_nats(seed: int) -> None:
    meeting = NodeMeeting(PORT_RESTRICTED, PORT_RESTRICTED, seed).meet()
    assert meeting.way is not None
    assert meeting.seconds <= 4 * RTT, f"seed {seed}: {meeting.seconds / RTT:.2f} round trips"


@pytest.mark.parametrize("seed", range(1, 51))
def test_loss_of_30_percent_connects(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS)
    network.loss = 0.3
    scene.connect(HANDSHAKE_TIMEOUT)
    scene.talk(30)
    assert scene.is_connected() or PeerState.SUSPECT in {peer.state for peer in scene.peers}, scene.describe()
    for host in scene.hosts:
        assert len(host.received) > 0.6 * 600 * 0.8, f"{host.name} got {len(host.received)} of 600"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("tie_breakers", [(1, 2), (2, 1), (7, 7)])
@pytest.mark.parametrize("site", [PUBLIC, PORT_RESTRICTED, Site(Kind.NAT, Behaviour.ADDRESS_DEPENDENT)], ids=str)
def test_equal_start_is_settled(role: Role, tie_breakers: tuple[int, int], site: Site) -> None:
    network = Network(latency=LATENCY)
    left, right = conflicting(network, site, role, tie_breakers)
    servers = [network.add_stun_server(server) for server in SERVERS]
    assert connect(network, left, right, *servers, seconds=5), "no side gave in"
    assert left.agent.role is right.agent.role.opposite


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("tie_breakers", [(1, 2), (2, 1), (7, 7)])
def test_equal_start_is_settled_though_the_first_487s_get_lost(role: Role, tie_breakers: tuple[int, int]) -> None:
    network = Network(latency=LATENCY)
    left, right = conflicting(network, PORT_RESTRICTED, role, tie_breakers)
    lost: list[Transmit] = []

    def swallow(packet: Transmit) -> bool:
        error = decode_message(packet.payload).get(ERROR_CODE)
        if error is not None and error.code == 487 and len(lost) < 3:
            lost.append(packet)
            return True
        return False

    network.is_cut = swallow
    servers = [network.add_stun_server(server) for server in SERVERS]
    assert connect(network, left, right, *servers, seconds=30), f"lost {len(lost)}"
    assert left.agent.role is right.agent.role.opposite


def conflicting(network: Network, site: Site, role: Role, tie_breakers: tuple[int, int]) -> tuple[Side, Side]:
    """Make two sides that begin alike."""
    sides = []
    for number, tie_breaker in enumerate(tie_breakers, 1):
        side = make_side(role=role, seed=number, tie_breaker=tie_breaker)
        side.bases = bases(site.build(network, number))[:1]
        sides.append(side)
    return sides[0], sides[1]


def test_peer_reflexive_pair_that_is_signalled_later_keeps_state_and_nomination() -> None:
    network = Network(latency=LATENCY)
    left, right = make_side(PUBLIC_A, seed=1), make_side(f"{SYMMETRIC.build(network, 2)}:5000", seed=2)
    assert connect(network, left, right)
    network.run(2)
    [learnt] = [each for each in left.agent.remote_candidates if each.type is CandidateType.PEER_REFLEXIVE]
    before = next(pair for pair in left.agent.pairs if pair.remote == learnt)
    assert (before.state, before.is_nominated) == (PairState.SUCCEEDED, True)
    network.log.clear()
    ufrag = right.agent.local_credentials.ufrag
    told = Candidate(CandidateType.SERVER_REFLEXIVE, learnt.endpoint, 1694498815, "9", learnt.endpoint, ufrag=ufrag)
    left.agent.add_remote_candidate(told, network.now)
    network.run(0.04)
    checks = [each for each in network.log if each.host is left and is_check(each.packet.payload)]
    after = next(pair for pair in left.agent.pairs if pair.destination == before.destination)
    assert (after.state, after.is_nominated) == (PairState.SUCCEEDED, True)
    assert (after.remote.type, after.remote.priority) == (told.type, told.priority)
    assert left.state() in (AgentState.CONNECTED, AgentState.IDLE)
    assert len(checks) <= 1, "its round trip may be measured, nothing needs to be found out again"


# Restarts


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("seed", SEEDS)
def test_restart_storm_from_both_sides_at_once_converges(seed: int, loss: float) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    scene.talk(3)
    network.loss = loss
    chance = random.Random(seed)
    for _ in range(30):
        for peer, host in zip(scene.peers, scene.hosts, strict=True):
            if chance.random() < 0.7:
                peer.restart(chance.choice([RestartReason.REQUESTED, RestartReason.NETWORK_CHANGED]), host.now)
        network.flush()
        scene.talk(chance.choice([0.05, 0.1, 0.3]))
    network.loss = 0.0
    scene.talk(5)
    before = scene.generations
    assert before[0] == before[1], scene.describe()
    assert scene.is_connected(), scene.describe()
    moment = network.now
    scene.talk(30)
    assert scene.generations == before, "nobody has a reason to restart any more"
    assert scene.gap_since(moment) < 0.5
    assert_no_gap(scene, moment, 0.3)


def test_restart_at_the_same_instant_makes_one_generation() -> None:
    scene = Scene().connect()
    scene.talk(2)
    for peer in scene.peers:
        peer.restart(RestartReason.REQUESTED, scene.network.now)
    scene.network.flush()
    moment = scene.network.now
    scene.talk(5)
    assert scene.generations == (1, 1)
    assert_no_gap(scene, moment, 0.2)


def assert_no_gap(scene: Scene, moment: float, longest: float) -> None:
    """Tell that packets kept coming on both sides, with no longer pause than that, until two seconds ago."""
    for host in scene.hosts:
        times = [moment, *(at for at in host.received_at if at >= moment), scene.network.now]
        pause, since = max((later - earlier, earlier) for earlier, later in pairwise(times))
        assert pause <= longest, f"{host.name} heard nothing for {pause:.2f} s since {since:.2f}: {scene.describe()}"


@pytest.mark.parametrize(("delay", "is_answered"), [(5.0, True), (15.0, False)])
def test_late_checks_of_the_old_generation_are_answered_for_a_while(delay: float, is_answered: bool) -> None:
    scene = Scene().connect()
    scene.talk(2)
    network = scene.network
    late = next(
        each.packet
        for each in reversed(network.log)
        if each.host is scene.bob and is_check(each.packet.payload) and each.packet.destination == at(PUBLIC_A)
    )
    scene.to_bob.restart(RestartReason.REQUESTED, scene.alice.now)
    network.flush()
    assert network.run(5, lambda: scene.generations == (1, 1))
    scene.talk(delay)
    network.log.clear()
    network.deliver(late)
    answers = [decode_message(each.packet.payload) for each in network.log if each.host is scene.alice]
    [answer] = [each for each in answers if each.transaction_id == decode_message(late.payload).transaction_id]
    assert (answer.message_class is MessageClass.SUCCESS) is is_answered


# Living on a bad path


def test_round_trip_of_two_seconds_keeps_consent() -> None:
    scene = Scene(network=Network(latency=1.0)).connect()
    for _ in range(180):
        scene.talk(1.0, interval=0.25)
        assert scene.to_bob.agent.may_send(scene.alice.now)
        assert scene.to_alice.agent.may_send(scene.bob.now)
    assert scene.generations == (0, 0), "a long way is no reason to restart"
    for host, name in zip(scene.hosts, ("bob", "alice"), strict=True):
        assert host.states(name) == [PeerState.CONNECTED]
        assert len(host.received) > 700


@pytest.mark.parametrize("seed", SEEDS)
def test_nominated_pair_dies_and_traffic_moves_to_the_other_within_a_second(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    scene = Scene((PUBLIC_A, V6_A), (PUBLIC_B, V6_B), network=network).connect()
    scene.talk(5 + seed / 10)
    assert {peer.path.base.address.version for peer in scene.peers if peer.path} == {6}
    network.is_cut = lambda packet: packet.source.address.version == 6
    moment = network.now
    assert scene.gap_since(moment) < 1.0
    scene.talk(10)
    assert_no_gap(scene, moment, 1.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("deaf", ["alice", "bob"])
def test_nominated_pair_dies_in_one_direction_and_traffic_moves(seed: int, deaf: str) -> None:
    network = Network(seed, latency=LATENCY)
    scene = Scene((PUBLIC_A, V6_A), (PUBLIC_B, V6_B), network=network).connect()
    scene.talk(5 + seed / 10)
    dead = at(V6_A if deaf == "alice" else V6_B)
    network.is_cut = lambda packet: packet.destination == dead
    moment = network.now
    assert scene.gap_since(moment) < 2.0, "who hears everything has no doubt; the deaf side must tell it"
    scene.talk(10)
    assert_no_gap(scene, moment, 2.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mover", ["alice", "bob"])
def test_address_change_while_traffic_runs_moves_it_within_two_seconds(mover: str, seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    sockets = ((alice,), (PUBLIC_B,)) if mover == "alice" else ((PUBLIC_A,), (bob,))
    scene = Scene(*sockets, network=network)
    scene.connect().talk(5 + seed / 10)
    network.add_nat(Nat("203.0.113.77", "172.16.0.0/24"))
    moment = network.now
    getattr(scene, mover).move("172.16.0.9:5000")
    assert scene.gap_since(moment) < 2.0
    scene.talk(10)
    assert_no_gap(scene, moment, 2.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_second_network_that_comes_before_the_first_goes_costs_nothing(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    scene.talk(5)
    network.add_nat(Nat("203.0.113.77", "172.16.0.0/24"))
    moment = network.now
    scene.alice.gain("172.16.0.9:5000")
    scene.talk(5)
    assert_no_gap(scene, moment, 0.3)
    moment = network.now
    scene.alice.lose(alice)
    assert scene.gap_since(moment) < 1.0
    assert scene.to_bob.path is not None
    assert scene.to_bob.path.base == at("172.16.0.9:5000")


@pytest.mark.parametrize("seed", SEEDS)
def test_rebooted_nat_costs_three_seconds_at_most(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    nat = network.add_nat(Nat("198.51.100.1", "10.0.1.0/24"))
    scene = Scene(("10.0.1.2:5000",), network=network).connect()
    scene.talk(5 + seed / 10)
    nat.reboot()
    moment = network.now
    assert scene.gap_since(moment) < 3.0


# Sleep and silence


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sleeper", ["alice", "bob"])
@pytest.mark.parametrize("habit", [None, Habit(Ports.PRESERVED)], ids=["public peer", "two NATs that preserve ports"])
def test_suspended_for_an_hour_is_back_within_three_seconds(sleeper: str, habit: Habit | None, seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network, habit)
    if habit is None:
        alice, bob = (alice, PUBLIC_B) if sleeper == "alice" else (PUBLIC_A, bob)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    scene.talk(5)
    host = getattr(scene, sleeper)
    host.sleep()
    network.run(3600 + seed)
    host.wake()
    assert scene.gap_since(network.now) < 3.0, scene.describe()


@pytest.mark.parametrize("seed", SEEDS)
def test_idle_connected_peer_sends_one_check_in_25_seconds_at_most(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    scene.talk(5)
    network.run(60)
    assert {peer.state for peer in scene.peers} == {PeerState.IDLE}
    network.log.clear()
    network.run(1200)
    for host in scene.hosts:
        checks = [each.at for each in network.log if each.host is host and is_check(each.packet.payload)]
        assert min(later - earlier for earlier, later in pairwise(checks)) >= 25.0 - 1e-6, host.name
        assert max(later - earlier for earlier, later in pairwise(checks)) <= 25.1, "or a NAT might forget us"
        sent = [each for each in network.log if each.host is host]
        assert len(sent) <= 2 * len(checks) + 2, "besides its checks it answers those of the other side"
    assert scene.generations == (0, 0)


def test_idle_path_is_still_there_after_hours_behind_short_lived_nats() -> None:
    network = Network(latency=LATENCY)
    alice, bob = homes(network, Habit(lifetime=30.0))
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    network.run(4 * 3600)
    moment = network.now
    assert scene.gap_since(moment) < 0.5
    assert scene.generations == (0, 0)


# Hostile peers


@pytest.mark.parametrize("seed", SEEDS)
def test_two_hundred_candidates_of_a_hostile_peer_stay_within_limits(seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    config = AgentConfig()
    victim = make_side(PUBLIC_A, V6_A, "192.0.2.99:5000", seed=seed)
    other = make_side(PUBLIC_B, role=Role.CONTROLLED, seed=seed + 1)
    plug(network, victim)
    gather(network, victim)
    gather(network, other)
    signal(network, other, victim)
    chance = random.Random(seed)
    for _ in range(200):
        endpoint = Endpoint.of(f"203.0.113.{chance.randrange(1, 255)}", chance.randrange(1, 65536))
        kind = chance.choice(list(CandidateType))
        forged = Candidate(kind, endpoint, chance.randrange(1, 2**31), str(chance.randrange(99)), endpoint)
        victim.agent.add_remote_candidate(forged, network.now)
    assert len(victim.agent.remote_candidates) <= 2 * config.max_candidates
    assert len(victim.agent.pairs) <= config.max_pairs
    network.run(60)
    times = [each.at for each in network.log if each.host is victim]
    for start, end in pairwise(range(61)):
        in_second = sum(1000.0 + start <= each < 1000.0 + end for each in times)
        assert in_second <= 2 * 1 / config.pace, f"{in_second} datagrams in second {start}"
    per_target: dict[Endpoint, int] = {}
    for each in network.log:
        per_target[each.packet.destination] = per_target.get(each.packet.destination, 0) + 1
    assert len(per_target) <= config.max_pairs


# The states that people see


def test_states_of_a_path_that_is_cut_and_mended() -> None:
    scene = Scene().connect()
    scene.talk(5)
    scene.network.is_cut = lambda packet: True
    scene.talk(60, interval=0.5)
    assert {peer.state for peer in scene.peers} == {PeerState.CONNECTING}
    assert None not in {peer.reason for peer in scene.peers}
    scene.network.is_cut = lambda packet: False
    moment = scene.network.now
    assert scene.gap_since(moment) < 25.0, scene.describe()
    said = [event.state for event in scene.alice.events("bob") if isinstance(event, PeerStateChanged)]
    assert said == [PeerState.CONNECTED, PeerState.SUSPECT, PeerState.CONNECTING, PeerState.CONNECTED]


@pytest.mark.parametrize(("dead", "seed"), list(product(["core", "alice"], SEEDS)))
def test_cut_of_a_minute_is_over_soon_after_its_end(dead: str, seed: int) -> None:
    network = Network(seed, latency=LATENCY)
    alice, bob = homes(network)
    scene = Scene((alice,), (bob,), network=network, servers=SERVERS).connect()
    scene.talk(5)
    link = network.core if dead == "core" else network.link("198.51.100.1")
    link.is_up = False
    scene.talk(60 + seed, interval=0.5)
    link.is_up = True
    moment = network.now
    assert scene.gap_since(moment) < 25.0, scene.describe()
