"""The port search, between NATs of the simulated network and against a peer played by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.config import AgentConfig, RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, CandidateGathered, SparesReleased, SparesWanted
from p2ptun.ice.hard_nat import MAX_ATTEMPTS, MAX_PROBES, PAUSE, RECOVERY, ROUND_INTERVAL, SPARES, START_DELAY
from p2ptun.ice.nat_hint import MappingKind, NatHint
from p2ptun.ice.pair import PairState
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import OTHER_ADDRESS, XOR_MAPPED_ADDRESS
from p2ptun.stun.message import Message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit, Transport
from tests.sim.nat import Behaviour, Firewall, Habit, Nat, Ports
from tests.sim.network import Network, at

from .hand import Duel
from .material import random_bytes_from
from .side import Side, gather, is_settled, plug, signal, talk

SERVERS = ("203.0.113.1:3478", "203.0.113.2:3478")
EIM, APDM = Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT
ADM = Behaviour.ADDRESS_DEPENDENT
RANDOM, COUNTING = Habit(Ports.RANDOM), Habit(Ports.SEQUENTIAL)


class Searcher(Side):
    """A side whose owner opens and closes the sockets of a port search."""

    def __init__(self, network: Network, base: str, role: Role, seed: int, config: AgentConfig | None = None) -> None:
        draw = random_bytes_from(seed)
        breaker = int.from_bytes(draw(8), "big")
        agent = Agent(config or AgentConfig(), Credentials.generate(draw), role, breaker, draw)
        super().__init__(agent, [at(base)])
        self.network = network
        self.spares: set[Endpoint] = set()
        self.sent_at: list[float] = []
        self._ports = count(20000)
        plug(network, self)

    def next_transmit(self) -> Transmit | None:
        before = len(self.events)
        packet = super().next_transmit()
        if packet is not None:
            self.sent_at.append(self.network.now)
        for event in self.events[before:]:
            self._act(event)
        return packet or super().next_transmit()

    def _act(self, event: object) -> None:
        if isinstance(event, SparesWanted):
            for _ in range(event.count):
                spare = replace(event.base, port=next(self._ports))
                self.spares.add(spare)
                self.network.plug(self, spare)
                self.agent.add_spare_address(spare, self.network.time_of(self))
        elif isinstance(event, SparesReleased):
            for base in event.bases:
                self.spares.discard(base)
                self.agent.remove_local_address(base, self.network.time_of(self))
                self.network.unplug(base)

    @property
    def fastest(self) -> int:
        """The greatest number of datagrams in any second."""
        return max(sum(at <= other < at + 1.0 for other in self.sent_at) for at in self.sent_at)


def meet(
    hard: tuple[Behaviour, Habit], easy: tuple[Behaviour, Habit], seed: int = 1, config: AgentConfig | None = None
) -> tuple[Network, Searcher, Searcher]:
    """Put two sides behind NATs that filter by address and port, and let them know each other, hints included."""
    print(f"seed {seed}")
    network = Network(seed)
    for number, (mapping, habit) in enumerate((hard, easy), 1):
        nat = Nat(
            f"198.51.100.{number}", f"10.{number}.0.0/24", mapping, APDM, habit=replace(habit, seed=seed + number)
        )
        network.add_nat(nat)
    left = Searcher(network, "10.1.0.2:1000", Role.CONTROLLING, seed, config)
    right = Searcher(network, "10.2.0.2:1000", Role.CONTROLLED, seed + 100, config)
    introduce(network, left, right)
    return network, left, right


def introduce(network: Network, left: Searcher, right: Searcher) -> None:
    """Let both gather, and tell each other what they know."""
    servers = [network.add_stun_server(each) for each in SERVERS]
    for side in (left, right):
        gather(network, side, *servers)
    network.run(2.0)
    for teller, listener in ((left, right), (right, left)):
        options = RemoteOptions(has_renomination=True, nat=teller.agent.nat_hint)
        listener.agent.set_remote_options(options, network.now)
        signal(network, teller, listener)


@pytest.mark.parametrize("mapping", [APDM, ADM])
@pytest.mark.parametrize("seed", range(1, 6))
def test_endpoint_dependent_and_port_restricted_meet(mapping: Behaviour, seed: int) -> None:
    network, hard, easy = meet((mapping, RANDOM), (EIM, COUNTING), seed)
    assert hard.agent.nat_hint == NatHint(MappingKind.DEPENDENT, has_search=True)
    assert easy.agent.nat_hint == NatHint(MappingKind.INDEPENDENT, has_search=True)
    began_at = network.now
    assert network.run(40.0, lambda: is_settled(hard) and is_settled(easy))
    print(f"{network.now - began_at:.2f} s, {len(hard.sent_at)} and {len(easy.sent_at)} packets")
    assert hard.fastest <= 210  # 200 probes, and what else an agent sends in a second
    assert easy.fastest <= 210
    assert hard.agent.selected is not None
    assert hard.spares == {hard.agent.selected.base}
    talk(network, 30.0, hard, easy)
    assert hard.state() is easy.state() is AgentState.CONNECTED


def test_what_was_found_is_told_and_survives_a_restart() -> None:
    network, hard, easy = meet((APDM, RANDOM), (EIM, COUNTING))
    assert network.run(40.0, lambda: is_settled(hard) and is_settled(easy))
    (kept,) = hard.spares
    told = [event.candidate for event in hard.events if isinstance(event, CandidateGathered)]
    assert next((each.type, each.endpoint) for each in told if each.base == kept) == (CandidateType.HOST, kept)
    for side, other in ((hard, easy), (easy, hard)):
        side.agent.set_next_remote_credentials(other.agent.next_credentials, network.now)
    hard.agent.restart(network.now)
    assert network.run(5.0, lambda: is_settled(hard) and hard.agent.generation == easy.agent.generation == 1)
    talk(network, 10.0, hard, easy)
    assert hard.agent.selected is not None
    assert hard.agent.selected.base == kept
    hard.agent.close(network.now)
    hard.next_transmit()
    assert not hard.spares


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("mapping", [APDM, ADM])
def test_two_nats_that_count_meet(mapping: Behaviour, seed: int) -> None:
    network, left, right = meet((mapping, COUNTING), (mapping, COUNTING), seed)
    assert left.agent.nat_hint == NatHint(MappingKind.DEPENDENT, 1, True)
    assert network.run(40.0, lambda: is_settled(left) and is_settled(right))
    assert not left.spares


def test_public_address_behind_a_firewall_is_where_the_internet_sees_it() -> None:
    network = Network(1)
    network.add_nat(Nat("198.51.100.1", "10.1.0.0/24", APDM, APDM, habit=RANDOM))
    network.add_nat(Firewall("192.0.2.7/32"))
    hard = Searcher(network, "10.1.0.2:1000", Role.CONTROLLING, 1)
    walled = Searcher(network, "192.0.2.7:1000", Role.CONTROLLED, 2)
    introduce(network, hard, walled)
    assert network.run(40.0, lambda: is_settled(hard) and is_settled(walled))
    assert walled.agent.selected is not None
    assert walled.agent.selected.local.type is CandidateType.HOST
    assert hard.of(SparesWanted)


def test_two_nats_that_dont_count_arent_worth_a_search() -> None:
    network, left, right = meet((APDM, RANDOM), (APDM, RANDOM))
    network.run(30.0)
    assert not left.of(SparesWanted)
    assert max(left.fastest, right.fastest) < 100


@pytest.mark.parametrize("who", ["hard", "easy"])
def test_who_doesnt_want_it_isnt_searched_for(who: str) -> None:
    unwilling = AgentConfig(hard_nat=False)
    network, hard, easy = meet((APDM, RANDOM), (EIM, COUNTING), config=unwilling)
    if who == "hard":
        easy.agent.set_remote_options(RemoteOptions(nat=NatHint(MappingKind.DEPENDENT, 0, True)), network.now)
    network.run(30.0)
    assert not is_settled(easy)
    assert not hard.of(SparesWanted)
    assert easy.fastest < 100


def test_search_isnt_begun_where_ordinary_checks_do() -> None:
    network = Network(1)
    network.add_nat(Nat("198.51.100.1", "10.1.0.0/24", APDM, APDM, habit=RANDOM))
    servers = [network.add_stun_server(each) for each in SERVERS]
    hard = Searcher(network, "10.1.0.2:1000", Role.CONTROLLING, 1)
    public = Searcher(network, "192.0.2.7:1000", Role.CONTROLLED, 2)
    for side in (hard, public):
        gather(network, side, *servers)
    network.run(2.0)
    for teller, listener in ((hard, public), (public, hard)):
        listener.agent.set_remote_options(RemoteOptions(nat=teller.agent.nat_hint), network.now)
        signal(network, teller, listener)
    talk(network, START_DELAY * 3, hard, public)
    assert is_settled(hard)
    assert not hard.of(SparesWanted)


# What one side does when nobody answers


OUTSIDE, THEIR_OUTSIDE = "198.51.100.1:7000", "198.51.100.9:9000"


def lonely(ours: NatHint, theirs: NatHint) -> Duel:
    """Let one agent know a peer that never answers. Our NAT is what two servers say."""
    duel = Duel(has_servers=True, config=AgentConfig(pac_timeout=600.0))
    servers = [at(each) for each in SERVERS]
    for server in servers:
        duel.agent.add_stun_server(server, duel.now)
    duel.agent.end_of_servers(duel.now)
    seen = at(OUTSIDE)
    for _ in servers:
        for request, packet in duel.wait(0.01):
            if packet.destination in servers:
                duel.answer((request, packet), seen=seen)
                step = (ours.delta or 4711) if ours.mapping is MappingKind.DEPENDENT else 0
                seen = replace(seen, port=seen.port + step)
    duel.agent.set_remote_options(RemoteOptions(nat=theirs), duel.now)
    reflexive = replace(next(each for each in duel.agent.local_candidates if each.base != each.endpoint))
    duel.meet(replace(reflexive, endpoint=at(THEIR_OUTSIDE), base=at(THEIR_OUTSIDE), ufrag="", generation=0))
    return duel


HARD, EASY = NatHint(MappingKind.DEPENDENT, 0, True), NatHint(MappingKind.INDEPENDENT, 0, True)


def probes(duel: Duel, seconds: float) -> list[tuple[float, Transmit]]:
    """Let time pass; give what goes to the peer's address and isn't to the endpoint that it told, or from a spare."""
    found, end = [], duel.now + seconds
    while duel.now < end:
        step = duel.wait(min(0.25, end - duel.now))
        found += [(duel.now, packet) for _, packet in step if packet.destination.address == at(THEIR_OUTSIDE).address]
    return found


def test_attempt_ends_at_its_budget_and_the_next_comes_later_and_later() -> None:
    duel = lonely(EASY, HARD)
    quiet = probes(duel, START_DELAY - 0.1)
    assert {packet.destination for _, packet in quiet} == {at(THEIR_OUTSIDE)}
    first = [each for each in probes(duel, 15.0) if each[1].destination != at(THEIR_OUTSIDE)]
    assert len(first) == len({packet.destination for _, packet in first}) == MAX_PROBES
    assert not [each for each in probes(duel, PAUSE[0] - 6.0) if each[1].destination != at(THEIR_OUTSIDE)]
    second = [each for each in probes(duel, 20.0) if each[1].destination != at(THEIR_OUTSIDE)]
    assert len(second) == MAX_PROBES


def test_mappings_are_made_again_before_they_are_forgotten_and_given_up_in_the_end() -> None:
    duel = lonely(HARD, EASY)
    duel.wait(START_DELAY)
    (wanted,) = [event for event in duel.events if isinstance(event, SparesWanted)]
    assert (wanted.base, wanted.count) == (at("10.0.0.1:1"), SPARES)
    spares = [replace(wanted.base, port=20000 + number) for number in range(SPARES + 1)]
    for spare in spares:
        duel.agent.add_spare_address(spare, duel.now)
    duel.agent.add_spare_address(spares[0], duel.now)
    assert [event.bases for event in released(duel)] == [(spares[-1],), (spares[0],)]
    assert not set(spares) & {each.base for each in duel.agent.local_candidates}
    sent = [packet for _, packet in probes(duel, ROUND_INTERVAL - 1.0) if packet.source in spares]
    assert {packet.source for packet in sent} == set(spares[:-1])
    assert len(sent) == SPARES
    rest = [packet for _, packet in probes(duel, 6 * ROUND_INTERVAL + 5.0) if packet.source in spares]
    assert MAX_PROBES - 2 * SPARES < len(sent + rest) <= MAX_PROBES
    assert set(released(duel)[-1].bases) == set(spares[:-1])
    late = at("10.0.0.1:30000")
    duel.agent.add_spare_address(late, duel.now)
    assert released(duel)[-1].bases == (late,)


def released(duel: Duel) -> list[SparesReleased]:
    duel.take()
    return [event for event in duel.events if isinstance(event, SparesReleased)]


def test_attempt_without_sockets_ends_soon() -> None:
    duel = lonely(HARD, EASY)
    duel.wait(START_DELAY + 1.1)
    assert len([event for event in duel.events if isinstance(event, SparesWanted)]) == 1
    duel.wait(PAUSE[0])
    assert len([event for event in duel.events if isinstance(event, SparesWanted)]) == 2


def test_socket_that_goes_meanwhile_is_passed_over() -> None:
    duel = lonely(HARD, EASY)
    duel.wait(START_DELAY)
    gone, stays = at("10.0.0.1:20000"), at("10.0.0.1:20001")
    for spare in (gone, stays):
        duel.agent.add_spare_address(spare, duel.now)
    duel.agent.remove_local_address(gone, duel.now)
    sent = {packet.source for _, packet in probes(duel, 1.0)}
    assert stays in sent
    assert gone not in sent


def test_only_udp_over_ipv4_is_guessed_at() -> None:
    duel = Duel(config=AgentConfig(pac_timeout=600.0))
    duel.agent.set_remote_options(RemoteOptions(nat=HARD), duel.now)
    over_tcp = Endpoint.of("198.51.100.9", 9000, Transport.TCP)
    remote = Candidate(CandidateType.SERVER_REFLEXIVE, over_tcp, 1, "1", over_tcp, tcp_type=TcpType.PASSIVE)
    over_ipv6 = replace(remote, endpoint=at("[2001:db8::9]:9000"), base=at("[2001:db8::9]:9000"), tcp_type=None)
    duel.meet(remote, over_ipv6)
    assert not [packet for _, packet in duel.wait(START_DELAY + 1.0) if packet.destination.port != 9000]


def test_search_ends_with_a_direct_path_and_with_the_wish_for_it() -> None:
    duel = lonely(EASY, HARD)
    duel.wait(START_DELAY + 0.5)
    duel.ask(source=at("198.51.100.9:12345"))
    check = duel.first_check(at("198.51.100.9:12345"))
    duel.answer(check)
    assert duel.pair(at("198.51.100.9:12345")).state is PairState.SUCCEEDED
    duel.take()
    assert not [each for each in probes(duel, 3.0) if each[1].destination.port not in (9000, 12345)]
    other = lonely(EASY, HARD)
    other.wait(START_DELAY + 0.5)
    other.agent.set_remote_options(RemoteOptions(), other.now)
    other.take()
    assert {packet.destination for _, packet in probes(other, 3.0)} <= {at(THEIR_OUTSIDE)}


def test_search_ends_when_the_nat_turns_out_to_be_another() -> None:
    duel = lonely(EASY, HARD)
    duel.wait(START_DELAY + 0.5)
    assert {packet.destination for _, packet in probes(duel, 0.1)} - {at(THEIR_OUTSIDE)}
    duel.agent.set_remote_options(RemoteOptions(nat=EASY), duel.now)
    duel.take()
    duel.wait(0.1)  # the next turn
    assert {packet.destination for _, packet in probes(duel, 3.0)} <= {at(THEIR_OUTSIDE)}


def test_agent_that_fails_or_ends_gives_its_sockets_back() -> None:
    duel = lonely(HARD, EASY)
    duel.wait(START_DELAY)
    spare = at("10.0.0.1:20000")
    duel.agent.add_spare_address(spare, duel.now)
    duel.agent.close(duel.now)
    assert released(duel)[-1].bases == (spare,)
    assert duel.agent.next_timeout() is None


def test_changed_network_begins_the_search_anew() -> None:
    duel = lonely(EASY, HARD)
    probes(duel, START_DELAY + 11.0)
    duel.agent.add_local_address(at("10.0.0.2:1"), duel.now)
    again = [each for each in probes(duel, START_DELAY + 1.0) if each[1].destination != at(THEIR_OUTSIDE)]
    assert len(again) > 100


@pytest.mark.parametrize("reason", ["hint", "candidate"])
def test_peer_makes_us_search_no_more_often_than_the_budget_allows(reason: str) -> None:
    """It may take back and repeat what it said for ever: who is at the address that it names is no party to this."""
    duel = lonely(EASY, HARD)
    reflexive = next(each for each in duel.agent.remote_candidates if each.endpoint == at(THEIR_OUTSIDE))
    sent, began_at = 0, duel.now
    for number in range(60):
        sent += len([each for each in probes(duel, 15.0) if each[1].destination.port != 9000])
        if reason == "hint":
            duel.agent.set_remote_options(RemoteOptions(), duel.now)
            duel.agent.set_remote_options(RemoteOptions(nat=HARD), duel.now)
        else:
            duel.agent.remove_remote_candidate(reflexive, duel.now)
            duel.agent.add_remote_candidate(replace(reflexive, priority=reflexive.priority - number), duel.now)
    assert sent > MAX_PROBES
    assert sent <= MAX_PROBES * (MAX_ATTEMPTS + (duel.now - began_at) / RECOVERY)


def test_lone_server_is_asked_at_its_other_address_too() -> None:
    duel = Duel(has_servers=True)
    server, other = at(SERVERS[0]), at(SERVERS[1])
    duel.agent.add_stun_server(server, duel.now)
    duel.agent.end_of_servers(duel.now)
    (asked,) = [item for item in duel.take() if item[1].destination == server]
    duel.hear(answered(asked, at(OUTSIDE), other), server)
    (again,) = [item for item in duel.wait(0.1) if item[1].destination == other]
    duel.hear(answered(again, at("198.51.100.1:7001"), server), other)
    assert duel.agent.nat_hint == NatHint(MappingKind.DEPENDENT, 1, True)
    assert not [item for item in duel.wait(0.4) if item[1].destination in (server, other)]


@pytest.mark.parametrize(
    "other", ["127.0.0.1:3479", "10.0.0.9:3479", "203.0.113.1:3479", "[2001:db8::2]:3479", "224.0.0.1:1"]
)
def test_other_address_that_no_honest_server_has_isnt_asked(other: str) -> None:
    duel = Duel(has_servers=True)
    server = at(SERVERS[0])
    duel.agent.add_stun_server(server, duel.now)
    duel.agent.end_of_servers(duel.now)
    (asked,) = [item for item in duel.take() if item[1].destination == server]
    duel.hear(answered(asked, at(OUTSIDE), at(other)), server)
    assert not duel.wait(5.0)


def answered(asked: tuple[Message, Transmit], seen: Endpoint, other: Endpoint) -> bytes:
    """Make the answer of a server with two addresses."""
    return encode_message(success_response(asked[0], (XOR_MAPPED_ADDRESS, seen), (OTHER_ADDRESS, other)))
