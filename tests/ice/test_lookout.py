from __future__ import annotations

from dataclasses import replace

from p2ptun.ice.lookout import MAX_BETTER, MAX_SPARE, Lookout, worth_another_check
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, Transport
from tests.sim.network import START

from .material import pair


def make(number: int, priority: int) -> CandidatePair:
    made = pair("192.0.2.1:1", f"198.51.100.{number}:1", priority)
    made.prioritize(Role.CONTROLLING)
    return made


def test_searches_come_ever_less_often_down_to_one_in_two_minutes() -> None:
    lookout = Lookout((2.0, 120.0))
    assert not lookout.take(START)
    lookout.rouse(START)
    times: list[float] = []
    while len(times) < 9:
        now = lookout.next_at or 0.0
        assert not lookout.take(now - 0.001)
        assert lookout.take(now)
        times.append(now - START)
    assert times == [2, 6, 14, 30, 62, 126, 246, 366, 486]
    lookout.rouse(START + 1000)
    assert lookout.take(START + 1002)
    lookout.rest()
    assert not lookout.take(START + 1e6)


def test_what_may_be_better_is_checked_again_and_something_for_a_standby() -> None:
    selected = make(1, 100)
    better = [make(number, 200 + number) for number in range(10, 20)]
    worse = [make(number, number) for number in range(30, 40)]
    assert worth_another_check(better + worse, selected, has_standby=True) == better[:MAX_BETTER]
    chosen = worth_another_check(better[:1] + worse, selected, has_standby=False)
    assert chosen == better[:1] + worse[:MAX_SPARE]
    assert worth_another_check([], selected, has_standby=False) == []


def test_while_udp_works_no_tcp_connection_is_opened() -> None:
    selected, over_tcp = make(1, 1), make(2, 200)
    base = Endpoint.of("192.0.2.1", 9, Transport.TCP)
    over_tcp.local = replace(over_tcp.local, endpoint=base, base=base)
    assert worth_another_check([over_tcp], selected, has_standby=False) == []
    assert worth_another_check([selected], over_tcp, has_standby=False) == [selected]
