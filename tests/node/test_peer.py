"""A peer from strangers to a tunnel and to its end: real agents and sessions, virtual time."""

from __future__ import annotations

import pytest

from p2ptun.ice.role import Role
from p2ptun.node.drop import DropReason as NodeDrop
from p2ptun.node.event import FailureReason, PathSelected, PeerHeard, PeerRekeyed, PeerState, RemoteCandidateFound
from p2ptun.node.keying import HANDSHAKE_TIMEOUT
from p2ptun.tunnel.wire import MessageType
from p2ptun.types import SendError, Transmit
from tests.node.world import SOCKET_A, SOCKET_B, World, ping, pong
from tests.sim.network import at

BOTH_SIDES = (SOCKET_A, SOCKET_B)
BOTH = (Role.CONTROLLING, Role.CONTROLLING)
INITIATION, RESPONSE, DATA = MessageType.INITIATION.value, MessageType.RESPONSE.value, MessageType.DATA.value
STUN_SUCCESS = b"\x01\x01"  # a binding success response, RFC 8489 5


def swallow(world: World, *kinds: int, sender: str = "") -> None:
    """Lose every datagram of some first bytes, of one side or both."""
    source = at(sender) if sender else None
    world.network.is_cut = lambda packet: packet.payload[0] in kinds and source in (None, packet.source)


def sent(world: World, kind: int, sender: str) -> list[float]:
    """Tell when one side sent datagrams of a kind."""
    return [
        each.at for each in world.network.log if each.packet.payload[0] == kind and each.packet.source == at(sender)
    ]


# Coming together


@pytest.mark.parametrize("roles", [*[(role, role.opposite) for role in Role], *[(role, role) for role in Role]])
def test_any_roles_come_together_in_a_few_round_trips(roles: tuple[Role, Role]) -> None:
    world = World(roles=roles).connect()
    assert world.network.now < 1000.3, roles
    world.settle()
    assert {world.to_bob.agent.role, world.to_alice.agent.role} == set(Role)
    assert world.alice.states("bob") == [PeerState.CONNECTED]


def test_packets_wait_until_there_are_keys_and_then_arrive_in_order() -> None:
    world = World()
    world.tell_bob()
    world.tell_alice()
    packets = [ping(number) for number in range(20)]
    for packet in packets:
        assert world.alice.send(packet) == []
    world.bob.send(pong(1))
    assert world.network.run(10, lambda: len(world.bob.received) == 20 and world.alice.received == [pong(1)])
    assert world.bob.received == packets
    assert world.alice.send(ping(21)), "now they go straight"


def test_a_side_whose_description_is_carried_by_hand_waits_for_it_without_failing() -> None:
    """Its checks are answered at once, since it has the other side's password, but nobody there has its key."""
    world = World(roles=BOTH)
    world.tell_bob()
    world.bob.send(pong(1))
    world.network.run(600)
    assert world.to_alice.path is not None
    assert world.to_alice.state is PeerState.CONNECTING
    assert not sent(world, INITIATION, SOCKET_B)
    told_at = world.network.now
    world.tell_alice()
    assert world.network.run(1, world.is_connected), world.describe()
    assert world.bob.states("alice") == [PeerState.CONNECTED]
    world.network.run(1)
    assert world.alice.received == [pong(1)]
    heard = [each.at for each in world.bob.log if isinstance(each.event, PeerHeard)]
    assert len(heard) == 1
    assert heard[0] >= told_at


def test_a_lost_initiation_is_sent_again() -> None:
    world = World()
    swallow(world, INITIATION)
    world.tell_bob()
    world.tell_alice()
    world.network.run(4)
    assert not world.is_connected()
    world.mend()
    assert world.network.run(4, world.is_connected), world.describe()


def test_a_side_whose_initiations_are_lost_is_initiated_to() -> None:
    world = World()
    lesser = min((world.alice, world.bob), key=lambda host: host.keys.public)
    swallow(world, INITIATION, sender=str(lesser.sockets[0]))
    world.connect(0.3)


@pytest.mark.parametrize("late", BOTH_SIDES)
@pytest.mark.parametrize("roles", [(role, role.opposite) for role in Role])
def test_whoever_has_a_path_first_initiates_and_the_other_one_only_answers(roles: tuple[Role, Role], late: str) -> None:
    """Nobody waits for anybody, whatever the roles."""
    world = World(roles=roles)
    early = next(side for side in BOTH_SIDES if side != late)
    world.network.is_cut = lambda packet: packet.payload[:2] == STUN_SUCCESS and packet.source == at(early)
    world.tell_bob()
    world.tell_alice()
    world.network.run(0.2)
    assert len(sent(world, INITIATION, early)) == 1
    world.mend()
    assert world.network.run(2, world.is_connected), world.describe()
    assert len(sent(world, INITIATION, early)) == 1
    assert not sent(world, INITIATION, late)


