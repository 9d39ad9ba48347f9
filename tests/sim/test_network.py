"""The simulated network carries, loses, delays and repeats as it was told, and is the same in every run."""

from __future__ import annotations

from collections import Counter

import pytest

from p2ptun.types import Endpoint, SendError, Transmit, Transport
from tests.node.world import World

from .host import is_check
from .link import Bursts, Link
from .nat import Behaviour, Firewall, Habit, Nat
from .network import START, Network, at
from .talker import Talker

HERE, THERE = at("192.0.2.1:1"), at("192.0.2.2:2")
HOME, HOME_2 = at("10.0.0.2:1"), at("10.0.0.3:1")
OPEN = Behaviour.ENDPOINT_INDEPENDENT


def two(network: Network, here: Endpoint = HERE, there: Endpoint = THERE) -> tuple[Talker, Talker]:
    left, right = Talker(), Talker(b"yes")
    network.plug(left, here)
    network.plug(right, there)
    return left, right


def flood(network: Network, left: Talker, count: int = 1000, seconds: float = 0.0) -> None:
    """Let the left one say numbers to the right one."""
    for number in range(count):
        left.say(number.to_bytes(4, "big"), HERE, THERE)
        network.run(seconds / count)
    network.run(2)


# One link


def test_latency_is_the_sum_of_the_links_on_the_way() -> None:
    network = Network(latency=0.1)
    left, right = two(network)
    network.link("192.0.2.1").latency = 0.02
    network.link("192.0.2.2").latency = 0.003
    left.say(b"?", HERE, THERE)
    network.run(1)
    assert right.times == [pytest.approx(START + 0.123)]
    assert left.times == [pytest.approx(START + 0.246)]


def test_jitter_reorders_and_its_lack_does_not() -> None:
    for jitter, is_ordered in ((0.0, True), (0.1, False)):
        network = Network()
        left, right = two(network)
        network.jitter = jitter
        flood(network, left, 100)
        assert len(right.words) == 100
        assert (right.words == sorted(right.words)) is is_ordered


@pytest.mark.parametrize("where", ["core", "192.0.2.1", "192.0.2.2"])
def test_loss_and_repetition_hit_the_part_that_was_asked_for(where: str) -> None:
    network = Network()
    left, right = two(network)
    link = network.core if where == "core" else network.link(where)
    link.loss, link.repetition = 0.2, 0.1
    flood(network, left)
    times = Counter(right.words)
    assert 700 < len(times) < 900
    assert 50 < sum(count == 2 for count in times.values()) < 120
    assert network.lost["loss"] > 100


def test_bursts_lose_everything_for_a_while() -> None:
    network = Network()
    left, right = two(network)
    network.core.bursts = Bursts(quiet=2.0, burst=0.5, seed=3)
    flood(network, left, 2000, seconds=40.0)
    came = {int.from_bytes(word, "big") for word in right.words}
    lost = [number for number in range(2000) if number not in came]
    runs = sum(number - 1 not in lost for number in lost)
    assert 100 < len(lost) < 1000
    assert len(lost) / runs > 5, "one by one would be no bursts"


def test_bursts_are_as_often_and_as_long_as_they_were_asked_for() -> None:
    bursts = Bursts(quiet=3.0, burst=1.0, seed=5)
    bad = sum(bursts.loses(START + step / 10) for step in range(40_000))
    assert 0.2 < bad / 40_000 < 0.3


def test_what_is_too_big_is_refused_on_the_own_link_and_lost_further_on() -> None:
    network = Network()
    left, right = two(network)
    network.links[HERE.address] = Link(mtu=100)
    network.mtu = 80
    for size in (80, 81, 101):
        left.say(bytes(size), HERE, THERE)
    network.run(1)
    assert [len(word) for word in right.words] == [80]
    assert left.errors == [SendError.TOO_LARGE]
    assert network.lost["too big"] == 1


def test_link_that_is_down_and_network_that_is_cut_carry_nothing() -> None:
    network = Network()
    left, right = two(network)
    network.link("192.0.2.2").is_up = False
    left.say(b"1", HERE, THERE)
    network.run(1)
    network.link("192.0.2.2").is_up = True
    network.is_cut = lambda packet: packet.payload == b"2"
    left.say(b"2", HERE, THERE)
    left.say(b"3", HERE, THERE)
    network.run(1)
    assert right.words == [b"3"]
    assert network.lost == {"link down": 1, "cut": 1}


