"""Pitfall 25, as numbered through all tests: only our own names, several at once, per link, and a quiet end."""

from __future__ import annotations

from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.event import LossReason, NameLost
from p2ptun.mdns.message import Message, encode_message
from p2ptun.types import Endpoint
from tests.mdns.material import ADDRESS, ETH_V4, NEIGHBOUR, START, WLAN_V4, ask, name, read, sent

PATIENCE = 6.0  # "a few seconds"


def on_two_links() -> MdnsAgent:
    agent = MdnsAgent()
    agent.add_local(ETH_V4, "eth0", False, START)
    agent.add_local(WLAN_V4, "wlan0", False, START)
    return agent


def hear(agent: MdnsAgent, query: Message, local: Endpoint) -> list[Message]:
    """Let a neighbour ask; give what goes out."""
    sent(agent)
    agent.receive_datagram(encode_message(query), NEIGHBOUR, local, START + 10)
    return read(sent(agent))


def test_pitfall_25_only_our_own_names_are_answered_and_only_on_their_link() -> None:
    agent = on_two_links()
    assert agent.register(name(1), ADDRESS, "eth0", START)
    agent.handle_timeout(START + 9)
    ours, foreign = Message(questions=(ask(1),)), Message(questions=(ask(2),))
    assert hear(agent, ours, ETH_V4)
    assert not hear(agent, foreign, ETH_V4)
    assert not hear(agent, ours, WLAN_V4)


def test_pitfall_25_several_names_are_asked_for_at_once_on_every_link() -> None:
    agent = on_two_links()
    agent.resolve([name(number) for number in range(5)], START)
    asked = sent(agent)
    assert {transmit.source for transmit in asked} == {ETH_V4, WLAN_V4}
    for local in (ETH_V4, WLAN_V4):
        of_link = read([transmit for transmit in asked if transmit.source == local])
        assert len({question.name for message in of_link for question in message.questions}) == 5


def test_pitfall_25_a_silent_name_is_given_up_after_a_few_seconds_and_asked_for_no_more() -> None:
    agent = on_two_links()
    agent.resolve([name(1)], START)
    sent(agent)
    while (due := agent.next_timeout()) is not None:
        assert due <= START + PATIENCE
        agent.handle_timeout(due)
        sent(agent)
    assert agent.next_event() == NameLost(name(1), LossReason.TIMEOUT)
    assert agent.next_event() is None
    agent.handle_timeout(START + 100)
    assert not sent(agent)
