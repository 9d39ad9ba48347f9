"""Keys change under traffic, at both ends at once and over bad networks: what arrives is never lost to it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2ptun.tunnel.event import SessionEstablished, SessionExpired, SessionFailed, SessionRekeyed
from p2ptun.tunnel.timing import REKEY_AFTER_MESSAGES
from tests.tunnel.world import GREATER, LESSER, End, World


def rekeys(end: End) -> int:
    return sum(isinstance(event, SessionRekeyed) for event in end.events)


def initiations(world: World, who: str) -> int:
    return sum(one == who and datagram[0] == 0xD1 for one, datagram in world.log)


def chatter(world: World, seconds: float, step: float = 0.25) -> int:
    """Talk both ways; return how often each side spoke."""
    rounds = round(seconds / step)
    for number in range(rounds):
        for end in (world.a, world.b):
            assert world.say(end, number.to_bytes(4, "big"))
        world.run(step)
    return rounds


def test_who_initiated_rekeys_in_time_and_nothing_is_lost() -> None:
    world = World()
    world.connect()
    rounds = chatter(world, 600, 0.5)
    world.run(1)
    for end in (world.a, world.b):
        assert len(end.received) == rounds
        assert end.lost_to_keys == end.replays == 0
        assert rekeys(end) == 4
        assert len(end.indices) <= 3
    assert (initiations(world, "a"), initiations(world, "b")) == (5, 0)


def test_a_short_interval_works_under_traffic() -> None:
    world = World(rekey_interval=1.0)
    world.connect()
    rounds = chatter(world, 30, 0.1)
    world.run(1)
    for end in (world.a, world.b):
        assert len(end.received) == rounds
        assert end.lost_to_keys == 0
        assert 10 <= rekeys(end) <= 30


@pytest.mark.parametrize("speaker", ["a", "b"])
def test_one_way_traffic_rekeys_too(speaker: str) -> None:
    world = World(rekey_interval=20.0)
    world.connect()
    end = world.a if speaker == "a" else world.b
    for _ in range(200):
        assert world.say(end, b"data")
        world.run(0.5)
    assert rekeys(world.a) == rekeys(world.b) == 4
    assert initiations(world, "b") == 0
    assert len(world.other(end).received) == 200


def test_the_other_side_steps_in_when_it_is_overdue() -> None:
    world = World()
    world.connect()
    silent = world.a.session
    silent.initiate = lambda now, round_trip=None: None  # type: ignore[method-assign]
    chatter(world, 170, 1.0)
    assert initiations(world, "b") == 1
    assert rekeys(world.a) == rekeys(world.b) == 1
    assert world.a.lost_to_keys == world.b.lost_to_keys == 0


def test_so_many_messages_want_a_rekey() -> None:
    world = World()
    world.connect()
    keypair = world.a.session.sending
    assert keypair is not None
    keypair.next_counter = REKEY_AFTER_MESSAGES - 2
    world.say(world.a, b"last but one")
    world.run(1)
    assert rekeys(world.a) == 0
    world.say(world.a, b"last")
    world.run(1)
    assert rekeys(world.a) == rekeys(world.b) == 1
    assert world.b.received == [b"last but one", b"last"]


@pytest.mark.parametrize("lost", [0xD1, 0xD2])
@pytest.mark.parametrize("interval", [1.0, 120.0])
def test_lost_handshake_messages_lose_no_data(lost: int, interval: float) -> None:
    world = World(rekey_interval=interval)
    world.connect()
    dropped: list[bytes] = []

    def fate(datagram: bytes) -> list[float]:
        if datagram[0] == lost and len(dropped) < 2:
            dropped.append(datagram)
            return []
        return [0.02]

    world.fate = fate
    rounds = chatter(world, interval + 15, 0.5)
    world.run(1)
    assert len(dropped) == 2
    for end in (world.a, world.b):
        assert len(end.received) == rounds
        assert not any(isinstance(event, SessionExpired) for event in end.events)
        assert rekeys(end) >= 1


def test_a_failed_rekey_keeps_the_old_keys_until_they_expire() -> None:
    world = World()
    world.connect()
    world.fate = lambda datagram: [0.01] if datagram[0] == 0xD4 else []
    chatter(world, 179, 0.5)
    assert rekeys(world.a) == 0
    world.run(120)
    kinds = [type(event) for event in world.a.events]
    assert kinds == [SessionEstablished, SessionExpired, SessionFailed]


@pytest.mark.parametrize("delays", [(0.05, 0.05), (0.2, 0.05), (0.05, 0.2)])
@pytest.mark.parametrize("has_keys", [False, True])
def test_initiations_that_cross_converge(delays: tuple[float, float], has_keys: bool) -> None:
    world = World()
    if has_keys:
        world.connect()
    world.fate = lambda datagram: [delays[0]]
    world.a.session.initiate(world.now)
    world.flush()
    world.fate = lambda datagram: [delays[1]]
    world.b.session.initiate(world.now)
    world.run(3)
    a, b = world.a.session.sending, world.b.session.sending
    assert a is not None
    assert b is not None
    assert a.binder == b.binder
    assert b.is_initiator  # GREATER's initiation counted
    assert not world.a.session.is_handshaking
    assert not world.b.session.is_handshaking
    world.say(world.a, b"x")
    world.say(world.b, b"y")
    world.run(1)
    assert (world.a.received, world.b.received) == ([b"y"], [b"x"])


def test_crossing_converges_soon_though_the_first_that_counts_is_lost() -> None:
    world = World(initiator=GREATER, responder=LESSER)
    world.fate = lambda datagram: []
    world.a.session.initiate(world.now)
    world.flush()
    world.fate = lambda datagram: [0.05]
    world.b.session.initiate(world.now)
    world.run(0.3)
    assert world.a.session.sending is not None
    assert world.b.session.sending is not None


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    duplication=st.sampled_from([0.0, 0.2]),
    jitter=st.sampled_from([0.0, 0.05, 1.5]),
    interval=st.sampled_from([1.0, 10.0, 120.0]),
    both=st.booleans(),
)
@example(seed=302, loss=0.05, duplication=0.2, jitter=1.5, interval=120.0, both=False)  # crosses twice
def test_what_the_network_delivers_is_received(
    seed: int, loss: float, duplication: float, jitter: float, interval: float, both: bool
) -> None:
    """Over a network that loses, duplicates and reorders, no rekey loses or doubles a datagram that arrived."""
    random = Random(seed)
    world = World(rekey_interval=interval)
    delivered: list[bytes] = []

    def fate(datagram: bytes) -> list[float]:
        if random.random() < loss:
            return []
        copies = 1 + (random.random() < duplication)
        if datagram in sent:
            delivered.append(sent[datagram])
        return [0.02 + random.random() * jitter for _ in range(copies)]

    sent: dict[bytes, bytes] = {}
    world.fate = fate
    world.a.session.initiate(world.now)
    if both:
        world.b.session.initiate(world.now)
    for number in range(150):
        for end in (world.a, world.b):
            payload = b"%d" % number + (b"a" if end is world.a else b"b")
            datagram = end.seal(payload, world.now)
            world.flush()
            if datagram is not None:
                sent[datagram] = payload
                world.send(end, datagram)
        world.run(interval / 50 + random.random() * interval / 25)
    world.run(10)
    received = world.a.received + world.b.received
    assert sorted(received) == sorted(delivered), f"seed {seed}"
    for end in (world.a, world.b):
        assert end.lost_to_keys == 0, f"seed {seed}"
        assert len(end.indices) <= 8
    world.fate = lambda datagram: [0.02]
    world.run(100)
    ends_agree(world)


def ends_agree(world: World) -> None:
    """On a good network the two sides come to use the same keys."""
    for _ in range(3):
        for end in (world.a, world.b):
            world.say(end, b"settle")
            world.run(6)
    a, b = world.a.session.sending, world.b.session.sending
    assert a is not None
    assert b is not None
    assert world.say(world.a, b"from a")
    assert world.say(world.b, b"from b")
    world.run(1)
    assert world.a.received[-1] == b"from b"
    assert world.b.received[-1] == b"from a"
