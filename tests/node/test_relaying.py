"""A node and its relays in the simulated network: which paths there are, what is on the wire, whom relays let in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.pair import PairProblem
from p2ptun.node.drop import DropReason
from p2ptun.node.event import GatheringCompleted, RelayFound, RemoteCandidateFound, RemoteCandidateRemoved
from p2ptun.node.flight import Flight
from p2ptun.node.link import BATCH_SIZE
from p2ptun.node.path import PathKind
from p2ptun.node.relaying import FRAMED_SIZE
from p2ptun.stun.attribute import DATA, XOR_PEER_ADDRESS, AttributeValue
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.turn import decode_channel_data, encode_channel_data, is_channel_data
from p2ptun.turn import event as turn
from p2ptun.types import Endpoint, Transmit, Transport
from tests.sim.network import at
from tests.sim.node import NodeHost, batch_of, description_of, ip_packet
from tests.sim.relayed import BOTH_EASY, SERVERS, RelayedScene
from tests.sim.scene import A, B

CHECK, ANSWER, DATA_DATAGRAM = 0x00, 0x01, 0xD4
SEND_INDICATION = b"\x00\x16"
STRANGER = at("192.0.2.200:7000")


def token_of(host: NodeHost) -> Endpoint:
    """Give the token of the only socket to a relay."""
    (token,) = host.ordered.tokens
    return token


def relayed_of(host: NodeHost) -> Endpoint:
    """Give the first relayed address of a node."""
    return host.node.relays.allocations[0].relayed[0]


def data_indication(payload: bytes, peer: Endpoint) -> bytes:
    attributes: tuple[AttributeValue, ...] = ((XOR_PEER_ADDRESS, peer), (DATA, payload))
    return encode_message(Message(Method.DATA, MessageClass.INDICATION, TransactionId(bytes(12)), attributes))


def conversation(scene: RelayedScene) -> tuple[list[bytes], list[bytes]]:
    """Give what Alice sent to her relay, and what it sent to its clients."""
    relay = scene.all_relays[0]
    (socket,) = scene.alice.ordered.tokens.values()
    out = [each.packet.payload for each in scene.network.log if each.packet.source == socket]
    heard = [each for each in scene.network.log if each.host is relay and each.packet.source.port == 3478]
    return out, [each.packet.payload for each in heard]


def drained(host: NodeHost) -> list[Transmit]:
    """Take what a node has to send."""
    sent = []
    while (transmit := host.node.next_transmit()) is not None:
        sent.append(transmit)
    return sent


# Which paths there are


@pytest.mark.parametrize("uses", [((0,), (0,)), ((0,), ()), ((), (0,)), ((0,), (1,)), ((0, 1), (0, 1))], ids=str)
def test_sides_without_a_direct_path_meet_through_a_relay(uses: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    scene = RelayedScene(uses=uses).connect(2.0)
    scene.talk(10)
    assert scene.is_relayed
    assert len(scene.used) == 1, "one hop is enough"
    assert len(scene.alice.received) == len(scene.bob.received) == len(scene.sent_at)
    for host, own in zip(scene.hosts, uses, strict=True):
        found = {event.server.name for event in host.events() if isinstance(event, RelayFound)}
        assert found == {scene.all_relays[number].name for number in own}
        local = host.node.peers[0].agent.local_candidates
        assert sum(each.type is CandidateType.RELAYED for each in local) == len(own)


def test_direct_path_wins_where_there_is_one() -> None:
    scene = RelayedScene(mappings=BOTH_EASY).connect()
    scene.talk(5)
    assert not scene.is_relayed
    assert scene.to_bob.standby is not None
    assert scene.to_bob.standby.kind is PathKind.RELAY


def test_peers_that_come_later_know_the_relays_too() -> None:
    scene = RelayedScene(uses=((0,), ()))
    late = scene.alice.add_peer("late")
    assert relayed_of(scene.alice) in {each.endpoint for each in late.agent.local_candidates}
    scene.network.run(5.0)
    assert GatheringCompleted() in scene.alice.events("late")


@pytest.mark.parametrize("policy", list(PathPolicy))
def test_people_choose_the_paths(policy: PathPolicy) -> None:
    scene = RelayedScene(mappings=BOTH_EASY, config=AgentConfig(path_policy=policy)).connect()
    scene.talk(5)
    assert scene.is_relayed is (policy is PathPolicy.RELAY)
    types = {each.type for each in scene.to_bob.agent.local_candidates}
    assert (CandidateType.RELAYED in types) is (policy is not PathPolicy.DIRECT)
    assert (CandidateType.HOST in types) is (policy is not PathPolicy.RELAY)


def test_direct_only_meets_nobody_where_only_a_relay_would() -> None:
    scene = RelayedScene(config=AgentConfig(path_policy=PathPolicy.DIRECT))
    scene.introduce()
    assert not scene.network.run(20.0, scene.is_connected)


# The form on the wire


def test_indications_go_before_channels_are_bound_and_channel_data_after() -> None:
    scene = RelayedScene(uses=((0,), ()))
    scene.network.has_log = True
    scene.connect()
    scene.talk(3)
    out, back = conversation(scene)
    sends = [number for number, data in enumerate(out) if data[:2] == SEND_INDICATION]
    framed = [number for number, data in enumerate(out) if is_channel_data(data)]
    assert sends
    assert max(sends) < len(out) / 2 < max(framed)
    assert {CHECK, DATA_DATAGRAM} <= {decode_channel_data(data)[1][0] for data in out if is_channel_data(data)}
    assert {ANSWER, DATA_DATAGRAM} <= {decode_channel_data(data)[1][0] for data in back if is_channel_data(data)}
    lost = set(scene.alice.node.relays.drops)
    assert lost <= {turn.DropReason.REFUSED_PEER}, "the server's own messages count as nothing lost"


def test_everything_goes_over_a_relay_where_nothing_else_may_be_used() -> None:
    scene = RelayedScene(config=AgentConfig(path_policy=PathPolicy.RELAY))
    scene.network.has_log = True
    scene.connect()
    scene.talk(3)
    scene.network.run(1.0)
    (socket,) = scene.alice.ordered.tokens.values()
    others = [each.packet for each in scene.network.log if each.host is scene.alice and each.packet.source != socket]
    assert {str(packet.destination) for packet in others} <= set(SERVERS)
    assert len(scene.bob.received) == len(scene.sent_at)


def test_frames_of_a_stream_are_padded() -> None:
    scene = RelayedScene(config=AgentConfig(path_policy=PathPolicy.RELAY), transports=(Transport.TCP,))
    scene.network.has_log = True
    scene.connect()
    for size in range(8):
        scene.alice.send(ip_packet(A, B, bytes(size)))
    scene.network.run(1.0)
    out, _ = conversation(scene)
    framed = [data for data in out if is_channel_data(data)]
    assert framed
    assert {len(data) % 4 for data in framed} == {0}
    assert len({int.from_bytes(data[2:4], "big") % 4 for data in framed}) > 1
    assert scene.bob.received == [ip_packet(A, B, bytes(size)) for size in range(8)]


def test_flight_without_a_channel_leaves_in_indications() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    (base, _) = relayed_pair(scene)
    frame = scene.alice.node._relaying.frame
    drained(scene.alice)
    assert frame(Flight(batch_of([b"one", b"two"]), base, STRANGER), scene.alice.now) is None
    sent = [packet for packet in drained(scene.alice) if packet.payload[:2] == SEND_INDICATION]
    assert [data for packet in sent for data in (b"one", b"two") if data in packet.payload] == [b"one", b"two"]
    assert {packet.source for packet in sent} == {token_of(scene.alice)}


def relayed_pair(scene: RelayedScene) -> tuple[Endpoint, Endpoint]:
    """Give Alice's relayed address on the path to Bob, and where it leads."""
    path = scene.to_bob.path
    assert path is not None
    assert scene.alice.node.relays.owns(path.base)
    return path.base, path.destination


