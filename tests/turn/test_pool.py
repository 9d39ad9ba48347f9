"""The doors of the pool, its hot path, and what it does with bytes and calls that make no sense."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.stun.attribute import LIFETIME
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.message import Method
from p2ptun.stun.turn import encode_channel_data
from p2ptun.turn.channel import Channel, Parcel
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import DataReceived, DropReason, LossReason, Problem, RelayGained, RelayLost
from p2ptun.turn.pool import Pool
from p2ptun.turn.status import AllocationState
from p2ptun.types import Endpoint, SendError, Transport

from .world import (
    ALICE,
    MAPPED,
    OTHER_PEER,
    PEER,
    SIXTH_PEER,
    START,
    Relay,
    World,
    indication,
    random_bytes_from,
    server_at,
)

SEED = 7
SERVER = server_at("203.0.113.1")
RELAYED, SIXTH = Endpoint.of("203.0.113.77", 50000), Endpoint.of("2001:db8::77", 50000)


def serving(transport: Transport = Transport.UDP, config: PoolConfig | None = None) -> tuple[World, Relay]:
    """Have one allocation with both families and a channel to PEER."""
    server = server_at("203.0.113.1", transport)
    relay = Relay(server.endpoint, [RELAYED, SIXTH])
    world = World(relay, config=config)
    world.add(server)
    world.pool.permit(PEER, START)
    world.flush()
    world.events.clear()
    return world, relay


def only_token(world: World) -> Endpoint:
    (token,) = world.sockets
    return token


def test_an_empty_pool_waits_for_nothing() -> None:
    pool = Pool(random_bytes_from(1))
    assert pool.next_timeout() is None
    assert pool.next_timer is None
    settled_before = pool.is_settled
    pool.end_of_servers(START)
    assert (settled_before, pool.is_settled) == (False, True)
    assert pool.allocations == ()
    pool.handle_timeout(START)
    pool.close(START)
    assert pool.next_order() is None
    assert pool.next_transmit() is None
    assert pool.next_event() is None


def test_both_addresses_of_a_dual_allocation_are_gained() -> None:
    world = World(Relay(SERVER.endpoint, [RELAYED, SIXTH]))
    world.add(SERVER)
    assert world.events == [RelayGained(RELAYED, SERVER, MAPPED), RelayGained(SIXTH, SERVER, MAPPED)]
    assert world.pool.owns(RELAYED)
    assert world.pool.owns(SIXTH)
    assert not world.pool.owns(PEER)
    assert world.pool.is_socket(only_token(world))
    assert not world.pool.is_socket(RELAYED)
    (status,) = world.pool.allocations
    assert (status.server, status.state) == (SERVER, AllocationState.READY)
    assert (status.relayed, status.mapped) == ((RELAYED, SIXTH), MAPPED)
    assert (status.rtt, status.expires_at) == (0.0, START + 600)
    assert (status.problem, status.code) == (None, None)


def test_an_attempt_is_shown() -> None:
    world = World()
    world.add(SERVER)
    (status,) = world.pool.allocations
    assert (status.state, status.relayed, status.mapped) == (AllocationState.ASKED, (), None)
    assert str(status.server) == "203.0.113.1:3478 (udp)"


def test_a_later_attempt_shows_why_the_last_one_failed() -> None:
    world = World()
    world.add(SERVER)
    world.advance(60)
    (status,) = world.pool.allocations
    assert (status.state, status.problem) == (AllocationState.ASKED, Problem.NO_ANSWER)


def test_servers_are_bounded() -> None:
    world = World(config=PoolConfig(max_servers=2))
    world.add(*(server_at(f"203.0.113.{number}") for number in range(1, 5)))
    assert len(world.pool.allocations) == 2
    assert world.pool.drops == {DropReason.TOO_MANY_SERVERS: 2}


def test_an_address_that_is_named_twice_is_one() -> None:
    world = World()
    world.add(SERVER, SERVER)
    world.advance(1)
    assert len(world.opened) == 1


def test_the_credential_that_was_given_last_counts_for_all() -> None:
    relay = Relay(server_at("203.0.113.1", Transport.TCP).endpoint)
    world = World(relay)
    world.pool.add_server(
        server_at("203.0.113.1", Transport.TLS), LongTermCredential("alice", "wrong"), None, world.now
    )
    world.add(server_at("203.0.113.1", Transport.TCP))
    assert world.relayed


def test_a_server_of_a_better_transport_is_tried_though_another_serves() -> None:
    tcp = server_at("203.0.113.1", Transport.TCP)
    world = World(Relay(tcp.endpoint), Relay(SERVER.endpoint, [SIXTH]))
    world.add(tcp)
    world.add(server_at("203.0.113.1", Transport.TLS))
    assert len(world.opened) == 1
    world.add(SERVER)
    assert world.relayed == [RELAYED, SIXTH]


def test_a_credential_for_nobody_is_ignored() -> None:
    world, _ = serving()
    world.pool.set_credential("nobody.example", ALICE, None, START)
    world.flush()
    assert len(world.opened) == 1


# Peers and data


def test_peers_get_what_their_family_allows() -> None:
    world, relay = serving()
    world.pool.permit(SIXTH_PEER, START)
    world.flush()
    token = only_token(world)
    assert world.pool.channel(RELAYED, PEER) == Channel(0x4000, token, SERVER.endpoint, is_padded=False)
    assert world.pool.channel(SIXTH, SIXTH_PEER) == Channel(0x4001, token, SERVER.endpoint, is_padded=False)
    assert world.pool.channel(RELAYED, OTHER_PEER) is None
    assert world.pool.channel(PEER, PEER) is None
    seen = len(relay.seen)
    world.pool.permit(PEER, START)
    world.flush()
    assert len(relay.seen) == seen


def test_peers_are_bounded() -> None:
    world, _ = serving(config=PoolConfig(max_peers=2))
    for port in (1, 2, 3):
        world.pool.permit(Endpoint(PEER.address, port), START)
    world.flush()
    assert world.pool.drops == {DropReason.TOO_MANY_PEERS: 2}
    world.pool.forget(PEER, START)
    world.pool.forget(PEER, START)
    world.pool.permit(OTHER_PEER, START)
    world.flush()
    assert world.pool.channel(RELAYED, OTHER_PEER)


def test_send_permits_and_uses_what_there_is() -> None:
    world, relay = serving()
    world.pool.send(b"to the channel", RELAYED, PEER, START)
    world.pool.send(b"to a stranger", RELAYED, OTHER_PEER, START)
    world.pool.send(b"over nothing", OTHER_PEER, PEER, START)
    world.flush()
    assert relay.frames == [encode_channel_data(0x4000, b"to the channel", is_padded=False)]
    assert len(relay.requests(Method.SEND)) == 1
    assert world.pool.channel(RELAYED, OTHER_PEER)
    assert world.pool.drops == {DropReason.UNKNOWN_RELAY: 1}


def test_data_names_its_peer_and_our_address() -> None:
    world, _ = serving()
    world.pool.permit(SIXTH_PEER, START)
    world.flush()
    world.deliver(indication(PEER, b"one"))
    world.deliver(encode_channel_data(0x4001, b"two", is_padded=False))
    assert world.events == [DataReceived(b"one", PEER, RELAYED), DataReceived(b"two", SIXTH_PEER, SIXTH)]


def test_data_from_elsewhere_is_dropped() -> None:
    world, _ = serving()
    frame = encode_channel_data(0x4000, b"x", is_padded=False)
    world.pool.receive_datagram(frame, OTHER_PEER, only_token(world), START)
    world.pool.receive_datagram(frame, SERVER.endpoint, OTHER_PEER, START)
    world.flush()
    assert world.events == []
    assert world.pool.drops == {DropReason.FOREIGN_SOURCE: 1, DropReason.UNKNOWN_SOCKET: 1}


def test_a_server_that_went_silent_is_noticed_by_a_probe() -> None:
    world, relay = serving()
    world.pool.probe(OTHER_PEER, START)
    assert not list(iter(world.pool.next_transmit, None))
    relay.is_down = True
    world.pool.probe(SIXTH, START)
    world.flush()
    world.advance(2.6)
    assert world.events == [RelayLost(RELAYED, LossReason.SILENT), RelayLost(SIXTH, LossReason.SILENT)]
    assert world.pool.channel(RELAYED, PEER) is None


# Ends


def test_reset_begins_anew_at_once() -> None:
    world, relay = serving()
    world.pool.reset(START + 1)
    world.flush()
    assert world.events == [
        RelayLost(RELAYED, LossReason.NETWORK_CHANGED),
        RelayLost(SIXTH, LossReason.NETWORK_CHANGED),
        RelayGained(Endpoint(RELAYED.address, 50001), SERVER, MAPPED),
        RelayGained(Endpoint(SIXTH.address, 50001), SERVER, MAPPED),
    ]
    assert world.closed == [world.opened[0].token]
    assert world.pool.channel(Endpoint(RELAYED.address, 50001), PEER)
    assert relay.requests(Method.REFRESH)[0].get(LIFETIME) == 0


def test_reset_forgets_how_often_it_failed() -> None:
    world = World()
    world.add(SERVER)
    world.advance(1000)
    before = len(world.opened)
    world.pool.reset(world.now)
    world.flush()
    assert len(world.opened) == before + 1
    assert world.opened_at[-1] == world.now


def test_close_gives_everything_back_before_its_socket_is_closed() -> None:
    world, relay = serving()
    world.pool.close(START)
    assert world.pool.next_order() is None  # not before the farewell has left
    world.flush()
    assert relay.seen[-1].get(LIFETIME) == 0
    assert world.sockets == {}
    assert [event.reason for event in world.take(RelayLost)] == [LossReason.CLOSED] * 2
    assert world.pool.next_timeout() is None
    world.pool.record_send_error(world.opened[0].token, SERVER.endpoint, SendError.OTHER, START)
    world.pool.handle_timeout(START + 1e6)
    world.flush()
    assert world.events == []


# The hot path


@pytest.mark.parametrize("transport", Transport)
def test_frames_are_found_in_a_buffer(transport: Transport) -> None:
    world, _ = serving(transport)
    token = only_token(world)
    frame = encode_channel_data(0x4000, b"hello", transport is not Transport.UDP)
    raw = bytearray(b"\xff" * 3 + frame + b"\xff" * 5)
    for buffer in (raw, memoryview(raw), bytes(raw)):
        parcel = world.pool.locate(buffer, 3, 3 + len(frame), token)
        assert parcel == Parcel(7, 12, PEER, RELAYED)
    assert bytes(raw[7:12]) == b"hello"


def test_frames_that_are_none_of_ours_are_counted() -> None:
    world, _ = serving()
    token = only_token(world)
    frame = encode_channel_data(0x4000, b"hello", is_padded=False)
    for length in range(len(frame)):
        assert world.pool.locate(frame, 0, length, token) is None
    assert world.pool.drops == {DropReason.MALFORMED: len(frame)}
    unknown = encode_channel_data(0x4001, b"", is_padded=False)
    assert world.pool.locate(unknown, 0, len(unknown), token) is None
    assert world.pool.locate(frame, 0, len(frame), Endpoint(token.address, 99)) is None
    assert world.pool.drops[DropReason.UNKNOWN_CHANNEL] == 1
    assert world.pool.drops[DropReason.UNKNOWN_SOCKET] == 1


def test_before_there_is_an_allocation_nothing_is_found() -> None:
    world = World()
    world.add(SERVER)
    frame = encode_channel_data(0x4000, b"hello", is_padded=False)
    assert world.pool.locate(frame, 0, len(frame), only_token(world)) is None
    assert world.pool.drops == {DropReason.UNKNOWN_SOCKET: 1}


def test_a_frame_for_a_socket_that_is_gone_is_not_found() -> None:
    world, _ = serving()
    token = only_token(world)
    frame = encode_channel_data(0x4000, b"hello", is_padded=False)
    assert world.pool.locate(frame, 0, len(frame), token)
    world.pool.reset(START)
    assert world.pool.locate(frame, 0, len(frame), token) is None


def test_random_frames_are_found_whole_or_not_at_all() -> None:
    world, _ = serving()
    token = only_token(world)
    draw = random.Random(SEED)
    for _ in range(3000):
        raw = b"\x40\x00" + draw.randbytes(draw.randrange(20)) if draw.random() < 0.5 else draw.randbytes(12)
        parcel = world.pool.locate(raw, 0, len(raw), token)
        assert parcel is None or 4 <= parcel.start <= parcel.end <= len(raw), f"seed {SEED}: {raw.hex()}"


@given(st.binary(max_size=120))
def test_random_datagrams_change_nothing(data: bytes) -> None:
    world, _ = serving()
    timeout, token = world.pool.next_timeout(), only_token(world)
    world.deliver(data, token)
    assert world.pool.next_timeout() == timeout
    assert list(world.sockets) == [token]
    assert sum(world.pool.drops.values()) + len(world.take(DataReceived)) == 1
    assert world.events == []
