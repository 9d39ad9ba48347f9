from __future__ import annotations

from ipaddress import ip_network

from p2ptun.ice.check import encode_check
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import DropReason
from p2ptun.ice.lineage import ANNOUNCED_WITHIN, MAX_ANNOUNCED, MAX_OLDER, Lineage
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.pair import CandidatePair, PairState, ValidPair
from p2ptun.ice.role import Role, Stance
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, short_term_key
from p2ptun.stun.message import TransactionId, decode_message, encode_message, success_response
from tests.sim.network import START, at

from .material import host, random_bytes_from

BASE = at("10.0.0.1:1")
THEIRS = [Credentials(f"theirs{number}", str(number) * 22, number) for number in range(9)]


class Bench:
    """A lineage with one socket, whose peer is played by the test."""

    def __init__(self) -> None:
        draw = random_bytes_from(1)
        ours = Credentials.generate(draw)
        self.local = LocalCandidates(ours, 32)
        self.stance = Stance(Role.CONTROLLING, 5)
        self.lineage = Lineage(AgentConfig(), ours, self.stance, self.local, draw, Pacer(0.0))
        added = self.local.add_host(BASE)
        assert added is not None
        self.lineage.newest.add_local_candidate(added)

    def meet(self, *remotes: str) -> None:
        self.lineage.newest.set_remote_credentials(THEIRS[self.lineage.newest.local.generation])
        for remote in remotes:
            assert self.lineage.newest.add_remote_candidate(host(remote)) is None

    def validate(self, number: int = 0, nominated: bool = False) -> CandidatePair:
        """Let a check of the newest generation have succeeded."""
        pair = self.lineage.newest.checklist.pairs[number]
        pair.valid, pair.state = ValidPair(pair.local, nominated), PairState.SUCCEEDED
        return pair


def test_next_generation_begins_with_the_addresses_and_next_credentials_of_the_peer() -> None:
    bench = Bench()
    bench.meet("192.0.2.1:2", "192.0.2.2:2")
    promised = bench.lineage.next_local
    bench.lineage.prepare(THEIRS[1])
    assert bench.lineage.begin() == promised
    newest = bench.lineage.newest
    assert (newest.local, newest.remote) == (promised, THEIRS[1])
    assert {each.ufrag for each in newest.remote_candidates} == {"theirs1"}
    assert len(newest.checklist.pairs) == 2
    assert {each.ufrag for each in bench.local} == {promised.ufrag}
    assert bench.lineage.is_restarting
    assert bench.lineage.next_remote is None
    assert bench.lineage.next_local.generation == 2


def test_old_path_stays_until_the_new_one_is_nominated_or_the_old_one_is_in_doubt() -> None:
    bench = Bench()
    bench.meet("192.0.2.1:2", "192.0.2.2:2")
    old = bench.validate(nominated=True)
    bench.lineage.set_carrier(old, START)
    bench.lineage.prepare(THEIRS[1])
    bench.lineage.begin()
    assert bench.lineage.best(old, is_healthy=True) is old
    new = bench.validate()
    assert bench.lineage.best(old, is_healthy=True) is old
    assert bench.lineage.best(old, is_healthy=False) is new
    new.is_silent = True
    assert bench.lineage.best(old, is_healthy=False) is old
    new.is_silent = False
    new.valid = ValidPair(new.local, is_nominated=True)
    assert bench.lineage.best(old, is_healthy=True) is new
    assert bench.lineage.of(old).local.generation == 0
    old.is_silent, new.valid = True, None
    assert bench.lineage.best(old, is_healthy=False) is old, "better than nothing"


def test_who_has_left_an_old_path_does_not_go_back_while_the_new_one_answers() -> None:
    """Each turn began a new watch with a check of its own: thousands in a second."""
    bench = Bench()
    bench.meet("192.0.2.1:2")
    old = bench.validate(nominated=True)
    bench.lineage.prepare(THEIRS[1])
    bench.lineage.begin()
    new = bench.validate()
    assert bench.lineage.best(old, is_healthy=False) is new
    for is_healthy in (True, False):
        assert bench.lineage.best(new, is_healthy) is new
    new.is_silent = True
    assert bench.lineage.best(new, is_healthy=False) is old
    old.is_silent = True
    assert bench.lineage.best(old, is_healthy=False) is bench.lineage.best(new, is_healthy=False) is new