def test_what_grows_too_large_by_its_frames_is_dropped_and_counted() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    node, (base, peer) = scene.alice.node, relayed_pair(scene)
    tiny = batch_of([b"x"] * (FRAMED_SIZE // 5 + 7), FRAMED_SIZE)
    node._relaying.begin_flights()
    flight = node._relaying.frame(Flight(tiny, base, peer), scene.alice.now)
    assert flight is not None
    assert len(flight.datagrams) == FRAMED_SIZE // 5
    assert node.drops[DropReason.QUEUE_FULL] == 7
    assert (flight.source, flight.destination) == (token_of(scene.alice), scene.all_relays[0].servers[0].endpoint)
    assert len(node.send_packets(batch_of([ip_packet(A, B)]), scene.alice.now)) == 1


def test_arrivals_of_all_kinds_are_told_apart_in_one_batch() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    host, (base, peer) = scene.alice, relayed_pair(scene)
    channel = host.node.relays.channel(base, peer)
    assert channel is not None
    packets = [ip_packet(B, A, b"first"), ip_packet(B, A, b"second")]
    first, second = (sealed(scene.bob, packet) for packet in packets)
    mixed = [
        encode_channel_data(channel.number, first, is_padded=True),
        data_indication(second, peer),
        b"",
        encode_channel_data(0x4FFF, first, is_padded=False),
        b"\x40",
        b"\xff\xff",
    ]
    opened = host.node.receive_datagrams(batch_of(mixed), [channel.server] * len(mixed), channel.token, host.now)
    assert [bytes(each) for each in opened] == packets
    drops = host.node.relays.drops
    assert (drops[turn.DropReason.UNKNOWN_CHANNEL], drops[turn.DropReason.MALFORMED]) == (1, 3)


def sealed(host: NodeHost, packet: bytes) -> bytes:
    """Let a node seal a packet that never leaves."""
    [flight] = host.node.send_packets(batch_of([packet]), host.now)
    [datagram] = (bytes(each) for each in flight.datagrams)
    return datagram


def test_more_data_than_a_batch_holds_is_dropped_and_counted() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    host, (_, peer) = scene.alice, relayed_pair(scene)
    batch = batch_of([data_indication(bytes(60_000), peer)] * 5, 2 * BATCH_SIZE)
    server = scene.all_relays[0].servers[0].endpoint
    host.node.receive_datagrams(batch, [server] * 5, token_of(host), host.now)
    assert host.node.drops[DropReason.QUEUE_FULL] == 1
    assert host.node.drops[DropReason.MALFORMED_STUN] == 4


def test_data_that_comes_in_out_of_turn_is_counted() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    host, (_, peer) = scene.alice, relayed_pair(scene)
    server = scene.all_relays[0].servers[0].endpoint
    host.node.relays.receive_datagram(data_indication(b"?", peer), server, token_of(host), host.now)
    host.node.handle_timeout(host.now)
    assert host.node.drops[DropReason.UNKNOWN_DATAGRAM] == 1


# Whom relays let in


def test_peer_that_the_relay_refuses_costs_its_pair_only() -> None:
    """A relay reaches no private address, and both sides tell theirs."""
    scene = RelayedScene(uses=((0,), ()))
    scene.introduce()
    assert scene.network.run(1.0, lambda: bool(refused_pairs(scene)))
    assert refused_pairs(scene) == [(relayed_of(scene.alice), at("10.0.2.2:5000"))]
    assert scene.network.run(5.0, scene.is_connected)


def refused_pairs(scene: RelayedScene) -> list[tuple[Endpoint, Endpoint]]:
    pairs = scene.to_bob.agent.pairs
    return [(each.base, each.destination) for each in pairs if each.problem is PairProblem.REFUSED_BY_RELAY]


def test_address_is_let_in_when_it_is_told_and_as_long_as_anybody_is_there() -> None:
    scene = RelayedScene(mappings=BOTH_EASY, uses=((0,), ())).connect()
    node, relayed = scene.alice.node, relayed_of(scene.alice)
    told = next(each for each in scene.to_alice.agent.local_candidates if each.type is CandidateType.SERVER_REFLEXIVE)
    scene.alice.add_peer("carol")
    described = replace(description_of(scene.to_alice), candidates=(told,))
    scene.alice.learn("carol", scene.bob, described, ["10.77.0.3/32"])
    scene.network.run(2.0)
    assert node.relays.channel(relayed, told.endpoint)
    node.remove_peer("bob", scene.alice.now)
    scene.network.run(700.0)
    assert node.relays.channel(relayed, told.endpoint), "another peer is there, too"
    node.remove_peer("carol", scene.alice.now)
    scene.network.run(700.0)
    assert node.relays.channel(relayed, told.endpoint) is None


def test_address_that_a_peer_has_no_longer_is_let_in_no_longer() -> None:
    scene = RelayedScene(mappings=BOTH_EASY, uses=((0,), ())).connect()
    scene.talk(2)
    node, relayed, new = scene.alice.node, relayed_of(scene.alice), at("192.0.2.2:5000")
    scene.bob.gain(str(new))
    scene.talk(5)
    assert new in told_of(scene.alice, RemoteCandidateFound)
    assert node.relays.channel(relayed, new)
    scene.bob.lose(str(new))
    scene.talk(5)
    assert new in told_of(scene.alice, RemoteCandidateRemoved)
    scene.talk(700, interval=1.0)
    assert node.relays.channel(relayed, new) is None


def told_of(host: NodeHost, kind: type[RemoteCandidateFound] | type[RemoteCandidateRemoved]) -> set[Endpoint]:
    """Give the addresses of which a node's first peer told that they are there, or gone."""
    return {
        event.candidate.endpoint
        for event in host.events(host.node.peers[0].name)
        if isinstance(event, kind) and isinstance(event.candidate, Candidate)
    }
