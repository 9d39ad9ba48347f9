from __future__ import annotations

import math
import random

import pytest

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import Consent, Liveness, uniform
from tests.sim.network import START

from .material import random_bytes_from

RTT = 0.1


class Clock:
    """Runs one Consent; `sent` are the times of its checks, `answer` says how long after each an answer comes."""

    def __init__(self, rtt: float | None = RTT, config: AgentConfig | None = None, seed: int = 1) -> None:
        self.now = START
        self.consent = Consent(config or AgentConfig(), random_bytes_from(seed), rtt, START, START)
        self.sent: list[float] = []
        self.delay: float | None = None
        self._answers: list[float] = []

    def run(self, seconds: float, traffic: float | None = None) -> None:
        """Advance; with `traffic`, something goes out every so many seconds."""
        end, following = self.now + seconds, self.now
        self._check()
        while True:
            times = [self.consent.next_timeout(), following if traffic else None, *self._answers[:1]]
            at = min((time for time in times if time is not None), default=math.inf)
            if at > end:
                break
            self.now = max(self.now, at)
            if traffic and following <= self.now:
                self.consent.record_sent(self.now)
                following = self.now + traffic
            if self._answers and self._answers[0] <= self.now:
                self._answers.pop(0)
                self.consent.record_answer(RTT, self.now)
            self.consent.handle_timeout(self.now)
            timeout = self.consent.next_timeout()
            assert timeout is None or timeout > self.now
            self._check()
        self.now = end

    def liveness(self) -> Liveness:
        return self.consent.liveness

    def _check(self) -> None:
        if self.consent.take_check(self.now):
            self.sent.append(self.now)
            if self.delay is not None:
                self._answers.append(self.now + self.delay)