@pytest.mark.parametrize("seed", range(8))
def test_two_that_initiate_at_once_agree_in_one_round_trip_and_at_the_cost_of_one(seed: int) -> None:
    """The greater public key wins; the seeds have it on either side."""
    world = World(seed)
    world.network.latency = 0.05
    world.connect(2)
    world.settle()
    handshakes = [each for kind in (INITIATION, RESPONSE) for side in BOTH_SIDES for each in sent(world, kind, side)]
    assert len(handshakes) <= 4, f"seed {seed}"
    first = min(handshakes)
    connected = [world.alice.when(PeerState.CONNECTED), world.bob.when(PeerState.CONNECTED)]
    assert max(connected) - first < 3.1 * 0.05, f"seed {seed}"
    assert world.alice.states("bob") == world.bob.states("alice") == [PeerState.CONNECTED]
    packets, answers = world.talk(3)
    assert (world.bob.received, world.alice.received) == (packets, answers)


@pytest.mark.parametrize("roles", [BOTH, (Role.CONTROLLING, Role.CONTROLLED)])
def test_another_psk_is_a_failure_on_both_sides(roles: tuple[Role, Role]) -> None:
    world = World(psks=(b"a" * 32, b"b" * 32), roles=roles)
    world.tell_bob()
    world.tell_alice()
    world.network.run(HANDSHAKE_TIMEOUT + 1)
    for host, peer in ((world.alice, "bob"), (world.bob, "alice")):
        assert host.failure(peer) is FailureReason.HANDSHAKE_FAILED, world.describe()
        assert host.states(peer) == [PeerState.FAILED]
    world.alice.send(ping(1))
    world.network.run(120)
    assert world.bob.received == []
    assert world.to_bob.drops["peer: not connected"] == 1


def test_another_public_key_is_a_failure_too() -> None:
    world = World()
    world.bob.keys = world.alice.keys.of_private(bytes(31) + b"\x41")  # not the key that Alice was told
    world.tell_bob()
    real, world.bob.keys = world.bob.keys, world.alice.keys.of_private(bytes(31) + b"\x42")
    world.tell_alice()
    world.bob.keys = real
    world.network.run(HANDSHAKE_TIMEOUT + 1)
    assert world.alice.failure("bob") is world.bob.failure("alice") is FailureReason.HANDSHAKE_FAILED


def test_no_path_at_all_fails_when_nothing_more_can_come() -> None:
    world = World()
    world.cut()
    for host, peer in ((world.alice, world.to_bob), (world.bob, world.to_alice)):
        host.node.end_of_servers(world.network.now)
        assert peer.agent.state.value == "new"
    world.tell_bob()
    world.tell_alice()
    world.to_bob.end_of_candidates(world.network.now)
    world.alice.send(ping(1))
    world.network.run(300)
    assert world.alice.failure("bob") is FailureReason.NO_PATH
    assert world.to_alice.state is PeerState.CONNECTING, "Bob was not told that nothing more comes"


# Staying together


def test_a_cut_path_is_suspect_then_lost_and_says_why() -> None:
    world = World().connect()
    world.talk(5)
    cut_at = world.network.now
    world.cut()
    world.talk(40)
    assert world.alice.states("bob") == [PeerState.CONNECTED, PeerState.SUSPECT, PeerState.CONNECTING]
    assert world.alice.failure("bob") is FailureReason.CONSENT_EXPIRED
    assert 0 < world.alice.when(PeerState.SUSPECT) - cut_at < 4
    assert 20 < world.alice.when(PeerState.CONNECTING) - cut_at < 32  # RFC 7675 5.1
    assert world.to_bob.path is None
    assert world.to_bob.next_timeout() is not None, "it goes on trying"


def test_a_path_that_comes_back_in_time_goes_on() -> None:
    world = World().connect()
    world.talk(5)
    world.cut()
    world.talk(15)
    assert world.state() is PeerState.SUSPECT
    world.mend()
    world.network.run(2)
    world.bob.received.clear()
    packets, _ = world.talk(5)
    assert world.bob.received == packets
    assert world.alice.states("bob") == [PeerState.CONNECTED, PeerState.SUSPECT, PeerState.CONNECTED]
    assert world.is_connected()