def test_old_generation_retires_when_the_new_path_is_nominated_and_is_gone_ten_seconds_later() -> None:
    bench = Bench()
    bench.meet("192.0.2.1:2")
    bench.lineage.set_carrier(bench.validate(nominated=True), START)
    bench.lineage.prepare(THEIRS[1])
    bench.lineage.begin()
    new = bench.validate()
    bench.lineage.set_carrier(new, START + 1)
    assert len(bench.lineage.active) == 2
    new.valid = ValidPair(new.local, is_nominated=True)
    bench.lineage.set_carrier(new, START + 2)
    bench.lineage.set_carrier(new, START + 3)
    assert bench.lineage.active == [bench.lineage.newest]
    assert len(bench.lineage.generations) == 2
    assert bench.lineage.next_timeout() == START + 12
    bench.lineage.handle_timeout(START + 12)
    assert bench.lineage.generations == [bench.lineage.newest]


def test_number_of_generations_is_bounded() -> None:
    bench = Bench()
    for number in range(1, 6):
        bench.lineage.prepare(THEIRS[number])
        bench.lineage.begin()
    assert len(bench.lineage.generations) == 1 + MAX_OLDER
    assert len(bench.lineage.active) == 2, "only the last before the newest still checks"


def test_answers_find_the_generation_that_asked_and_checks_the_one_they_name() -> None:
    bench = Bench()
    bench.meet("192.0.2.1:2")
    bench.lineage.pace(START)
    packet = bench.lineage.next_transmit()
    assert packet is not None
    request = decode_message(packet.payload)
    bench.lineage.begin()
    stranger = decode_message(encode_message(success_response(request)))
    assert bench.lineage.receive_response(stranger, packet.destination, BASE, START) is DropReason.UNAUTHENTICATED
    bench.lineage.newest.retire()
    assert bench.lineage.find(BASE, at("192.0.2.1:2")) != []
    assert bench.lineage.find(BASE, at("192.0.2.7:2")) == []
    assert not bench.lineage.announces_restart(request, START)


def test_checks_announce_so_many_restarts_in_a_while() -> None:
    """A peer learns each next name as soon as there is one: without a bound it would restart us every round trip."""
    bench = Bench()
    announced = list[bool]()
    for now in [START] * (MAX_ANNOUNCED + 1) + [START + ANNOUNCED_WITHIN]:
        ours = bench.lineage.next_local
        payload = encode_check(TransactionId(bytes(12)), THEIRS[0], ours, Stance(Role.CONTROLLED, 1), 99, None)
        request = decode_message(payload)
        announced.append(bench.lineage.announces_restart(request, now))
        if announced[-1]:
            bench.lineage.begin()
        else:
            reason = bench.lineage.receive_request(request, at("192.0.2.1:2"), BASE)
            assert reason is DropReason.FOREIGN_GENERATION
            assert bench.lineage.next_transmit() is None, "no refusal that an honest peer could take to heart"
    assert announced == [True] * MAX_ANNOUNCED + [False, True]


def test_refused_networks_hold_for_every_generation() -> None:
    bench = Bench()
    bench.meet()
    bench.lineage.refuse((ip_network("192.0.2.0/24"),))
    assert bench.lineage.newest.add_remote_candidate(host("192.0.2.1:2")) is DropReason.REFUSED_SOURCE
    bench.lineage.prepare(THEIRS[1])
    bench.lineage.begin()
    assert bench.lineage.newest.add_remote_candidate(host("192.0.2.1:2")) is DropReason.REFUSED_SOURCE


def test_role_that_one_generation_loses_is_lost_in_all() -> None:
    bench = Bench()
    bench.meet("192.0.2.1:2")
    bench.lineage.pace(START)
    packet = bench.lineage.next_transmit()
    assert packet is not None
    old = bench.lineage.newest
    before = old.checklist.pairs[0].priority
    bench.lineage.prepare(THEIRS[1])
    bench.lineage.begin()
    bench.lineage.pace(START + 1)
    later = bench.lineage.next_transmit()
    assert later is not None
    request = decode_message(later.payload)
    key = Integrity(HMAC_SHA1, short_term_key(THEIRS[1].password))
    conflict = decode_message(encode_message(error_response(request, Code.ROLE_CONFLICT), key))
    assert bench.lineage.receive_response(conflict, later.destination, BASE, START + 1) is None
    assert bench.stance.role is Role.CONTROLLED
    assert old.checklist.pairs[0].priority == before ^ 1, "G > D has changed sides: RFC 8445 6.1.2.3"
