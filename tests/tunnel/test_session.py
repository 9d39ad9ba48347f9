"""Setting up, talking, falling silent, closing. Rekeys: test_session_rekey. Attackers: test_session_hostile."""

from __future__ import annotations

from itertools import pairwise

import pytest

from p2ptun.aead.algorithm import Algorithm
from p2ptun.noise.handshake import HandshakeState
from p2ptun.tunnel.control import Acknowledgement, Close, CloseReason, IceCredentials, IceDescription, Keepalive
from p2ptun.tunnel.event import (
    ControlReceived,
    PeerClosed,
    Refusal,
    SessionEstablished,
    SessionExpired,
    SessionFailed,
    SessionFailure,
    SessionRekeyed,
)
from p2ptun.tunnel.session import Session, Timer
from p2ptun.tunnel.timing import HEAD_START, PASSIVE_KEEPALIVE_DELAY, REJECT_AFTER_MESSAGES, REPEAT_INTERVAL
from p2ptun.tunnel.wire import MessageType
from tests.tunnel.world import GREATER, LESSER, START, End, World, config_of, stream_of

CHACHA = Algorithm.CHACHA20_POLY1305


def has_keys(end: End) -> bool:
    return end.session.sending is not None


def types(world: World) -> list[tuple[str, int]]:
    return [(who, datagram[0]) for who, datagram in world.log]


def test_a_handshake_as_in_wireguard() -> None:
    world = World()
    session = world.a.session
    assert [session.sending, session.algorithm, session.established_at, session.next_timeout()] == [None] * 4
    session.initiate(world.now)
    session.initiate(world.now)
    assert (session.is_handshaking, session.next_timer) == (True, Timer.RETRY)
    world.run(1)
    assert types(world) == [("a", 0xD1), ("b", 0xD2), ("a", 0xD4), ("b", 0xD4)]
    assert world.a.events == world.b.events == [SessionEstablished(CHACHA)]
    assert session.algorithm is CHACHA
    assert session.established_at == pytest.approx(START + 0.02)
    assert not session.is_handshaking
    assert [session.next_timer, world.b.session.next_timer] == [Timer.EXPIRY, Timer.EXPIRY]
    assert not session.refusals
    assert not world.b.session.refusals


def test_the_responder_seals_nothing_before_it_is_proven() -> None:
    world = World()
    world.a.session.initiate(world.now)
    world.flush()
    [(_, initiation)] = world.log
    world.b.session.receive_datagram(initiation, world.now)
    assert world.b.session.sending is None
    assert not world.b.session.send_control(Keepalive(), world.now)
    assert world.b.drain() != []
    assert world.b.events == []


def test_an_answer_proves_that_the_peer_is_there() -> None:
    world = World()
    world.a.session.initiate(world.now)
    [initiation] = world.a.drain()
    assert not world.b.session.receive_datagram(initiation, world.now)
    [response] = world.b.drain()
    assert world.a.session.receive_datagram(response, world.now)
    assert not world.a.session.receive_datagram(response, world.now)
    assert world.a.session.refusals == {Refusal.UNEXPECTED: 1}


def test_a_lost_keepalive_is_repeated_until_answered() -> None:
    world = World()
    data: list[bytes] = []

    def fate(datagram: bytes) -> list[float]:
        data.extend([datagram] if datagram[0] == 0xD4 else [])
        return [] if datagram[0] == 0xD4 and len(data) < 4 else [0.01]

    world.fate = fate
    world.a.session.initiate(world.now)
    world.run(1.4)
    assert not has_keys(world.b)
    world.run(0.2)
    assert has_keys(world.b)
    world.run(10)
    assert len(data) == 5


def test_keepalives_arent_repeated_for_ever() -> None:
    world = World()
    world.fate = lambda datagram: [] if datagram[0] == 0xD4 else [0.01]
    world.a.session.initiate(world.now)
    world.run(60)
    assert sum(datagram[0] == 0xD4 for _, datagram in world.log) == 11


