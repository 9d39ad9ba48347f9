"""Two agents that are told of each other, message by message: who is ahead, who is behind, who lies."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import RestartReason
from p2ptun.ice.named import NamedCandidate
from p2ptun.ice.role import Role
from p2ptun.mdns.name import draw_name
from p2ptun.node.drop import DropReason
from p2ptun.node.event import PeerEvent, RemoteCandidateFound, RemoteCandidateRemoved, RemoteNameFound
from p2ptun.node.names import HostNames
from p2ptun.node.negotiation import MAX_AHEAD, Negotiation
from p2ptun.node.parameters import IceParameters, read_description, write_description
from p2ptun.node.signalling import MIN_REPEAT_INTERVAL, NEWS_BURST
from p2ptun.tunnel.control import Acknowledgement, IceDescription
from p2ptun.types import Endpoint
from tests.sim.network import at

NOW = 1000.0
ALICE, BOB, OTHER, SERVER = "192.0.2.1:1", "192.0.2.2:2", "198.51.100.3:3", "203.0.113.9:3478"


@dataclass
class Side:
    """An agent and what speaks for it."""

    agent: Agent
    negotiation: Negotiation

    def follow(self) -> None:
        """Let the negotiation hear what the agent says."""
        while (event := self.agent.next_event()) is not None:
            self.negotiation.follow(event)

    def says(self) -> IceDescription | Acknowledgement | None:
        self.follow()
        return self.negotiation.take_message(None, NOW)

    def described(self) -> IceParameters:
        return IceParameters(self.agent.local_credentials, self.negotiation.describe())

    def told(self) -> list[Endpoint]:
        return [candidate.endpoint for candidate in self.agent.remote_candidates]


def side(name: str, socket: str, names: HostNames | None = None) -> Side:
    """Make a side with one socket."""
    draw = random.Random(name).randbytes
    agent = Agent(AgentConfig(), Credentials.generate(draw), Role.CONTROLLING, 1, draw)
    agent.add_local_address(at(socket), NOW)
    made = Side(agent, Negotiation(agent, names))
    made.follow()
    return made


def pair() -> tuple[Side, Side]:
    """Make two sides that know each other's description."""
    alice, bob = side("alice", ALICE), side("bob", BOB)
    alice.negotiation.begin(bob.described(), NOW)
    bob.negotiation.begin(alice.described(), NOW)
    return alice, bob


def tell(sender: Side, receiver: Side) -> list[PeerEvent]:
    """Carry the next message; return what it changes."""
    message = sender.says()
    assert message is not None
    return receiver.negotiation.receive(message, NOW)


def agree(one: Side, other: Side) -> None:
    """Carry all messages that there are."""
    for _ in range(3):
        for sender, receiver in ((one, other), (other, one)):
            while (message := sender.says()) is not None:
                receiver.negotiation.receive(message, NOW)


def assert_agreed(one: Side, other: Side, generation: int) -> None:
    for here, there in ((one.agent, other.agent), (other.agent, one.agent)):
        assert here.generation == generation
        assert here.remote_credentials == there.local_credentials


# Descriptions and what follows


def test_what_a_description_says_is_found_once() -> None:
    alice, bob = side("alice", ALICE), side("bob", BOB)
    found = alice.negotiation.begin(bob.described(), NOW)
    assert [type(event) for event in found] == [RemoteCandidateFound]
    assert alice.told() == [at(BOB)]
    bob.negotiation.begin(alice.described(), NOW)
    assert tell(bob, alice) == []


def test_candidates_come_and_go() -> None:
    alice, bob = pair()
    agree(alice, bob)
    alice.agent.add_local_address(at(OTHER), NOW)
    (found,) = tell(alice, bob)
    assert isinstance(found, RemoteCandidateFound)
    assert found.candidate.endpoint == at(OTHER)
    alice.agent.remove_local_address(at(ALICE), NOW)
    alice.negotiation.update()
    (removed,) = tell(alice, bob)
    assert isinstance(removed, RemoteCandidateRemoved)
    assert bob.told() == [at(OTHER)]


def test_what_the_agent_refuses_is_not_found() -> None:
    alice, bob = pair()
    agree(alice, bob)
    alice.agent.add_local_address(at("127.0.0.1:7"), NOW)
    assert tell(alice, bob) == []
    assert bob.told() == [at(ALICE)]