def test_an_idle_path_wakes_with_the_first_packet() -> None:
    world = World().connect()
    world.network.run(100)
    assert world.state() is world.to_alice.state is PeerState.IDLE
    world.alice.send(ping(1))
    assert world.state() is PeerState.CONNECTED
    world.network.run(1)
    assert world.bob.received == [ping(1)]


def test_keys_that_grew_old_in_silence_are_made_anew_by_the_first_packet() -> None:
    world = World().connect()
    world.network.run(1000)
    assert world.to_bob.link is not None
    assert world.to_bob.link.session.sending is None
    world.alice.send(ping(1))
    world.network.run(1)
    assert world.bob.received == [ping(1)]
    assert world.alice.states("bob")[-1] is PeerState.CONNECTED
    assert PeerState.FAILED not in world.alice.states("bob")


def test_a_packet_without_consent_waits_for_it() -> None:
    """Idle paths are checked rarely: one that falls silent has no fresh consent soon, long before it is given up."""
    world = World().connect()
    world.network.run(60)
    world.cut()
    assert world.network.run(60, lambda: not world.to_bob.agent.may_send(world.network.now))
    assert world.state() is PeerState.SUSPECT
    world.network.log.clear()
    assert world.alice.send(ping(1)) == []
    assert world.to_bob.link is not None
    assert world.to_bob.link.has_waiting
    assert not sent(world, DATA, SOCKET_A)
    world.mend()
    world.network.run(2)
    assert world.bob.received == [ping(1)]
    assert world.state() is PeerState.CONNECTED


def test_when_nobody_answers_a_handshake_over_a_living_path_it_goes_on_for_the_packets_that_wait() -> None:
    """Keys once proved that the two sides fit together, so this isn't final."""
    world = World().connect()
    world.network.run(1000)
    swallow(world, INITIATION)
    world.alice.send(ping(1))
    world.network.run(80)
    assert world.alice.failure("bob") is None
    world.network.run(20)
    assert world.state() is PeerState.CONNECTING
    assert world.alice.failure("bob") is FailureReason.HANDSHAKE_FAILED
    world.network.run(600)
    assert world.state() is PeerState.CONNECTING
    world.mend()
    world.network.run(10)
    assert world.bob.received == [ping(1)]
    assert world.state() is PeerState.CONNECTED
    assert world.alice.failure("bob") is None
    assert PeerState.FAILED not in world.alice.states("bob")


def test_when_nobody_answers_a_handshake_and_nothing_waits_the_next_packet_tries_again() -> None:
    world = World().connect()
    world.network.run(1000)
    swallow(world, INITIATION)
    assert world.to_bob.link is not None
    world.to_bob.link.session.initiate(world.network.now)
    world.to_bob.handle_timeout(world.network.now)
    world.network.run(100)
    assert world.alice.failure("bob") is FailureReason.HANDSHAKE_FAILED
    world.mend()
    world.network.log.clear()
    world.network.run(100)
    assert not sent(world, INITIATION, SOCKET_A)
    world.alice.send(ping(1))
    world.network.run(1)
    assert world.bob.received == [ping(1)]


def test_a_rekey_that_fails_costs_nothing_while_the_old_keys_live() -> None:
    world = World(rekey_interval=600.0).connect()
    world.talk(590, 5)
    swallow(world, INITIATION)
    world.talk(200, 5)
    world.mend()
    world.bob.received.clear()
    packets, _ = world.talk(10)
    assert world.bob.received == packets
    assert world.is_connected()


@pytest.mark.parametrize("seed", range(4))
def test_rekeying_under_loss_loses_only_what_the_network_lost(seed: int) -> None:
    world = World(seed, rekey_interval=5.0, roles=BOTH)
    world.connect()
    world.network.loss = 0.1
    world.network.jitter = 0.05
    world.network.repetition = 0.1
    packets, answers = world.talk(120, 0.1)
    world.network.loss = 0.0
    world.network.run(1)
    assert sum(isinstance(event, PeerRekeyed) for event in world.alice.events("bob")) > 5, f"seed {seed}"
    for host, peer, told in ((world.bob, world.to_alice, packets), (world.alice, world.to_bob, answers)):
        assert len(set(host.received)) == len(host.received), f"seed {seed}: a packet came twice"
        assert set(host.received) <= set(told), f"seed {seed}"
        lost_on_the_way = world.network.lost["loss"]
        assert len(told) - len(host.received) <= lost_on_the_way, f"seed {seed}: {world.describe()}"
        # the answer to an initiation that gave way to the other side's meets nobody; no data does
        assert set(host.node.drops) <= {NodeDrop.UNKNOWN_HANDSHAKE}, f"seed {seed}: data under keys that nobody has"
        assert host.node.drops.total() <= 1, f"seed {seed}"
        bad = {"ice: not authentic", "tunnel: not authentic", "data: not authentic", "data: no key to seal with"}
        assert not (bad | {"peer: queue full"}) & set(peer.drops), f"seed {seed}"