def test_data_waits_for_keys_and_then_flows_both_ways() -> None:
    world = World()
    assert not world.say(world.a, b"too early")
    world.run(0.1)
    assert world.say(world.a, b"ping")
    assert world.say(world.b, b"pong")
    world.run(0.1)
    assert (world.a.received, world.b.received) == ([b"pong"], [b"ping"])


def test_one_way_traffic_is_answered_soon() -> None:
    world = World()
    world.connect()
    world.run(1)
    before = len(world.log)
    for _ in range(10):
        assert world.say(world.a, b"data")
        world.run(0.1)
    world.run(5)
    keepalives = [who for who, datagram in world.log[before:] if who == "b"]
    assert 2 <= len(keepalives) <= 3
    assert world.a.session.next_timer is Timer.EXPIRY
    assert PASSIVE_KEEPALIVE_DELAY <= 1


def test_who_talks_back_sends_no_keepalive() -> None:
    world = World()
    world.connect()
    before = len(world.log)
    for _ in range(20):
        world.say(world.a, b"ping")
        world.run(0.1)
        world.say(world.b, b"pong")
        world.run(0.1)
    assert len(world.log) - before == 40


def test_any_message_of_ours_answers() -> None:
    world = World()
    world.connect()
    world.say(world.a, b"data")
    world.run(0.1)
    before = len(world.log)
    assert world.b.session.send_control(Acknowledgement(1), world.now)
    world.run(2)
    assert [who for who, _ in world.log[before:]] == ["b"]


def test_idle_tunnels_are_quiet_and_expire() -> None:
    world = World()
    world.connect()
    before = len(world.log)
    world.run(1000)
    assert len(world.log) == before
    for end in (world.a, world.b):
        assert end.events == [SessionEstablished(CHACHA), SessionExpired()]
        assert end.session.sending is None
        assert end.session.next_timeout() is None
        assert len(end.indices) == 0
    assert not world.say(world.b, b"wake up")
    world.run(1)
    assert world.a.events[-1] == SessionEstablished(CHACHA)
    assert world.say(world.a, b"awake")


def test_silence_after_data_makes_a_new_handshake() -> None:
    world = World()
    world.connect()
    world.fate = lambda datagram: []
    before = len(world.log)
    world.say(world.a, b"anybody there?")
    world.run(1)
    world.say(world.a, b"hello?")
    assert world.a.session.next_timer is Timer.SILENCE
    world.run(9.5)
    assert [datagram[0] for _, datagram in world.log[before:]] == [0xD4, 0xD4, 0xD1]
    world.fate = lambda datagram: [0.01]
    world.run(10)
    assert world.a.events[-1] == SessionRekeyed(CHACHA)


def test_nothing_sent_changes_nothing() -> None:
    world = World()
    world.connect()
    before = world.a.session.next_timeout()
    world.a.session.record_sent(0, world.now)
    assert world.a.session.next_timeout() == before


def test_an_initiation_is_repeated_over_another_path() -> None:
    world = World()
    world.a.session.repeat(world.now)
    assert world.a.drain() == [], "there is none"
    world.a.session.initiate(world.now)
    [first] = world.a.drain()
    world.a.session.repeat(world.now)
    assert world.a.drain() == [first]
    world.a.session.repeat(world.now + REPEAT_INTERVAL)
    [second] = world.a.drain()
    assert second != first
    world.b.session.receive_datagram(second, world.now + REPEAT_INTERVAL)
    [answer] = world.b.drain()
    assert world.a.session.receive_datagram(answer, world.now + REPEAT_INTERVAL)