def test_socket_that_is_gone_sends_and_gets_nothing() -> None:
    network = Network()
    left, right = two(network)
    network.unplug(HERE)
    left.say(b"?", HERE, THERE)
    right.say(b"?", THERE, HERE)
    network.run(1)
    assert left.errors == [SendError.SOURCE_GONE]
    assert left.heard == right.heard == []
    assert network.lost["nobody there"] == 1


# Gateways on the way


def behind_nats(habit: Habit | None = None, *, is_double: bool = False) -> tuple[Network, Talker, Talker, Nat]:
    """Make a network with two hosts at home behind one NAT, which may stand behind a carrier's."""
    network = Network()
    outer = network.add_nat(Nat("203.0.113.1", "100.64.0.0/10", filtering=OPEN, habit=habit))
    inner = Nat("100.64.0.2" if is_double else "203.0.113.9", "10.0.0.0/24", filtering=OPEN, habit=habit)
    network.add_nat(inner)
    left, right = two(network, HOME, HOME_2)
    network.plug(right, THERE)
    return network, left, right, outer if is_double else inner


@pytest.mark.parametrize("is_double", [False, True])
def test_way_out_and_back_leads_through_one_nat_or_two(is_double: bool) -> None:
    network, left, right, nat = behind_nats(is_double=is_double)
    left.say(b"?", HOME, THERE)
    network.run(1)
    assert [source.address for _, _, source in right.heard] == [nat.address]
    assert left.words == [b"yes"]


def test_hosts_of_one_home_meet_without_the_nat() -> None:
    network, left, right, _ = behind_nats()
    left.say(b"?", HOME, HOME_2)
    network.run(1)
    assert [source for _, _, source in right.heard] == [HOME]


@pytest.mark.parametrize("has_hairpin", [False, True])
@pytest.mark.parametrize("is_double", [False, True])
def test_public_address_of_a_neighbour_takes_a_hairpin(is_double: bool, has_hairpin: bool) -> None:
    network, left, right, nat = behind_nats(Habit(has_hairpin=has_hairpin), is_double=is_double)
    right.say(b"open", HOME_2, at("192.0.2.9:9"))
    network.run(1)
    left.say(b"?", HOME, Endpoint(nat.address, 40000))
    network.run(1)
    assert right.words == ([b"?"] if has_hairpin else [])
    assert network.lost["no hairpin"] == (not has_hairpin)


def test_same_private_address_may_stand_in_two_homes() -> None:
    network = Network()
    homes = [network.add_nat(Nat(f"203.0.113.{number}", "10.0.0.0/24")) for number in (1, 2)]
    first, second = Talker(), Talker()
    server, _ = two(network)
    for talker, home in ((first, homes[0]), (second, homes[1])):
        network.plug(talker, HOME, behind=home)
        talker.say(b"?", HOME, HERE)
    second.say(b"wrong house", HOME, HOME_2)
    network.run(1)
    assert {source.address for _, _, source in server.heard} == {home.address for home in homes}
    assert network.lost == {"nobody there": 1}


def test_rebooted_nat_has_new_ports_and_may_have_a_new_address() -> None:
    network, left, right, nat = behind_nats()
    for _ in range(3):
        left.say(b"?", HOME, THERE)
        network.run(1)
        nat.reboot()
    network.renumber(nat, "203.0.113.77")
    left.say(b"?", HOME, THERE)
    network.run(1)
    right.say(b"late", THERE, at("203.0.113.9:40002"))
    network.run(1)
    ports = [source.port for _, _, source in right.heard]
    assert len(set(ports)) == 4
    assert right.heard[-1][2].address == at("203.0.113.77:1").address
    assert left.words == [b"yes"] * 4


def test_link_of_a_nat_and_of_a_host_behind_it_add_up() -> None:
    network, left, _, nat = behind_nats()
    network.link(str(nat.address)).latency = 0.1
    network.link("10.0.0.2").latency = 0.01
    left.say(b"?", HOME, THERE)
    network.run(2)
    assert left.times[0] == pytest.approx(START + 2 * (network.latency + 0.11))


def test_firewall_before_ipv6_lets_in_whom_the_host_asked() -> None:
    network = Network()
    network.add_nat(Firewall("2001:db8:1::/48"))
    inside, outside = at("[2001:db8:1::2]:1"), at("[2001:db8:2::2]:2")
    left, right = two(network, inside, outside)
    right.say(b"knock", outside, inside)
    network.run(1)
    assert left.heard == []
    left.say(b"?", inside, outside)
    network.run(1)
    assert left.words == [b"yes"]
    assert network.lost == {"filtered": 1}


