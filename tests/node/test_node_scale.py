"""Many peers in one node: nobody is asked without need, and nobody is overlooked."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.event import RestartReason
from p2ptun.node.event import NodeEvent
from p2ptun.node.node import Node
from p2ptun.node.peer import Peer
from p2ptun.types import Endpoint, Transmit, Transport
from tests.node.star import HUB, HUB_SOCKET, Star, inner, outer
from tests.sim.network import at
from tests.sim.node import NodeHost, batch_of, ip_packet

DOORS = (
    "next_timeout",
    "handle_timeout",
    "next_transmit",
    "next_event",
    "receive_stun",
    "receive_handshake",
    "record_opened",
    "record_send_error",
)


class CountingHub(NodeHost):
    """Counts what its node is given: datagrams and timeouts."""

    inputs = 0

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        self.inputs += 1
        super().receive(data, source, local, now)

    def handle_timeout(self, now: float) -> None:
        self.inputs += 1
        super().handle_timeout(now)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count from now on how often a peer of the hub is asked or told something."""
    calls: Counter[str] = Counter()

    def counted(door: str) -> None:
        original = getattr(Peer, door)

        def call(peer: Peer, *arguments: object) -> object:
            calls[door] += peer.name != "hub"
            return original(peer, *arguments)

        monkeypatch.setattr(Peer, door, call)

    for door in DOORS:
        counted(door)
    return calls


def idle_calls(monkeypatch: pytest.MonkeyPatch, size: int) -> tuple[float, float]:
    """Give calls per input of the hub and calls per peer, over a minute without traffic."""
    star = Star(size, hub=CountingHub).connect()
    star.network.run(30)
    assert isinstance(star.hub, CountingHub)
    with monkeypatch.context() as patch:
        calls = count_calls(patch)
        star.hub.inputs = 0
        star.network.run(60)
    assert star.hub.inputs > 2 * size
    return calls.total() / star.hub.inputs, calls.total() / size


def test_what_an_idle_peer_costs_does_not_depend_on_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: calls of a peer's doors."""
    few, many = idle_calls(monkeypatch, 3), idle_calls(monkeypatch, 40)
    print(f"calls per input {few[0]:.1f} and {many[0]:.1f}, per peer and minute {few[1]:.1f} and {many[1]:.1f}")
    assert max(few[0], many[0]) < 8
    assert many[0] < 1.3 * few[0]
    assert many[1] < 1.3 * few[1]


def test_a_packet_touches_only_the_peer_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    star = Star(20).connect()
    star.network.run(3)
    calls = count_calls(monkeypatch)
    star.hub.send(ip_packet(HUB, inner(7), b"there"))
    assert star.hub.node.next_timeout() is not None
    assert calls.total() <= 4
    star.network.run(0.03)
    assert star.spokes[7].received == [ip_packet(HUB, inner(7), b"there")]


def drained(node: Node) -> tuple[list[Transmit], list[NodeEvent]]:
    """Take all that a node has to say."""
    transmits, events = [], []
    while (transmit := node.next_transmit()) is not None:
        transmits.append(transmit)
    while (event := node.next_event()) is not None:
        events.append(event)
    return transmits, events


def naive_timeout(node: Node) -> float | None:
    """Ask every peer for its deadline."""
    return min((at for peer in node.peers if (at := peer.next_timeout()) is not None), default=None)


def disturb(star: Star, draw: random.Random) -> None:
    """Do one random thing, to the node or to a peer behind its back."""
    node, now, peers = star.hub.node, star.network.now, star.hub.node.peers
    peer = draw.choice(peers)
    match draw.randrange(15):
        case 0:
            peer.end_of_candidates(now)
        case 1:
            peer.add_stun_server(at(f"203.0.113.{draw.randrange(9)}:3478"), now)
        case 2:
            node.add_stun_server(at(f"203.0.113.{draw.randrange(9)}:3478"), now)
        case 3:
            peer.add_local_address(at(f"192.0.2.9:{draw.randrange(1, 9)}"), now)
        case 4:
            peer.send_packets(batch_of([ip_packet(HUB, inner(0), b"x")]), now)
        case 5:
            peer.receive_handshake(b"\xd1" + draw.randbytes(120), at(outer(0)), at(HUB_SOCKET), now)
        case 6:
            peer.receive_stun(draw.randbytes(draw.randrange(1, 99)), at(outer(0)), at(HUB_SOCKET), now)
        case 7:
            star.hub.send(*(ip_packet(HUB, inner(number), b"x") for number in range(len(star.spokes))))
        case 8:
            star.network.is_cut = draw.choice([lambda packet: False, lambda packet: draw.random() < 0.5])
        case 9 if len(star.spokes) < 8:
            star.add_spoke()
        case 10 if len(peers) > 3 and draw.random() < 0.3:
            node.remove_peer(peer.name, now)
        case 11 if draw.random() < 0.2:
            peer.close(now)
        case 12 if draw.random() < 0.5:
            peer.restart(RestartReason.REQUESTED, now)
        case 13:
            peer.handle_timeout(now + draw.random())
        case _:
            star.network.run(draw.choice([0.01, 0.5, 20.0]))


