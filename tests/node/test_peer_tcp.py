"""Two nodes between which nothing but TCP gets through (RFC 6544)."""

from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.tcp import active_base
from p2ptun.node.event import LocalCandidateFound
from p2ptun.node.parameters import IceParameters
from p2ptun.types import Endpoint, SendError, Transport
from tests.node.world import World, ping, pong
from tests.sim.network import at
from tests.sim.node import NodeHost

TCP_A, TCP_B = at("192.0.2.1:5001", Transport.TCP), at("192.0.2.2:5002", Transport.TCP)


def add_base(world: World, host: NodeHost, base: Endpoint, tcp_type: TcpType | None = None) -> None:
    world.network.plug(host, base)
    host.node.add_local_address(base, host.now, tcp_type)
    host.take()


def make(tcp_type: TcpType = TcpType.PASSIVE, is_blocked: bool = True) -> World:
    """Make a world where both sides have TCP bases besides UDP, on the same ports."""
    world = World()
    for host, base in ((world.alice, TCP_A), (world.bob, TCP_B)):
        add_base(world, host, base, tcp_type)
        if tcp_type is TcpType.PASSIVE:
            add_base(world, host, active_base(base.address))
    world.offer = IceParameters(world.to_bob.agent.local_credentials, world.to_bob.describe())
    world.answer = IceParameters(world.to_alice.agent.local_credentials, world.to_alice.describe())
    if is_blocked:
        world.network.is_cut = lambda packet: packet.source.transport is Transport.UDP
    return world


def talk(world: World) -> None:
    """Let a packet pass each way."""
    before = len(world.alice.received), len(world.bob.received)
    world.alice.send(ping(1))
    world.bob.send(pong(1))
    assert world.network.run(
        5, lambda: (len(world.alice.received), len(world.bob.received)) == (before[0] + 1, before[1] + 1)
    ), world.describe()


def test_where_udp_is_blocked_a_tunnel_comes_up_over_tcp() -> None:
    world = make().connect(2.0)
    for peer in (world.to_bob, world.to_alice):
        assert peer.path is not None
        assert peer.path.base.transport is peer.path.destination.transport is Transport.TCP
        assert {peer.path.local.type, peer.path.remote.type} == {CandidateType.HOST, CandidateType.PEER_REFLEXIVE}
    talk(world)


def test_simultaneous_open_does_it_too() -> None:
    world = make(TcpType.SIMULTANEOUS_OPEN).connect(2.0)
    assert world.to_bob.path is not None
    assert (world.to_bob.path.base, world.to_bob.path.destination) == (TCP_A, TCP_B)
    assert world.to_bob.path.remote.tcp_type is TcpType.SIMULTANEOUS_OPEN
    talk(world)


def test_where_udp_gets_through_it_carries_the_tunnel() -> None:
    world = make(is_blocked=False).connect(2.0).settle()
    assert world.to_bob.path is not None
    assert world.to_bob.path.base.transport is Transport.UDP


def test_active_candidates_are_found_but_not_told() -> None:
    world = make()
    found = [event.candidate for event in world.alice.events("bob") if isinstance(event, LocalCandidateFound)]
    assert [each.tcp_type for each in found] == [None, TcpType.PASSIVE, TcpType.ACTIVE]
    assert [each.tcp_type for each in world.to_bob.describe()] == [None, TcpType.PASSIVE]


def test_peers_that_come_later_get_the_bases_there_are() -> None:
    world = World()
    add_base(world, world.alice, TCP_A, TcpType.SIMULTANEOUS_OPEN)
    late = world.alice.add_peer("carol")
    assert [each.tcp_type for each in late.describe()] == [None, TcpType.SIMULTANEOUS_OPEN]


def test_a_broken_connection_is_replaced_and_the_tunnel_goes_on() -> None:
    """The active side opens another one for its next check; the passive side learns the new pair by that."""
    world = make().connect(2.0).settle()
    path, back = world.to_bob.path, world.to_alice.path
    assert path is not None
    assert back is not None
    for host, peer, each in ((world.alice, "bob", path), (world.bob, "alice", back)):
        world.network._streams.forget(host, each.base)  # both kernels have given it up
        host.node.record_send_error(each.base, each.destination, SendError.REFUSED, host.now)
        host.take()
        assert host.peer(peer).state.value in ("connected", "suspect", "connecting")
    world.network.flush()
    assert world.network.run(10, world.is_connected), world.describe()
    talk(world)
