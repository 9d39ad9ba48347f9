"""A node: every datagram and every packet goes to the right peer; hostile ones change nothing but counters."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.node.drop import DropReason
from p2ptun.node.event import PeerState
from p2ptun.node.node import Node
from p2ptun.node.parameters import IceParameters
from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.types import Transmit
from tests.node.world import SOCKET_A, SOCKET_B, World, ping, pong
from tests.sim.network import START, Network, at
from tests.sim.node import NodeHost, batch_of, ip_packet

STRANGER = "203.0.113.66:6666"


class Star(NamedTuple):
    """A hub with two peers, which know only the hub."""

    network: Network
    hub: NodeHost
    one: NodeHost
    two: NodeHost


HUB, ONE, TWO = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def introduce(hub: NodeHost, name: str, spoke: NodeHost, address: str) -> None:
    """Let a hub and a spoke know each other."""
    ours = hub.peer(name)
    theirs = spoke.add_peer("hub", Role.CONTROLLED)
    offer = IceParameters(ours.agent.local_credentials, ours.describe())
    answer = IceParameters(theirs.agent.local_credentials, theirs.describe())
    hub.learn(name, spoke, answer, [f"{address}/32"])
    spoke.learn("hub", hub, offer, ["10.0.0.0/24"])


def star(seed: int = 1) -> Star:
    network = Network(seed)
    hub = NodeHost(network, "hub", SOCKET_A)
    hub.add_peer("one")
    hub.add_peer("two")
    one, two = NodeHost(network, "one", SOCKET_B), NodeHost(network, "two", "192.0.2.3:1003")
    introduce(hub, "one", one, ONE)
    introduce(hub, "two", two, TWO)
    network.run(3)
    assert {peer.state.value for host in (hub, one, two) for peer in host.node.peers} == {"connected"}
    return Star(network, hub, one, two)


# Peers


def test_a_peer_that_comes_later_gathers_on_what_there_is() -> None:
    network = Network(1)
    host = NodeHost(network, "host", SOCKET_A)
    server = at("203.0.113.3:3478")
    host.node.add_stun_server(server, network.now)
    host.node.end_of_servers(network.now)
    peer = host.add_peer("late")
    assert [str(candidate.endpoint) for candidate in peer.agent.local_candidates] == [SOCKET_A]
    assert peer.agent.bindings == (0, 1)
    transmit = host.node.next_transmit()
    assert transmit is not None
    assert transmit.destination == server


def test_names_are_unique_and_must_be_known() -> None:
    world = World()
    with pytest.raises(LocalProtocolError, match="bob already"):
        world.alice.add_peer("bob")
    with pytest.raises(LocalProtocolError, match="carol"):
        world.alice.peer("carol")
    assert world.alice.node.peers == [world.to_bob]


def test_an_empty_node_waits_for_nothing() -> None:
    node = Node(random.Random(1).randbytes)
    assert node.next_timeout() is None
    assert node.next_transmit() is None
    assert node.next_event() is None
    assert node.why_awake() is None
    node.handle_timeout(START)
    node.close(START)


def test_each_peer_gets_its_own_packets_over_one_socket() -> None:
    net, hub, one, two = star()
    hub.send(ip_packet(HUB, ONE, b"1"), ip_packet(HUB, TWO, b"2"), ip_packet(HUB, ONE, b"3"), ip_packet(HUB, "8.8.8.8"))
    one.send(ip_packet(ONE, HUB, b"4"))
    two.send(ip_packet(TWO, HUB, b"5"))
    net.run(1)
    assert one.received == [ip_packet(HUB, ONE, b"1"), ip_packet(HUB, ONE, b"3")]
    assert two.received == [ip_packet(HUB, TWO, b"2")]
    assert sorted(hub.received) == sorted([ip_packet(ONE, HUB, b"4"), ip_packet(TWO, HUB, b"5")])
    assert hub.node.drops == {DropReason.NO_PEER: 1}


def test_two_peers_in_one_burst_are_two_flights() -> None:
    _, hub, _, _ = star()
    flights = hub.send(ip_packet(HUB, ONE, b"1"), ip_packet(HUB, TWO, b"2"))
    assert [flight.destination for flight in flights] == [at(SOCKET_B), at("192.0.2.3:1003")]
    assert {flight.source for flight in flights} == {at(SOCKET_A)}


def test_a_peer_speaks_for_itself_only() -> None:
    net, hub, one, _ = star()
    one.send(ip_packet(TWO, HUB, b"forged"), ip_packet("127.0.0.1", HUB, b"forged"), ip_packet(ONE, HUB, b"honest"))
    net.run(1)
    assert hub.received == [ip_packet(ONE, HUB, b"honest")]
    assert hub.peer("one").drops["data: inner source isn't the peer's"] == 2
    assert hub.peer("two").drops["data: inner source isn't the peer's"] == 0


def test_a_peer_in_trouble_leaves_the_other_alone() -> None:
    net, hub, one, two = star()
    net.is_cut = lambda packet: at(SOCKET_B) in (packet.source, packet.destination)
    for number in range(100):
        hub.send(ip_packet(HUB, ONE, bytes([number])), ip_packet(HUB, TWO, bytes([number])))
        two.send(ip_packet(TWO, HUB, bytes([number])))
        net.run(0.5)
    assert hub.peer("one").state.value == "connecting"
    assert hub.peer("two").state.value == "connected"
    assert len(two.received) == 100
    assert one.received == []


def test_a_batch_of_many_kinds_is_sorted_one_by_one() -> None:
    """Data of two peers, a check, a handshake and junk, as one read of the socket."""
    net, hub, one, two = star()
    net.log.clear()
    one.send(ip_packet(ONE, HUB, b"1"))
    two.send(ip_packet(TWO, HUB, b"2"))
    data = [each.packet for each in net.log]
    datagrams = [packet.payload for packet in data] + [b"\x05junk", b"", b"\x40channel", b"\xd4", b"\xd1", b"\xd2\0"]
    sources = [packet.source for packet in data] + [at(STRANGER)] * 6
    packets = hub.node.receive_datagrams(batch_of(datagrams), sources, at(SOCKET_A), net.now)
    assert [bytes(each) for each in packets] == [ip_packet(ONE, HUB, b"1"), ip_packet(TWO, HUB, b"2")]
    assert hub.node.drops == {
        DropReason.UNKNOWN_DATAGRAM: 2,
        DropReason.EMPTY: 1,
        DropReason.UNKNOWN_SESSION: 1,
        DropReason.UNKNOWN_HANDSHAKE: 2,
    }


# Strangers and liars


def request(username: str) -> bytes:
    return encode_message(
        Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12)), ((USERNAME, username),))
    )


def test_a_check_with_an_unknown_user_is_answered_by_an_error_no_larger_than_itself() -> None:
    world = World().connect().settle()
    before = world.to_bob.drops.total()
    world.network.log.clear()
    ask = request("nobody:either")
    world.network.deliver(Transmit(ask, at(STRANGER), at(SOCKET_A)))
    answers = [each.packet for each in world.network.log]
    assert all(len(packet.payload) <= len(ask) and packet.destination == at(STRANGER) for packet in answers)
    assert len(answers) <= 1
    assert world.to_bob.drops.total() == before + 1


def test_a_check_for_nobody_meets_nobody_in_an_empty_node() -> None:
    node = Node(random.Random(1).randbytes)
    node.receive_datagrams(batch_of([request("a:b")]), [at(STRANGER)], at(SOCKET_A), START)
    assert node.next_transmit() is None


def test_a_check_reaches_the_peer_whose_user_it_names() -> None:
    net, hub, _, _ = star()
    before = {name: hub.peer(name).drops.total() for name in ("one", "two")}
    ufrag = hub.peer("two").agent.local_credentials.ufrag
    net.deliver(Transmit(request(f"{ufrag}:x"), at(STRANGER), at(SOCKET_A)))
    assert hub.peer("one").drops.total() == before["one"]
    assert hub.peer("two").drops.total() == before["two"] + 1


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"\xd4" + bytes(40), DropReason.UNKNOWN_SESSION),
        (b"\xd4\0\0", DropReason.UNKNOWN_SESSION),
        (b"\xd2" + bytes(80), DropReason.UNKNOWN_HANDSHAKE),
        (b"\xd3" + bytes(59), DropReason.UNKNOWN_HANDSHAKE),
        (b"\xd1" + bytes(200), DropReason.UNKNOWN_HANDSHAKE),
        (b"\0\1\0\0junk", DropReason.MALFORMED_STUN),
        (b"\x16\x03\x01dtls", DropReason.UNKNOWN_DATAGRAM),
        (b"\x40\0\0\0", DropReason.UNKNOWN_DATAGRAM),
        (b"", DropReason.EMPTY),
    ],
)
def test_what_belongs_to_nobody_is_counted(datagram: bytes, reason: DropReason) -> None:
    world = World().connect()
    world.network.log.clear()
    world.network.deliver(Transmit(datagram, at(STRANGER), at(SOCKET_A)))
    assert world.alice.node.drops == {reason: 1}
    assert world.network.log == []


def test_an_initiation_before_we_know_the_peer_is_dropped_quietly() -> None:
    world = World(roles=(Role.CONTROLLING, Role.CONTROLLING))
    world.tell_bob()
    world.network.run(1)
    world.to_bob.receive_handshake(b"\xd1" + bytes(200), at(SOCKET_B), at(SOCKET_A), world.network.now)
    assert world.to_bob.next_transmit() is None
    assert world.to_bob.send_packets(batch_of([ping(1)]), world.network.now) is None
    assert world.to_bob.drops["peer: not connected"] == 1


def snapshot(world: World) -> tuple[object, ...]:
    """Everything that hostile bytes must leave as it is: counters aside."""
    link = world.to_bob.link
    assert link is not None
    return (
        world.to_bob.state,
        world.to_bob.path,
        link.session.sending,
        link.session.algorithm,
        world.to_bob.agent.state,
        world.to_bob.agent.role,
        world.to_bob.agent.pairs,
        world.to_bob.agent.remote_candidates,
        world.to_bob.agent.local_candidates,
        len(world.alice.node.indices),
        len(world.alice.log),
        len(world.alice.received),
    )


def mutations(rng: random.Random, datagrams: list[bytes]) -> list[bytes]:
    """Make hostile datagrams: noise under every first byte that we listen to, and real ones bent, cut and joined."""
    made = []
    for _ in range(300):
        first = rng.choice([0, 1, 0x40, 0xD1, 0xD2, 0xD3, 0xD4, rng.randrange(256)])
        made.append(bytes([first]) + rng.randbytes(rng.choice([0, 1, 3, 19, 60, 200, 1400])))
    for datagram in datagrams:
        bent = bytearray(datagram)
        for _ in range(rng.randrange(1, 4)):
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        if bytes(bent) != datagram:
            made.append(bytes(bent))
        made.append(datagram[: rng.randrange(len(datagram))])
        made.append(datagram + b"\0")
    return made


@pytest.mark.parametrize("seed", range(5))
def test_hostile_bytes_change_nothing_but_counters(seed: int) -> None:
    world = World(seed, rekey_interval=3.0).connect()
    world.talk(8)
    seen = [each.packet.payload for each in world.network.log if each.packet.destination == at(SOCKET_A)]
    rng = random.Random(seed)
    before = snapshot(world)
    for datagram in mutations(rng, rng.sample(seen, min(len(seen), 60))):
        for source in (STRANGER, SOCKET_B):
            opened = world.alice.node.receive_datagrams(
                batch_of([datagram], 2000), [at(source)], at(SOCKET_A), world.network.now
            )
            assert not opened.spans, f"seed {seed}: {datagram.hex()}"
        world.alice.take()
    assert snapshot(world) == before, f"seed {seed}"
    while (answer := world.alice.node.next_transmit()) is not None:
        assert len(answer.payload) <= 1400
    world.bob.received.clear()
    packets, _ = world.talk(5)
    assert world.bob.received == packets, f"seed {seed}: {world.describe()}"


@pytest.mark.parametrize("seed", range(3))
def test_replays_change_nothing(seed: int) -> None:
    world = World(seed).connect()
    world.talk(8)
    seen = [each.packet for each in world.network.log if each.packet.destination == at(SOCKET_A)]
    data = [packet for packet in seen if packet.payload[0] == 0xD4]
    received = list(world.alice.received)
    before = snapshot(world)
    for packet in data:
        for source in (packet.source, at(STRANGER)):
            world.network.deliver(Transmit(packet.payload, source, packet.destination))
    assert world.alice.received == received
    assert snapshot(world) == before
    assert world.to_bob.drops["data: seen before, or too old to tell"] == 2 * len(data)


def test_a_known_session_is_not_opened_by_another_peers_datagrams() -> None:
    """Bytes for a session of `one`, sent by `two`: authenticated by nobody's key but one's."""
    net, hub, one, _ = star()
    net.log.clear()
    one.send(ip_packet(ONE, HUB, b"1"))
    [sealed] = [each.packet.payload for each in net.log]
    net.deliver(Transmit(sealed[:12] + bytes(len(sealed) - 12), at("192.0.2.3:1003"), at(SOCKET_A)))
    assert hub.peer("one").drops["data: not authentic"] == 1
    net.run(1)
    assert hub.received == [ip_packet(ONE, HUB, b"1")]


# Time


def disturb(world: World, rng: random.Random) -> None:
    """Do one random thing to a world."""
    match rng.randrange(9):
        case 0:
            world.alice.send(*(ping(number) for number in range(rng.randrange(70))))
        case 1:
            world.bob.send(pong(rng.randrange(100)))
        case 2:
            world.cut()
        case 3:
            world.mend()
        case 4:
            socket = at(f"198.51.100.{rng.randrange(1, 5)}:9")
            world.network.plug(world.alice, socket)
            world.alice.node.add_local_address(socket, world.network.now)
        case 5:
            world.network.deliver(Transmit(rng.randbytes(rng.randrange(1, 99)), at(SOCKET_B), at(SOCKET_A)))
        case 6:
            world.network.loss = rng.choice([0.0, 0.3])
        case 7:
            world.network.run(rng.choice([0.01, 0.5, 20.0, 200.0]))
        case 8 if rng.random() < 0.1:
            world.alice.node.close(world.network.now)


@pytest.mark.parametrize("seed", range(12))
def test_after_a_timeout_the_next_one_is_later_whatever_happened(seed: int) -> None:
    """Rule 3 of every machine; the network asserts it too, at every step of every run."""
    rng = random.Random(seed)
    world = World(seed, rekey_interval=rng.choice([2.0, 120.0]), roles=(rng.choice(list(Role)), rng.choice(list(Role))))
    world.tell_bob()
    world.network.run(rng.choice([0.0, 30.0]))
    world.tell_alice()
    for step in range(60):
        disturb(world, rng)
        world.network.run(rng.random())
        for host in (world.alice, world.bob):
            for now in (world.network.now, world.network.now):  # twice is harmless
                host.node.handle_timeout(now)
                for following in (host.node.next_timeout(), *(peer.next_timeout() for peer in host.node.peers)):
                    assert following is None or following > now, f"seed {seed}, step {step}: {host}"
            host.take()
        world.network.flush()


def test_a_timeout_far_too_late_is_harmless() -> None:
    world = World().connect().settle()
    for host in (world.alice, world.bob):
        host.node.handle_timeout(world.network.now + 100_000)
        assert (host.node.next_timeout() or 1e9) > world.network.now + 100_000
    assert world.state() is PeerState.CONNECTING
    world.network.run(100_000)
    assert world.network.run(10, lambda: world.to_bob.path is not None), world.describe()
    world.alice.send(ping(1))
    world.network.run(1)
    assert world.bob.received == [ping(1)]


def test_credentials_of_another_session_do_not_reach_us() -> None:
    """Whoever has an old password of ours gets no answer that says more than an error does."""
    world = World().connect()
    before = snapshot(world)
    ufrag = world.to_bob.agent.local_credentials.ufrag
    stale = Credentials(ufrag, "A" * 24)
    assert stale != world.to_bob.agent.local_credentials
    world.network.deliver(Transmit(request(f"{ufrag}:{stale.ufrag}"), at(SOCKET_B), at(SOCKET_A)))
    assert snapshot(world) == before