def timers_of(peer: Peer) -> list[float]:
    """List what the parts of a peer's agent wait for."""
    if peer.agent._connection.is_over:
        return []
    times = (*peer.agent._connection.timeouts().values(), peer.agent._gatherer.bindings.next_timeout())
    return [at for at in times if at is not None]


@pytest.mark.parametrize("seed", range(10))
def test_no_peer_is_overlooked_whoever_it_was_that_touched_it(seed: int) -> None:
    draw = random.Random(seed)
    star = Star(4, seed)
    node = star.hub.node
    for step in range(80):
        disturb(star, draw)
        where = f"seed {seed}, step {step}"
        assert node.next_timeout() == naive_timeout(node), where
        star.hub.take()
        star.network.flush()
        for peer in node.peers:
            assert peer.next_transmit() is None, where
            assert peer.next_event() is None, where
            assert peer.agent.next_timeout() == min(timers_of(peer), default=None), where
            assert (peer.next_timer is None) is (peer.next_timeout() is None), where
        node.handle_timeout(star.network.now)
        drained(node)
        following = naive_timeout(node)
        assert following is None or following > star.network.now, where
        assert node.next_timeout() == following, where


def test_a_peer_that_is_removed_takes_leave_and_is_forgotten() -> None:
    star = Star(3).connect()
    star.network.run(3)
    node, gone = star.hub.node, star.hub.peer("spoke1")
    ufrag_owner = gone.agent.local_credentials.ufrag
    node.remove_peer("spoke1", star.network.now)
    star.network.flush()
    star.network.run(1)
    assert star.spokes[1].peer("hub").state.value == "failed"
    assert [peer.name for peer in node.peers] == ["spoke0", "spoke2"]
    assert len(node.indices) == 2
    assert node._roster.find_by_ufrag(ufrag_owner) == node._roster.find_by_place(at(outer(1))) == []
    with pytest.raises(LocalProtocolError, match="spoke1"):
        node.remove_peer("spoke1", star.network.now)
    before = node.drops.total()
    star.hub.send(ip_packet(HUB, inner(1), b"nobody"))
    assert node.drops.total() == before + 1
    gone.end_of_candidates(star.network.now)
    assert node._roster.take_touched() == []


def test_a_name_is_free_again_when_its_peer_has_gone() -> None:
    star = Star(2).connect()
    star.hub.node.remove_peer("spoke0", star.network.now)
    again = star.hub.add_peer("spoke0")
    assert star.hub.node.peers[-1] is again
    assert star.hub.node.next_timeout() == naive_timeout(star.hub.node)


def test_a_socket_that_is_gone_is_gone_for_every_peer() -> None:
    star = Star(3).connect()
    other = at("192.0.2.9:9")
    star.network.plug(star.hub, other)
    star.hub.node.add_local_address(other, star.network.now)
    assert all(len(peer.agent.local_candidates) == 2 for peer in star.hub.node.peers)
    star.hub.node.remove_local_address(other, star.network.now)
    star.hub.node.remove_local_address(other, star.network.now)
    late = star.hub.add_peer("late")
    assert all(len(peer.agent.local_candidates) == 1 for peer in [late, *star.hub.node.peers])


def test_a_tcp_base_is_what_it_was_said_to_be_for_peers_that_come_later_too() -> None:
    star = Star(1)
    base = at("192.0.2.1:4000", Transport.TCP)
    star.hub.node.add_local_address(base, star.network.now, TcpType.SIMULTANEOUS_OPEN)
    late = star.hub.add_peer("late")
    for peer in (star.hub.peer("spoke0"), late):
        [found] = [each for each in peer.agent.local_candidates if each.base == base]
        assert found.tcp_type is TcpType.SIMULTANEOUS_OPEN


def test_a_restart_is_every_peers() -> None:
    star = Star(3).connect()
    star.network.run(3)
    star.hub.node.restart(RestartReason.NETWORK_CHANGED, star.network.now)
    assert [peer.agent.generation for peer in star.hub.node.peers] == [1, 1, 1]
    star.connect(10)


def test_the_next_deadline_is_named() -> None:
    star = Star(3).connect()
    due = min(star.hub.node.peers, key=lambda peer: peer.next_timeout() or 1e9)
    assert star.hub.node.why_awake() == due.next_timer


def test_so_is_that_of_a_peer_that_nothing_is_known_of() -> None:
    star = Star(0)
    star.hub.node.add_stun_server(at("203.0.113.3:3478"), star.network.now)
    peer = star.hub.add_peer("new")
    assert star.hub.node.why_awake() == peer.next_timer == "ice gathering"