def test_the_end_is_told_when_every_server_has_answered_or_none_is_asked() -> None:
    alice, bob = pair()
    agree(alice, bob)
    ends = []
    alice.agent.end_of_servers(NOW)
    for step in range(3):
        if step == 1:
            alice.agent.add_stun_server(at(SERVER), NOW)
        if step == 2:
            alice.agent.add_local_address(at(OTHER), NOW)
        message = alice.says()
        ends.append(message.end if isinstance(message, IceDescription) else None)
        if message is not None:
            bob.negotiation.receive(message, NOW)
        bob.says()
    assert ends == [True, None, False], "a new socket asks the server"


def test_it_repeats_itself_until_it_is_acknowledged_or_at_rest() -> None:
    alice, bob = pair()
    first = alice.says()
    assert alice.says() is None
    assert alice.negotiation.next_timeout() == NOW + MIN_REPEAT_INTERVAL
    assert alice.negotiation.next_timer is not None
    alice.negotiation.handle_timeout(NOW + MIN_REPEAT_INTERVAL)
    assert alice.says() == first
    alice.negotiation.hasten()
    tell(alice, bob)
    agree(bob, alice)
    assert alice.negotiation.next_timeout() is None
    bob.agent.add_local_address(at(OTHER), NOW)
    bob.says()
    bob.negotiation.rest()
    assert bob.negotiation.next_timeout() is None


# Restarts


def test_both_sides_know_what_the_next_generation_will_be_called() -> None:
    alice, bob = pair()
    agree(alice, bob)
    alice.agent.restart(NOW)
    bob.agent.restart(NOW)
    assert_agreed(alice, bob, 1)


def test_who_hears_of_a_restart_joins_it() -> None:
    alice, bob = pair()
    agree(alice, bob)
    alice.agent.restart(NOW)
    assert tell(alice, bob) == []
    assert_agreed(alice, bob, 1)
    assert alice.told() == [at(BOB)]
    assert bob.told() == [at(ALICE)]
    agree(alice, bob)
    bob.agent.restart(NOW, RestartReason.PEER)
    agree(alice, bob)
    assert_agreed(alice, bob, 2)


def test_a_restart_before_anything_was_acknowledged_is_joined_too() -> None:
    """So the next credentials aren't known."""
    alice, bob = pair()
    alice.agent.restart(NOW, RestartReason.PEER)
    agree(alice, bob)
    assert_agreed(alice, bob, 1)


def test_two_restarts_of_which_neither_knew_the_other_side_s_next_name_meet() -> None:
    alice, bob = pair()
    for each in (alice, bob):
        each.agent.restart(NOW, RestartReason.PEER)
    agree(alice, bob)
    assert_agreed(alice, bob, 1)


def test_who_missed_a_generation_joins_the_newest() -> None:
    alice, bob = pair()
    for _ in range(MAX_AHEAD):
        alice.agent.restart(NOW, RestartReason.PEER)
    agree(alice, bob)
    assert_agreed(alice, bob, MAX_AHEAD)


def test_who_hears_from_one_that_is_behind_does_not_go_back() -> None:
    alice, bob = pair()
    late = bob.says()
    assert late is not None
    alice.agent.restart(NOW, RestartReason.PEER)
    alice.negotiation.receive(late, NOW)
    assert alice.agent.generation == 1
    assert alice.agent.remote_credentials == bob.agent.next_credentials, "which that message announced"
    assert alice.told() == [at(BOB)]
    agree(alice, bob)
    assert_agreed(alice, bob, 1)


def test_who_is_behind_by_more_than_one_has_to_catch_up_by_itself() -> None:
    alice, bob = pair()
    late = bob.says()
    assert late is not None
    for _ in range(2):
        alice.agent.restart(NOW, RestartReason.PEER)
    alice.negotiation.receive(late, NOW)
    assert alice.agent.remote_credentials is None
    agree(alice, bob)
    assert_agreed(alice, bob, 2)
    assert alice.told() == [at(BOB)]


# Names


def test_names_stand_in_place_of_addresses() -> None:
    names = HostNames(random.Random("names").randbytes)
    alice, bob = side("alice", ALICE, names), side("bob", BOB)
    (described,) = alice.negotiation.describe()
    assert described.name == names.name_of(at(ALICE).address)
    read = read_description(write_description(alice.described(), 1, 0))
    (asked,) = bob.negotiation.begin(read, NOW)
    assert isinstance(asked, RemoteNameFound)
    assert bob.told() == []
    (found,) = bob.negotiation.resolve(asked.candidate, at(ALICE).address, NOW)
    assert isinstance(found, RemoteCandidateFound)
    assert bob.told() == [at(ALICE)]