def test_checks_go_out_every_four_to_six_seconds_while_traffic_flows() -> None:
    clock = Clock()
    clock.delay = RTT
    clock.run(300, traffic=10)  # each packet is answered by a probe half of the patience later, and by regular checks
    regular = Clock()
    regular.delay = RTT
    regular.consent.record_authenticated(START)
    for _ in range(300):
        regular.run(1)
        regular.consent.record_sent(regular.now)
        regular.consent.record_authenticated(regular.now)
    gaps = [later - earlier for earlier, later in zip(regular.sent, regular.sent[1:], strict=False)]
    assert all(3.9 < gap < 6.1 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.5  # randomized: RFC 7675 5.1
    assert clock.liveness() is Liveness.ALIVE


def test_consent_half_way_to_its_expiry_is_asked_for_every_second() -> None:
    """Packets arrive, so nothing is suspect, but every check is lost: bad luck may not end a tunnel that works."""
    clock = Clock()
    for _ in range(29):
        clock.run(1)
        clock.consent.record_sent(clock.now)
        clock.consent.record_authenticated(clock.now)
    assert clock.liveness() is Liveness.ALIVE
    assert len([at for at in clock.sent if at < START + 14]) <= 4
    assert len([at for at in clock.sent if at >= START + 21]) >= 8
    clock.run(1.5)
    assert clock.liveness() is Liveness.EXPIRED


def test_pitfall_18_round_trip_longer_than_the_interval_keeps_consent() -> None:
    clock = Clock(rtt=7.0)
    clock.delay = 7.0
    clock.run(200, traffic=1)
    assert clock.liveness() is not Liveness.EXPIRED
    assert clock.consent.may_send(clock.now)


def test_consent_expires_thirty_seconds_after_the_last_answer() -> None:
    clock = Clock()
    clock.run(29.9, traffic=0.5)
    assert clock.liveness() is Liveness.SUSPECT
    assert clock.consent.may_send(clock.now)
    clock.run(0.2, traffic=0.5)
    assert clock.liveness() is Liveness.EXPIRED
    assert not clock.consent.may_send(clock.now)
    assert clock.consent.next_timeout() is None


def test_expired_consent_is_not_revived() -> None:
    clock = Clock()
    clock.run(31, traffic=0.5)
    clock.consent.record_sent(clock.now)
    clock.consent.record_authenticated(clock.now)
    clock.consent.record_answer(RTT, clock.now)
    clock.consent.request(clock.now)
    clock.consent.suspect(clock.now)
    clock.consent.doubt(clock.now)
    assert clock.liveness() is Liveness.EXPIRED
    assert not clock.consent.take_check(clock.now)
    assert clock.consent.next_timeout() is None


def test_tunnel_packets_do_not_renew_consent() -> None:
    clock = Clock()
    for _ in range(61):
        clock.run(0.5)
        clock.consent.record_sent(clock.now)
        clock.consent.record_authenticated(clock.now)
        assert clock.liveness() is not Liveness.SUSPECT
    assert clock.liveness() is Liveness.EXPIRED


@pytest.mark.parametrize(
    ("rtt", "doubt", "patience"), [(None, 0.6, 2.0), (0.1, 0.7, 2.0), (1.0, 1.5, 3.0), (100.0, 7.5, 15.0)]
)
def test_unanswered_traffic_makes_the_path_suspect_after_the_patience_of_decision_6(
    rtt: float | None, doubt: float, patience: float
) -> None:
    clock = Clock(rtt, AgentConfig(consent_interval=1000.0, idle_after=1000.0))
    clock.consent.record_sent(START)
    clock.run(patience - 0.01)
    assert clock.liveness() is Liveness.ALIVE
    assert clock.sent == [START + doubt]  # it asks before it suspects
    clock.run(0.02)
    assert clock.liveness() is Liveness.SUSPECT
    assert clock.consent.doubted_at == START + doubt


def test_suspect_path_is_probed_fast_and_recovers_by_an_answer_or_by_tunnel_traffic() -> None:
    for recover in ("answer", "traffic"):
        clock = Clock()
        clock.run(4, traffic=0.5)
        assert clock.liveness() is Liveness.SUSPECT
        before = len(clock.sent)
        clock.run(3, traffic=0.5)
        assert len(clock.sent) == before + 6
        if recover == "answer":
            clock.consent.record_answer(RTT, clock.now)
        else:
            clock.consent.record_authenticated(clock.now)
        assert clock.liveness() is Liveness.ALIVE
        assert clock.consent.doubted_at is None
        assert clock.consent.confirmed_at == (clock.now if recover == "answer" else START)
        clock.delay = RTT
        clock.run(60)
        assert clock.liveness() is Liveness.IDLE


def test_idle_path_is_checked_once_per_twenty_five_seconds_at_most() -> None:
    clock = Clock()
    clock.delay = RTT
    clock.run(20)
    assert clock.liveness() is Liveness.IDLE
    clock.sent.clear()
    clock.run(1000)
    gaps = [later - earlier for earlier, later in zip(clock.sent, clock.sent[1:], strict=False)]
    assert gaps == pytest.approx([25.0] * len(gaps))
    assert len(gaps) > 35


def test_traffic_wakes_an_idle_path_which_is_checked_at_once() -> None:
    clock = Clock()
    clock.delay = RTT
    clock.run(30)
    assert clock.liveness() is Liveness.IDLE
    clock.sent.clear()
    clock.consent.record_sent(clock.now)
    assert clock.liveness() is Liveness.ALIVE
    clock.run(0)
    assert clock.sent == [clock.now]


def test_idle_path_that_dies_has_thirty_seconds_from_its_first_unanswered_check() -> None:
    clock = Clock()
    clock.delay = RTT
    clock.run(20)
    assert clock.liveness() is Liveness.IDLE
    clock.delay = None
    clock.sent.clear()
    while not clock.sent:
        clock.run(0.5)
    asked_at = clock.sent[0]
    clock.run(asked_at + 1.9 - clock.now)
    assert clock.liveness() is Liveness.IDLE
    clock.run(0.2)
    assert clock.liveness() is Liveness.SUSPECT
    clock.run(asked_at + 29.9 - clock.now)
    assert clock.liveness() is Liveness.SUSPECT
    assert not clock.consent.may_send(clock.now)  # RFC 7675 counts from the last answer all the same
    clock.run(0.2)
    assert clock.liveness() is Liveness.EXPIRED


def test_first_packet_after_lost_consent_asks_for_it() -> None:
    clock = Clock(config=AgentConfig(idle_interval=1000.0))
    clock.delay = RTT
    clock.run(20)
    clock.consent.request(clock.now)
    assert clock.liveness() is Liveness.IDLE  # consent is fresh: nothing to ask for
    clock.consent.handle_timeout(clock.now + 100)
    assert not clock.consent.may_send(clock.now + 100)
    clock.consent.request(clock.now + 100)
    assert clock.consent.take_check(clock.now + 100)
    clock.consent.record_answer(RTT, clock.now + 100.1)
    assert clock.liveness() is Liveness.ALIVE
    assert clock.consent.may_send(clock.now + 100.1)


def test_pair_with_old_consent_is_suspect_from_the_start() -> None:
    consent = Consent(AgentConfig(), random_bytes_from(1), None, START - 31, START)
    assert consent.liveness is Liveness.SUSPECT
    assert not consent.may_send(START)
    assert consent.take_check(START)


def test_kernel_refusal_makes_suspect_once() -> None:
    clock = Clock()
    clock.consent.suspect(START)
    clock.consent.suspect(START + 1)
    assert clock.consent.doubted_at == START


def test_late_timers_do_not_revive_what_expired() -> None:
    clock = Clock()
    clock.consent.record_sent(START)
    clock.consent.handle_timeout(START + 1e6)
    assert clock.liveness() in (Liveness.EXPIRED, Liveness.SUSPECT)
    clock.consent.handle_timeout(START + 2e6)
    assert clock.liveness() is Liveness.EXPIRED


def test_anything_at_any_time_leaves_the_next_timeout_in_the_future() -> None:
    for seed in range(100):
        source = random.Random(seed)
        consent = Consent(AgentConfig(), source.randbytes, source.choice((None, 0.01, 3.0)), START, START)
        now = START
        commands = [
            consent.record_sent,
            consent.record_authenticated,
            consent.request,
            consent.suspect,
            consent.doubt,
            consent.take_check,
        ]
        for _ in range(200):
            now += source.choice((0.0, 0.01, 0.5, 3.0, 20.0))
            source.choice(commands)(now)
            if source.random() < 0.1:
                consent.record_answer(0.2, now)
            consent.handle_timeout(now)
            timeout = consent.next_timeout()
            assert timeout is None or timeout > now, seed
            assert not consent.may_send(now) or now - consent.confirmed_at < 30, seed


def test_uniform_stays_within_its_bounds() -> None:
    assert uniform((2.0, 3.0), lambda count: bytes(count)) == 2.0
    assert 2.999 < uniform((2.0, 3.0), lambda count: b"\xff" * count) < 3.0


def test_a_path_that_does_not_answer_in_doubt_is_doubted_until_it_does() -> None:
    clock = Clock(rtt=0.04)
    clock.consent.record_sent(START)
    clock.run(0.59)
    assert clock.sent == []
    clock.run(0.02)
    assert clock.sent == [START + 0.6]
    verdicts = [clock.consent.is_doubted]
    clock.run(0.2)
    verdicts.append(clock.consent.is_doubted)
    clock.consent.record_authenticated(clock.now)
    verdicts.append(clock.consent.is_doubted)
    assert verdicts == [False, True, False], "0.8 s after the packet, until something comes"


def test_a_path_can_be_asked_at_any_time() -> None:
    clock = Clock()
    clock.consent.doubt(START)
    clock.run(0)
    assert clock.sent == [START]
    clock.consent.doubt(START)
    assert clock.consent.doubted_at == START


def test_what_comes_in_proves_nothing_of_the_way_out_where_the_kernel_refuses_to_send() -> None:
    clock = Clock()
    clock.consent.refuse(START)
    clock.consent.record_authenticated(START + 0.1)
    assert clock.liveness() is Liveness.SUSPECT
    clock.consent.record_answer(RTT, START + 0.2)
    assert clock.liveness() is Liveness.ALIVE
    clock.consent.suspect(START + 0.3)
    clock.consent.record_authenticated(START + 0.4)
    assert clock.liveness() is Liveness.ALIVE