def test_gateway_that_blocks_udp_lets_tcp_out() -> None:
    network = Network()
    network.add_nat(Nat("203.0.113.1", "10.0.0.0/24", habit=Habit(blocked={Transport.UDP})))
    left, right = two(network, HOME, THERE)
    base, listener = at("10.0.0.2:9", Transport.TCP), at("192.0.2.2:2", Transport.TCP)
    network.plug(left, base)
    network.plug(right, listener)
    left.say(b"datagram", HOME, THERE)
    left.say(b"frame", base, listener)
    network.run(2)
    assert right.words == [b"frame"]
    assert left.words == [b"yes"]
    assert network.lost == {"blocked": 1}


# Hosts and their clocks


def test_host_that_sleeps_hears_nothing_and_its_clock_stands_still() -> None:
    network = Network()
    left, right = two(network)
    left.timers = [START + 5, START + 20]
    network.run(10)
    network.suspend(left)
    right.say(b"lost", THERE, HERE)
    network.run(3600)
    assert network.time_of(left) == START + 10
    assert (left.woken, left.heard) == ([START + 5], [])
    network.resume(left)
    network.run(9)
    assert left.woken == [START + 5]
    network.run(2)
    assert left.woken == [START + 5, START + 20]
    left.say(b"?", HERE, THERE)
    network.run(1)
    assert left.words == [b"yes"]
    assert left.times == [pytest.approx(START + 21.04)]
    assert network.lost == {"asleep": 1}


def test_changed_mind_about_a_timer_counts() -> None:
    network = Network()
    left, _ = two(network)
    left.timers = [START + 5]
    network.run(1)
    left.timers = [START + 3]
    network.run(3)
    left.timers = [START + 6]
    network.run(10)
    assert left.woken == [START + 3, START + 6]


def test_idle_host_costs_nothing_while_others_talk() -> None:
    """A thousand of them may stand beside: only those that something happened to are asked when they want to act."""

    class Sleeper(Talker):
        asked = 0

        def next_timeout(self) -> float | None:
            self.asked += 1
            return START + 1000.0

    network = Network()
    left, _ = two(network)
    sleepers = [Sleeper() for _ in range(100)]
    for number, sleeper in enumerate(sleepers):
        network.plug(sleeper, at(f"198.51.100.{number}:1"))
    for number in range(500):
        network.later(number / 100, lambda: left.say(b"?", HERE, THERE))
    left.timers = [START + number / 100 for number in range(500)]
    network.run(6)
    assert len(left.words) > 400
    assert {sleeper.asked for sleeper in sleepers} == {1}


def test_actions_happen_at_their_times() -> None:
    network = Network()
    done: list[float] = []
    for seconds in (3.0, 1.0, 2.0):
        network.later(seconds, lambda: done.append(network.now))
    network.run(2.5)
    assert done == [START + 1, START + 2]


# What is counted


def test_checks_and_octets_are_counted_for_each_host() -> None:
    world = World(3).connect()
    count = world.network.counts[world.alice]
    sent = [each.packet.payload for each in world.network.log if each.host is world.alice]
    assert count.datagrams == len(sent)
    assert count.octets == sum(len(payload) for payload in sent)
    assert 0 < count.checks == sum(is_check(payload) for payload in sent) < len(sent)
    assert not is_check(b"\0\1\0\0" + bytes(20))


def test_log_can_be_left_out() -> None:
    network = Network()
    left, right = two(network)
    network.has_log = False
    left.say(b"?", HERE, THERE)
    network.run(1)
    assert network.log == []
    assert network.counts[right].datagrams == 1


def test_forged_datagram_reaches_a_host_wherever_it_is() -> None:
    network, left, _, _ = behind_nats()
    network.deliver(Transmit(b"boo", THERE, HOME))
    network.deliver(Transmit(b"boo", THERE, at("10.9.9.9:9")))
    assert left.words == [b"boo"]
    assert network.lost == {"nobody there": 1}


# Chance


def traffic(seed: int) -> list[tuple[float, bytes]]:
    world = World(seed, loss=0.2)
    world.network.jitter, world.network.repetition = 0.03, 0.1
    world.tell_bob()
    world.tell_alice()
    world.talk(20)
    return [(each.at, each.packet.payload) for each in world.network.log]


def test_a_seed_decides_everything() -> None:
    assert traffic(3) == traffic(3)
    assert traffic(3) != traffic(4)


def test_loss_is_about_what_was_asked_for() -> None:
    world = World(5).connect()
    world.network.loss = 0.5
    before = len(world.network.log)
    world.talk(20, 0.05)
    sent = len(world.network.log) - before
    assert 0.4 * sent < world.network.lost["loss"] < 0.6 * sent
    assert Network().lost == {}
