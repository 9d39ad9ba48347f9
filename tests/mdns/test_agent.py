from __future__ import annotations

import random

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.event import LossReason, NameLost, NameResolved
from p2ptun.mdns.link import GROUP_V4, MDNS_PORT
from p2ptun.mdns.message import Message, encode_message
from p2ptun.types import Endpoint
from tests.mdns.material import ADDRESS, ADDRESS_V6, ETH_V4, NEIGHBOUR, START, WLAN_V4, ask, name, sent


class Wire:
    """One link with several agents on it: what one multicasts, all hear, itself too."""

    def __init__(self, count: int) -> None:
        self.agents = {Endpoint.of(f"192.0.2.{number}", MDNS_PORT): MdnsAgent() for number in range(1, count + 1)}
        self.carried: list[Endpoint] = []
        for local, agent in self.agents.items():
            agent.add_local(local, "eth0", False, START)

    def __getitem__(self, index: int) -> MdnsAgent:
        return list(self.agents.values())[index]

    def carry(self, now: float) -> None:
        """Deliver until nobody has anything to send."""
        while transmits := [transmit for agent in self.agents.values() for transmit in sent(agent)]:
            for transmit in transmits:
                self.carried.append(transmit.destination)
                for local, agent in self.agents.items():
                    if transmit.destination in (GROUP_V4, local):
                        agent.receive_datagram(transmit.payload, transmit.source, local, now)

    def run(self, until: float) -> None:
        """Let time pass."""
        self.carry(START)
        while (at := min(filter(None, (each.next_timeout() for each in self.agents.values())), default=until)) < until:
            for agent in self.agents.values():
                agent.handle_timeout(at)
                assert (agent.next_timeout() or at + 1) > at
            self.carry(at)


def events(agent: MdnsAgent) -> list[object]:
    return list(iter(agent.next_event, None))


def test_pitfall_25_several_names_are_resolved_at_once() -> None:
    wire = Wire(3)
    wire[0].register(name(1), ADDRESS, "eth0", START)
    wire[0].register(name(2), ADDRESS_V6, "eth0", START)
    wire[1].register(name(3), NEIGHBOUR.address, "eth0", START)
    wire.carry(START)
    wire[1].resolve([name(1), name(2)], START)
    wire[0].resolve([name(3)], START)
    wire.carry(START)
    assert set(events(wire[1])) == {NameResolved(name(1), ADDRESS), NameResolved(name(2), ADDRESS_V6)}
    assert events(wire[0]) == [NameResolved(name(3), NEIGHBOUR.address)]
    assert events(wire[2]) == []


def test_a_name_that_comes_late_is_found_by_its_announcement() -> None:
    wire = Wire(2)
    wire[1].resolve([name(1)], START)
    wire.carry(START)
    wire[0].register(name(1), ADDRESS, "eth0", START + 0.3)
    wire.carry(START + 0.3)
    assert events(wire[1]) == [NameResolved(name(1), ADDRESS)]


def test_pitfall_25_names_of_another_network_are_given_up_quietly_after_a_few_seconds() -> None:
    wire = Wire(2)
    wire[1].resolve([name(1), name(2)], START)
    wire.run(START + 60)
    assert events(wire[1]) == [NameLost(name(number), LossReason.TIMEOUT) for number in (1, 2)]
    assert wire.carried == [GROUP_V4] * 3


def test_pitfall_25_only_our_own_names_are_answered_for_and_only_on_their_link() -> None:
    agent = MdnsAgent()
    for local, link in ((ETH_V4, "eth0"), (WLAN_V4, "wlan0")):
        agent.add_local(local, link, False, START)
    agent.register(name(1), ADDRESS, "eth0", START)
    sent(agent)
    for number, local in ((2, ETH_V4), (1, WLAN_V4)):
        query = encode_message(Message(questions=(ask(number),)))
        agent.receive_datagram(query, Endpoint.of("203.0.113.9", MDNS_PORT), local, START + 0.5)
    assert sent(agent) == []
    assert agent.drops == {DropReason.NOT_OUR_NAME: 2}


def test_an_idle_agent_waits_for_nothing() -> None:
    agent = MdnsAgent()
    assert agent.next_timeout() is None
    agent.handle_timeout(START)
    assert (agent.next_transmit(), agent.next_event()) == (None, None)


def test_names_can_be_taken_back() -> None:
    wire = Wire(2)
    assert wire[0].register(name(1), ADDRESS, "eth0", START)
    assert not wire[0].register(name(1), ADDRESS, "eth0", START)
    wire[0].unregister(name(1))
    wire.carry(START)
    wire[1].resolve([name(1)], START + 1)
    wire.carry(START + 1)
    assert events(wire[1]) == []
    wire[0].close()
    assert sent(wire[0]) == []
    wire[1].close()
    assert wire[1].next_timeout() is None


def test_what_hides_no_address_is_not_registered() -> None:
    with pytest.raises(LocalProtocolError, match="hides no address"):
        MdnsAgent().register("printer.local", ADDRESS, "eth0", START)


def test_a_removed_socket_is_forgotten() -> None:
    agent = MdnsAgent()
    for local, link in ((ETH_V4, "eth0"), (WLAN_V4, "wlan0")):
        agent.add_local(local, link, True, START)
    agent.register(name(1), ADDRESS, "eth0", START)
    sent(agent)
    agent.remove_local(ETH_V4)
    agent.remove_local(ETH_V4)
    agent.handle_timeout(START + 1)
    agent.resolve([name(2)], START + 1)
    assert [each.source for each in sent(agent)] == [WLAN_V4]


@pytest.mark.parametrize(
    ("data", "local", "reason"),
    [
        (b"", WLAN_V4, DropReason.UNKNOWN_SOCKET),
        (b"", ETH_V4, DropReason.MALFORMED),
        (encode_message(Message(is_refused=True)), ETH_V4, DropReason.REFUSED),
        (encode_message(Message(questions=(ask(9),))), ETH_V4, DropReason.NOT_OUR_NAME),
        (encode_message(Message(is_response=True)), ETH_V4, DropReason.NOT_ASKED_FOR),
    ],
)
def test_what_is_dropped_is_counted(data: bytes, local: Endpoint, reason: DropReason) -> None:
    agent = MdnsAgent()
    agent.add_local(ETH_V4, "eth0", False, START)
    agent.receive_datagram(data, NEIGHBOUR, local, START)
    assert agent.drops == {reason: 1}
    assert agent.next_transmit() is None


def test_noise_changes_nothing_and_every_deadline_is_ahead() -> None:
    source = random.Random(25)
    agent = MdnsAgent()
    agent.add_local(ETH_V4, "eth0", False, START)
    agent.register(name(1), ADDRESS, "eth0", START)
    agent.resolve([name(2)], START)
    packets = [each.payload for each in sent(agent)]
    now = START
    for _ in range(2000):
        data = bytearray(source.choice(packets))
        for _ in range(source.randrange(4)):
            data[source.randrange(len(data))] = source.randrange(256)
        now += source.random() / 10
        agent.receive_datagram(bytes(data), Endpoint.of("192.0.2.9", source.choice((5353, 9))), ETH_V4, now)
        agent.handle_timeout(now)
        agent.handle_timeout(now)
        at = agent.next_timeout()
        assert at is None or at > now
        sent(agent)