def test_an_initiation_that_is_just_out_gives_way() -> None:
    """The other side's is half a round trip nearer to its end. Should it be a replay, ours is tried again in time."""
    world = World()
    lesser, greater = world.a, world.b
    lesser.session.initiate(world.now)
    [initiation] = lesser.drain()
    greater.session.initiate(world.now)
    [ours] = greater.drain()
    greater.session.receive_datagram(initiation, world.now + HEAD_START / 2)
    [answer] = greater.drain()
    assert answer[0] == MessageType.RESPONSE
    assert greater.session.is_handshaking
    greater.session.initiate(world.now)
    assert greater.drain() == [], "it doesn't begin anew at once"
    lesser.session.receive_datagram(ours, world.now)
    [needless] = lesser.drain()
    greater.session.receive_datagram(needless, world.now)
    assert greater.session.refusals == {Refusal.UNEXPECTED: 1}
    world.now += 6
    greater.session.handle_timeout(world.now)
    [again] = greater.drain()
    assert again[0] == MessageType.INITIATION
    lesser.session.receive_datagram(answer, world.now)
    world.run(1)
    for end in (lesser, greater):
        assert end.events == [SessionEstablished(CHACHA)]
        assert not end.session.is_handshaking


def test_retries_every_five_seconds_for_ninety_after_some_swifter_ones() -> None:
    world = World()
    world.fate = lambda datagram: []
    times: list[float] = []
    world.a.session.initiate(world.now)
    while not world.a.events:
        world.run(0.05)
        times += [world.now] * (len(world.log) - len(times))
    assert [datagram[0] for _, datagram in world.log] == [MessageType.INITIATION] * len(world.log)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, least in zip(gaps, [1, 2, 4, *[5] * len(gaps)], strict=False):
        assert least - 0.1 < gap < least + 0.45
    assert len({round(gap, 2) for gap in gaps}) > 1
    assert 18 <= len(times) <= 21
    assert world.a.events == [SessionFailed(SessionFailure.NO_ANSWER)]
    assert world.now == pytest.approx(START + 90, abs=0.1)
    assert world.a.session.next_timeout() is None
    assert len(world.a.indices) == 0
    world.fate = lambda datagram: [0.01]
    world.connect()


def test_wrong_psk() -> None:
    world = World()
    world.b.session = Session(
        config_of(GREATER, LESSER, psk=b"?" * 32), stream_of("b"), lambda: world.b.indices.claim("b")
    )
    world.a.session.initiate(world.now)
    world.run(91)
    assert world.a.events == [SessionFailed(SessionFailure.UNAUTHENTIC_ANSWER)]
    assert world.a.session.refusals[Refusal.UNAUTHENTIC] > 10
    assert world.b.events == []


def test_no_common_algorithm() -> None:
    world = World()
    world.b.session = Session(
        config_of(GREATER, LESSER, algorithms=(Algorithm.AES_256_GCM,)),
        stream_of("b"),
        lambda: world.b.indices.claim("b"),
    )
    world.a.session.initiate(world.now)
    world.run(1)
    assert world.b.events == [SessionFailed(SessionFailure.NO_COMMON_ALGORITHM)]
    assert world.b.session.refusals == {Refusal.NO_COMMON_ALGORITHM: 1}
    assert len(world.b.indices) == 0


def test_control_messages() -> None:
    world = World()
    world.connect()
    credentials = IceCredentials(3, "abcd", "p" * 22)
    message = IceDescription(1, 0, credentials, None, (b"one", b"two"), True, 0)
    for each in (message, Acknowledgement(1)):
        assert world.a.session.send_control(each, world.now)
        world.run(0.1)
        assert world.b.events[-1] == ControlReceived(each)
    before = list(world.b.events)
    for payload in (b"", b"\x91\x63", b"\x91\x00"):
        world.b.session.receive_control(payload, world.now)
    world.flush()
    assert world.b.events == before
    assert world.b.session.refusals == {Refusal.MALFORMED: 1, Refusal.UNKNOWN_CONTROL: 1}


def test_close_is_told_and_wipes() -> None:
    world = World()
    world.connect()
    keypairs = [world.a.session.sending, world.b.session.sending]
    world.a.session.close(CloseReason.SHUTDOWN, world.now)
    world.run(1)
    assert world.b.events[-1] == PeerClosed(CloseReason.SHUTDOWN)
    assert all(keypair is not None and keypair.is_wiped for keypair in keypairs)
    for end in (world.a, world.b):
        assert end.session.sending is None
        assert end.session.next_timeout() is None
        assert len(end.indices) == 0