def test_no_packet_of_a_lossless_network_is_lost_while_keys_change() -> None:
    world = World(rekey_interval=2.0, roles=BOTH).connect()
    packets, answers = world.talk(60, 0.02)
    world.network.run(1)
    assert world.bob.received == packets
    assert world.alice.received == answers
    assert sum(isinstance(event, PeerRekeyed) for event in world.alice.events("bob")) > 20


def test_a_datagram_from_elsewhere_says_nothing_of_the_path() -> None:
    """Who forwards the peer's authentic datagrams from another address must not keep a dead path alive."""
    world = World().connect()
    world.talk(3)
    world.cut()
    while world.state() is not PeerState.SUSPECT:
        world.talk(0.5)
    before = len(world.network.log)
    world.bob.send(pong(1000))
    carried = [each.packet for each in world.network.log[before:] if each.packet.payload[0] == DATA]
    assert carried
    for packet in carried:
        world.network.deliver(Transmit(packet.payload, at("203.0.113.66:6"), packet.destination))
    assert pong(1000) in world.alice.received
    assert world.state() is PeerState.SUSPECT
    world.bob.send(pong(1001))
    for each in [each for each in world.network.log[before:] if each.packet.payload[0] == DATA]:
        world.network.deliver(each.packet)
    assert world.state() is PeerState.CONNECTED


def test_what_the_kernel_refuses_makes_the_path_suspect() -> None:
    world = World().connect()
    world.alice.node.record_send_error(at(SOCKET_A), at(SOCKET_B), SendError.TOO_LARGE, world.network.now)
    assert world.state() is PeerState.CONNECTED
    world.alice.node.record_send_error(at(SOCKET_A), at(SOCKET_B), SendError.UNREACHABLE, world.network.now)
    assert world.state() is PeerState.SUSPECT


# Leaving


def test_a_goodbye_ends_it_on_the_other_side_and_only_there() -> None:
    world = World().connect().settle()
    world.alice.node.close(world.network.now)
    world.alice.take()
    world.network.run(1)
    assert world.bob.failure("alice") is FailureReason.PEER_CLOSED
    assert world.bob.states("alice") == [PeerState.CONNECTED, PeerState.FAILED]
    assert world.alice.states("bob") == [PeerState.CONNECTED]
    assert world.to_bob.next_timeout() is None
    assert world.to_bob.next_timer is None
    world.network.log.clear()
    world.alice.send(ping(1))
    world.network.run(5)
    assert not [each for each in world.network.log if each.host is world.alice]


def test_closing_before_anything_is_known_is_harmless() -> None:
    world = World()
    world.alice.node.close(world.network.now)
    world.alice.node.close(world.network.now)
    assert world.alice.node.next_transmit() is None
    assert world.alice.node.next_timeout() is None


# Saying what goes on


def test_timers_have_names() -> None:
    world = World()
    assert world.alice.node.why_awake() is None
    world.tell_bob()
    assert world.to_alice.next_timer == "ice retransmit"
    swallow(world, INITIATION)
    world.tell_alice()
    names = set()
    while world.network.now < 1007:
        names |= {world.to_bob.next_timer, world.to_alice.next_timer}
        world.network.run(0.01)
    assert {"ice consent", "ice search"} <= names
    world.mend()
    assert world.network.run(10, world.is_connected)
    world.alice.send(ping(1))
    world.network.run(0.03)
    assert world.alice.node.why_awake() == world.to_bob.next_timer
    world.network.run(1000)
    assert world.to_bob.next_timer == "ice consent"


def test_the_owner_hears_of_candidates_paths_and_states() -> None:
    world = World().connect().settle()
    kinds = [type(event).__name__ for event in world.alice.events("bob")]
    assert kinds[:2] == ["LocalCandidateFound", "RemoteCandidateFound"]
    assert "PathSelected" in kinds
    assert kinds.count("PeerStateChanged") == 1
    path = world.paths()[-1].path
    assert (path.base, path.destination) == (at(SOCKET_A), at(SOCKET_B))
    assert path == world.to_bob.path
    assert [
        event.candidate.endpoint for event in world.alice.events("bob") if isinstance(event, RemoteCandidateFound)
    ] == [at(SOCKET_B)]
    assert all(isinstance(event, PathSelected) for event in world.paths())
