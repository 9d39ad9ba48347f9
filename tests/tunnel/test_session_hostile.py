"""Replays, forgeries, floods and nonsense: they are dropped and counted, and the live session goes on."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptun.tunnel.admission import HANDSHAKE_BURST
from p2ptun.tunnel.cookie import NO_MAC
from p2ptun.tunnel.event import Refusal, SessionEstablished
from p2ptun.tunnel.session import Session
from p2ptun.tunnel.wire import decode_initiation
from tests.tunnel.world import GREATER, LESSER, World, config_of, key_pair, stream_of


def record(world: World, kind: int) -> list[bytes]:
    return [datagram for _, datagram in world.log if datagram[0] == kind]


def restart(world: World, name: str) -> None:
    """Let `b` forget everything, as a process that starts again does."""
    world.b.session = Session(
        config_of(GREATER, LESSER), stream_of(name), lambda: world.b.indices.claim(name), world.b.indices.release
    )


def test_a_replayed_initiation_is_dropped_before_any_arithmetic() -> None:
    world = World()
    world.connect()
    [initiation] = record(world, 0xD1)
    keypair = world.b.session.sending
    for _ in range(100):
        assert not world.b.session.receive_datagram(initiation, world.now)
    assert world.b.drain() == []
    assert world.b.session.refusals == {Refusal.REPLAYED: 100}
    assert world.b.session.sending is keypair


def test_a_replay_from_before_a_restart_never_disturbs_the_live_session() -> None:
    world = World()
    for _ in range(6):
        world.a.session.initiate(world.now)
        world.run(10)
    old = record(world, 0xD1)
    restart(world, "reborn")
    world.a.session.initiate(world.now)
    world.run(10)
    live = world.b.session.sending
    assert live is not None

    world.a.session.initiate(world.now)
    [rekey] = world.a.drain()
    assert world.b.session.receive_datagram(rekey, world.now)  # bound: proves that the peer is there
    [response] = world.b.drain()
    for initiation in old:
        assert not world.b.session.receive_datagram(initiation, world.now)
    answers = world.b.drain()
    assert 0 < len(answers) <= 4
    assert all(len(answer) < len(initiation) for answer in answers for initiation in old)
    assert world.b.session.refusals[Refusal.OVERLOADED] >= 2
    assert world.b.session.sending is live
    # The rekey that was on its way is none the worse for it.
    assert world.a.session.receive_datagram(response, world.now)
    world.say(world.a, b"under new keys")
    world.run(1)
    assert world.b.received == [b"under new keys"]
    assert world.b.lost_to_keys == 0


def test_replays_of_responses_and_data() -> None:
    world = World()
    world.connect()
    world.say(world.a, b"once")
    world.run(1)
    for datagram in [*record(world, 0xD2), *record(world, 0xD4)]:
        for end in (world.a, world.b):
            end.take(datagram, world.now)
    world.flush()
    assert world.b.received == [b"once"]
    assert world.a.session.refusals[Refusal.UNEXPECTED] == 1
    assert world.a.replays + world.b.replays == len(record(world, 0xD4))


def test_a_peer_that_lost_its_memory_gets_in_again() -> None:
    world = World()
    world.connect()
    restart(world, "reborn")
    world.b.session.initiate(world.now)
    world.run(1)
    world.say(world.b, b"back again")
    world.run(1)
    assert world.a.received == [b"back again"]


def test_the_wrong_keys() -> None:
    world = World()
    stranger = World(initiator=key_pair("stranger"), responder=GREATER)
    stranger.a.session.initiate(world.now)
    [initiation] = stranger.a.drain()
    assert not world.b.session.receive_datagram(initiation, world.now)
    misled = World(initiator=LESSER, responder=key_pair("stranger"))
    misled.a.session.initiate(world.now)
    [initiation] = misled.a.drain()
    assert not world.b.session.receive_datagram(initiation, world.now)
    assert world.b.drain() == []
    assert world.b.session.refusals == {Refusal.UNAUTHENTIC: 1, Refusal.WRONG_MAC: 1}


def test_a_response_with_a_wrong_mac_or_from_nowhere() -> None:
    world = World()
    world.a.session.initiate(world.now)
    [initiation] = world.a.drain()
    world.b.session.receive_datagram(initiation, world.now)
    [response] = world.b.drain()
    assert not world.a.session.receive_datagram(response[:-1] + bytes([response[-1] ^ 1]), world.now)
    assert world.a.session.receive_datagram(response, world.now)
    assert world.a.session.refusals == {Refusal.WRONG_MAC: 1}


def test_a_flood_is_answered_with_cookies_and_the_honest_get_through() -> None:
    world = World()
    flood = World(initiator=key_pair("flood"), responder=GREATER)
    for _ in range(HANDSHAKE_BURST):
        flood.a.session.initiate(flood.now)
        flood.a.session.handle_timeout(flood.now + 6)
        flood.now += 6
    for datagram in flood.a.drain()[:HANDSHAKE_BURST]:
        world.b.session.receive_datagram(datagram, world.now, b"flood")
    world.a.session.initiate(world.now)
    [first] = world.a.drain()
    assert not world.b.session.receive_datagram(first, world.now, b"honest")
    [reply] = world.b.drain()
    assert reply[0] == 0xD3
    assert len(reply) < len(first)
    assert not world.a.session.receive_datagram(reply, world.now)
    world.now = world.a.session.next_timeout() or 0.0
    world.a.session.handle_timeout(world.now)
    [second] = world.a.drain()
    assert decode_initiation(second).mac2 != NO_MAC
    world.b.session.receive_datagram(second, world.now, b"honest")
    [response] = world.b.drain()
    assert response[0] == 0xD2


def test_without_a_source_a_flood_is_dropped() -> None:
    world = World()
    flood = World(initiator=key_pair("flood"), responder=GREATER)
    flood.a.session.initiate(flood.now)
    [datagram] = flood.a.drain()
    for _ in range(HANDSHAKE_BURST + 3):
        world.b.session.receive_datagram(datagram, world.now)
    assert world.b.session.refusals[Refusal.OVERLOADED] == 3
    assert world.b.drain() == []


def test_forged_responses_are_rationed() -> None:
    world = World()
    world.a.session.initiate(world.now)
    [initiation] = world.a.drain()
    world.b.session.receive_datagram(initiation, world.now)
    [response] = world.b.drain()
    other = World(psk=b"?" * 32)
    other.b.session.receive_datagram(initiation, world.now)
    [forged] = other.b.drain()
    for _ in range(HANDSHAKE_BURST + 1):
        assert not world.a.session.receive_datagram(forged, world.now)
    assert world.a.session.refusals == {Refusal.UNAUTHENTIC: HANDSHAKE_BURST, Refusal.OVERLOADED: 1}
    assert world.a.session.receive_datagram(response, world.now + 1)


@pytest.mark.parametrize("is_handshaking", [True, False])
def test_cookie_replies_that_nobody_asked_for(is_handshaking: bool) -> None:
    world = World()
    if is_handshaking:
        world.a.session.initiate(world.now)
        [initiation] = world.a.drain()
        assert not world.a.session.receive_datagram(b"\xd3" + initiation[1:4] + bytes(56), world.now)
    else:
        assert not world.a.session.receive_datagram(b"\xd3\0\0\1" + bytes(56), world.now)
    expected = Refusal.UNAUTHENTIC if is_handshaking else Refusal.UNEXPECTED
    assert world.a.session.refusals == {expected: 1}


def test_a_keypair_that_is_gone_is_ignored() -> None:
    world = World()
    world.connect()
    keypair = world.b.session.sending
    assert keypair is not None
    keypair.wipe()
    before = world.b.session.next_timeout()
    world.b.session.record_received(keypair, world.now)
    assert world.b.session.next_timeout() == before


@pytest.mark.parametrize("data", [b"", b"\xd1", b"\xd2", b"\xd3", b"\xd4", b"\xd5", b"\0" * 171, bytes(65535)])
def test_nonsense(data: bytes) -> None:
    world = World()
    assert not world.a.session.receive_datagram(data, world.now)
    assert world.a.session.refusals == {Refusal.MALFORMED: 1}


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_damaged_datagrams_dont_matter(seed: int) -> None:
    """An attacker who sees everything and sends damaged, mixed and repeated copies stops nothing."""
    random = Random(seed)
    world = World(rekey_interval=2.0)
    world.connect()
    for number in range(40):
        assert world.say(world.a, b"%d" % number)
        for _ in range(6):
            damaged = bytearray(random.choice(world.log)[1])
            damaged[random.randrange(len(damaged))] ^= random.choice((0, 1, 0x80))
            target = random.choice((world.a, world.b))
            target.take(bytes(damaged), world.now)
        world.run(random.random() * 0.4)
    world.run(2)
    # An exact copy may overtake the original: once each, in any order.
    assert sorted(world.b.received) == sorted(b"%d" % number for number in range(40)), f"seed {seed}"
    assert sum(isinstance(event, SessionEstablished) for event in world.b.events) == 1