def test_a_closed_session_does_nothing_more() -> None:
    world = World()
    world.connect()
    session, keypair = world.a.session, world.a.session.sending
    assert keypair is not None
    session.close(CloseReason.UNSPECIFIED, world.now)
    world.a.drain()
    events = list(world.a.events)
    world.b.session.initiate(world.now)
    for datagram in world.b.drain():
        assert not session.receive_datagram(datagram, world.now)
    session.initiate(world.now)
    session.record_sent(5, world.now)
    session.record_received(keypair, world.now)
    session.receive_control(b"\x91\x00", world.now)
    session.close(CloseReason.UNSPECIFIED, world.now)
    assert world.a.drain() == []
    assert world.a.events == events
    assert session.next_timeout() is None
    assert session.refusals == {Refusal.CLOSED: 2}


def test_a_peer_that_closed_may_come_back() -> None:
    world = World()
    world.connect()
    world.b.session.receive_control(b"\x91\x01", world.now)
    world.a.session.initiate(world.now)
    world.run(1)
    assert world.b.events[-2:] == [PeerClosed(CloseReason.UNSPECIFIED), SessionEstablished(CHACHA)]


def test_closing_during_a_handshake() -> None:
    world = World()
    world.a.session.initiate(world.now)
    world.a.session.close(CloseReason.SHUTDOWN, world.now)
    assert len(world.a.indices) == 0
    assert world.a.session.next_timeout() is None


def test_no_number_left_means_no_key() -> None:
    world = World()
    world.connect()
    keypair = world.a.session.sending
    assert keypair is not None
    keypair.next_counter = REJECT_AFTER_MESSAGES
    assert world.a.session.sending is None
    assert not world.a.session.send_control(Close(), world.now)
    assert world.a.session.algorithm is CHACHA


def test_without_a_release_hook_indices_just_stay() -> None:
    session = Session(config_of(LESSER, GREATER), stream_of("x"), iter(range(1, 9)).__next__)  # type: ignore[arg-type]
    session.initiate(START)
    session.close(CloseReason.SHUTDOWN, START)
    assert session.next_transmit() is not None
    assert session.next_transmit() is None


def test_each_handshake_repeats_its_own_keepalive() -> None:
    world = World()
    for _ in range(2):
        world.fate = lambda datagram: [] if datagram[0] == 0xD4 else [0.01]
        world.a.session.initiate(world.now)
        world.run(30)
        before = len(world.log)
        world.a.session.initiate(world.now)
        world.run(0.9)
        world.fate = lambda datagram: [0.01]
        world.run(0.3)
        assert [datagram[0] for _, datagram in world.log[before:]] == [0xD1, 0xD2, 0xD4, 0xD4, 0xD4, 0xD4]


def test_a_pending_keypair_that_is_never_proven_is_forgotten() -> None:
    world = World()
    world.a.session.initiate(world.now)
    [initiation] = world.a.drain()
    world.b.session.receive_datagram(initiation, world.now)
    assert len(world.b.indices) == 1
    assert world.b.session.next_timer is Timer.EXPIRY
    world.fate = lambda datagram: []
    world.run(200)
    assert len(world.b.indices) == 0
    assert world.b.events == []


def test_a_handshake_that_comes_to_nothing_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: list[HandshakeState] = []
    wipe = HandshakeState.wipe

    def recorded(state: HandshakeState) -> None:
        wiped.append(state)
        wipe(state)

    monkeypatch.setattr(HandshakeState, "wipe", recorded)
    world = World()
    greater, lesser = world.b.session, world.a.session
    greater.initiate(world.now)
    lesser.initiate(world.now)
    [initiation] = world.a.drain()
    greater.receive_datagram(initiation, world.now + HEAD_START)
    assert greater.refusals == {Refusal.COLLISION: 1}
    assert len(wiped) == 1
    greater.close(CloseReason.SHUTDOWN, world.now)
    lesser.handle_timeout(world.now + 6)
    assert len(wiped) == 3
    assert all(state._e.private == bytes(32) for state in wiped)