def test_a_name_keeps_its_address_over_a_restart_and_loses_it_when_it_is_withdrawn() -> None:
    alice, bob = side("alice", ALICE, HostNames(random.Random("names").randbytes)), side("bob", BOB)
    read = read_description(write_description(alice.described(), 1, 0))
    (asked,) = bob.negotiation.begin(read, NOW)
    alice.negotiation.begin(bob.described(), NOW)
    assert isinstance(asked, RemoteNameFound)
    bob.negotiation.resolve(asked.candidate, at(ALICE).address, NOW)
    agree(alice, bob)
    alice.agent.restart(NOW, RestartReason.PEER)
    assert tell(alice, bob) == []
    assert bob.told() == [at(ALICE)]
    alice.agent.remove_local_address(at(ALICE), NOW)
    alice.negotiation.update()
    (removed,) = tell(alice, bob)
    assert isinstance(removed, RemoteCandidateRemoved)
    assert bob.told() == []
    assert bob.negotiation.resolve(asked.candidate, at(ALICE).address, NOW) == []


def test_a_name_may_be_withdrawn_before_anybody_has_found_its_address() -> None:
    alice, bob = side("alice", ALICE, HostNames(random.Random("names").randbytes)), side("bob", BOB)
    read = read_description(write_description(alice.described(), 1, 0))
    bob.negotiation.begin(read, NOW)
    alice.negotiation.begin(bob.described(), NOW)
    agree(alice, bob)
    alice.agent.remove_local_address(at(ALICE), NOW)
    alice.negotiation.update()
    (removed,) = tell(alice, bob)
    assert removed == RemoteCandidateRemoved(read.candidates[0])
    assert bob.told() == []


def test_a_name_that_nobody_told_has_no_address() -> None:
    alice, _ = pair()
    draw = random.Random(1).randbytes
    stranger = NamedCandidate(
        draw_name(draw), 1, side("x", OTHER).described().candidates[0].type, at(BOB).transport, 1, "1"
    )
    assert alice.negotiation.resolve(stranger, at(OTHER).address, NOW) == []
    assert alice.told() == [at(BOB)]


# Liars


@pytest.mark.parametrize("generation", [MAX_AHEAD + 1, 1000, 2**32 - 1])
def test_a_generation_that_can_not_be_is_not_joined(generation: int) -> None:
    alice, bob = pair()
    agree(alice, bob)
    now, following = (Credentials("liar", "p" * 22, min(generation + each, 2**32 - 1)) for each in (0, 1))
    lie = IceParameters(now, bob.negotiation.describe(), following)
    alice.negotiation.receive(write_description(lie, 100, 0), NOW)
    assert alice.agent.generation == 0
    assert alice.agent.remote_credentials == bob.agent.local_credentials
    assert alice.says() is not None, "the next message still fits"


def test_credentials_that_change_all_the_time_cost_a_bounded_number_of_restarts() -> None:
    alice, bob = pair()
    agree(alice, bob)
    for number in range(100):
        lie = replace(bob.described(), credentials=Credentials(f"liar{number}", "p" * 22, alice.agent.generation))
        alice.negotiation.receive(write_description(lie, 100 + number, 0), NOW)
    assert alice.agent.generation <= NEWS_BURST
    assert alice.negotiation.drops[DropReason.HASTY_DESCRIPTION] >= 100 - NEWS_BURST


# Another way than the tunnel


def test_what_a_rendezvous_carries_counts_as_much_as_what_the_tunnel_does() -> None:
    alice, bob = pair()
    agree(alice, bob)
    before = alice.negotiation.revision
    alice.agent.restart(NOW, RestartReason.NETWORK_CHANGED)
    alice.agent.add_local_address(at(OTHER), NOW)
    alice.follow()
    assert alice.negotiation.revision > before, "there is something else to say"
    message = alice.negotiation.write()
    assert alice.negotiation.write() == message, "nothing has changed meanwhile"
    found = bob.negotiation.receive(message, NOW)
    assert at(OTHER) in [each.candidate.endpoint for each in found if isinstance(each, RemoteCandidateFound)]
    assert bob.negotiation.receive(message, NOW) == [], "it is no news the second time"
    alice.negotiation.receive(bob.negotiation.write(), NOW)
    assert_agreed(alice, bob, 1)
    assert not isinstance(alice.says(), IceDescription), "what came over the rendezvous isn't repeated in the tunnel"
