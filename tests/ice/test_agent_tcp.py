"""What an agent makes of connections that fail (RFC 6544 7.1)."""

from __future__ import annotations

import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.check import encode_check
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.pair import PairProblem, PairState
from p2ptun.ice.priority import candidate_priority
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.tcp import active_base
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, short_term_key
from p2ptun.stun.message import decode_message, encode_message, success_response
from p2ptun.types import Endpoint, SendError, Transmit, Transport
from tests.ice.material import random_bytes_from
from tests.sim.network import at

ACTIVE = active_base(at("10.0.0.1:1").address)
PASSIVE = at("10.0.0.1:5000", Transport.TCP)
THERE, EPHEMERAL = at("10.0.0.2:5000", Transport.TCP), at("10.0.0.2:40000", Transport.TCP)
REMOTE = Credentials("remote00", "r" * 24)


def make(*bases: Endpoint) -> Agent:
    random_bytes = random_bytes_from(6544)
    agent = Agent(AgentConfig(), Credentials.generate(random_bytes), Role.CONTROLLING, 7, random_bytes)
    for base in bases:
        agent.add_local_address(base, 1000.0)
    agent.set_remote_credentials(REMOTE, 1000.0)
    return agent


def candidate(endpoint: Endpoint, tcp_type: TcpType) -> Candidate:
    return Candidate(CandidateType.HOST, endpoint, 1000, "1", endpoint, tcp_type=tcp_type)


def take(agent: Agent) -> list[Transmit]:
    return list(iter(agent.next_transmit, None))


def answer(agent: Agent, check: Transmit, seen: Endpoint, now: float) -> None:
    """Let the peer answer a check, and say where it came from: a STUN address tells no transport."""
    request = decode_message(check.payload)
    told = Endpoint(seen.address, seen.port)
    payload = encode_message(
        success_response(request, (XOR_MAPPED_ADDRESS, told)), Integrity(HMAC_SHA1, short_term_key(REMOTE.password))
    )
    agent.receive_datagram(payload, check.destination, check.source, now)


def check_from(agent: Agent, source: Endpoint, now: float) -> None:
    """Let the peer check our passive base."""
    stance = Stance(Role.CONTROLLED, 3)
    payload = encode_check(b"0123456789ab", REMOTE, agent.local_credentials, stance, 1000, None)  # type: ignore[arg-type]
    agent.receive_datagram(payload, source, PASSIVE, now)


def test_a_check_over_tcp_goes_out_once_and_its_valid_pair_is_active_and_reflexive() -> None:
    agent = make(ACTIVE, PASSIVE)
    agent.add_remote_candidate(candidate(THERE, TcpType.PASSIVE), 1000.0)
    [check] = take(agent)
    assert (check.source, check.destination) == (ACTIVE, THERE)
    for now in (1000.5, 1001.5, 1003.5):
        agent.handle_timeout(now)
        assert take(agent) == []
    answer(agent, check, at("10.0.0.1:41000"), 1004.0)
    [pair] = agent.pairs
    assert pair.state is PairState.SUCCEEDED
    assert pair.local.endpoint == at("10.0.0.1:41000", Transport.TCP)
    assert (pair.local.type, pair.local.tcp_type) == (CandidateType.PEER_REFLEXIVE, TcpType.ACTIVE)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (SendError.REFUSED, PairProblem.REFUSED),
        (SendError.TIMED_OUT, PairProblem.NO_ANSWER),
        (SendError.UNREACHABLE, PairProblem.UNREACHABLE),
        (SendError.OTHER, PairProblem.OTHER),
    ],
)
def test_a_connection_that_fails_fails_the_pair_at_once(error: SendError, problem: PairProblem) -> None:
    agent = make(ACTIVE)
    agent.add_remote_candidate(candidate(THERE, TcpType.PASSIVE), 1000.0)
    agent.add_remote_candidate(candidate(at("10.0.0.3:5001", Transport.TCP), TcpType.PASSIVE), 1000.0)
    take(agent)
    agent.record_send_error(ACTIVE, THERE, error, 1000.01)
    [failed] = [pair for pair in agent.pairs if pair.destination == THERE]
    assert failed.problem is problem
    assert failed.state is PairState.FAILED


def test_a_passive_base_waits_and_answers_over_the_connection_that_came() -> None:
    agent = make(PASSIVE)
    agent.add_remote_candidate(candidate(active_base(THERE.address), TcpType.ACTIVE), 1000.0)
    agent.add_remote_candidate(candidate(THERE, TcpType.PASSIVE), 1000.0)
    assert not agent.pairs
    check_from(agent, EPHEMERAL, 1000.1)
    [pair] = agent.pairs
    assert (pair.base, pair.destination, pair.remote.tcp_type) == (PASSIVE, EPHEMERAL, TcpType.ACTIVE)
    sent = take(agent)
    assert {(each.source, each.destination) for each in sent} == {(PASSIVE, EPHEMERAL)}
    assert len(sent) == 2


def test_a_pair_of_a_passive_base_ends_with_its_connection() -> None:
    agent = make(PASSIVE, ACTIVE)
    agent.add_remote_candidate(candidate(THERE, TcpType.PASSIVE), 1000.0)
    [ours] = take(agent)
    answer(agent, ours, at("10.0.0.1:41000"), 1000.1)
    take(agent)
    for number, source in enumerate((EPHEMERAL, at("10.0.0.2:40001", Transport.TCP))):
        now = 1000.2 + number
        check_from(agent, source, now)
        agent.handle_timeout(now + 0.1)
        for check in take(agent):
            if check.source == PASSIVE and decode_message(check.payload).message_class.name == "REQUEST":
                answer(agent, check, PASSIVE, now + 0.2)
    assert len([pair for pair in agent.pairs if pair.state is PairState.SUCCEEDED]) == 3
    assert agent.selected is not None
    spare = next(
        pair for pair in agent.pairs if pair.base == PASSIVE and pair.destination != agent.selected.destination
    )
    agent.record_send_error(PASSIVE, spare.destination, SendError.REFUSED, 1003.0)
    [ended] = [pair for pair in agent.pairs if pair.destination == spare.destination]
    assert ended.state is PairState.FAILED
    others = [pair for pair in agent.pairs if pair.destination != spare.destination]
    assert [pair.state for pair in others] == [PairState.SUCCEEDED] * 2


def test_what_says_nothing_of_the_connection_fails_nothing() -> None:
    agent = make(ACTIVE)
    agent.add_remote_candidate(candidate(THERE, TcpType.PASSIVE), 1000.0)
    take(agent)
    agent.record_send_error(ACTIVE, THERE, SendError.NO_BUFFERS, 1000.01)
    assert agent.pairs[0].state is PairState.IN_PROGRESS


def test_tcp_takes_no_place_from_udp_in_a_full_check_list() -> None:
    """Eight addresses on each side: 64 pairs of UDP and as many of TCP, told first, want 100 places."""
    agent = make()
    for number in range(8):
        for base in (at(f"10.0.0.{number}:5000"), active_base(at(f"10.0.0.{number}:1").address)):
            agent.add_local_address(base, 1000.0)
    there = [at(f"10.0.1.{number}:5000", Transport.TCP) for number in range(8)]
    for number, endpoint in enumerate(there):
        agent.add_remote_candidate(candidate(endpoint, TcpType.PASSIVE), 1000.0)
        udp = Endpoint(endpoint.address, endpoint.port)
        priority = candidate_priority(CandidateType.HOST, 60000 - number)
        agent.add_remote_candidate(Candidate(CandidateType.HOST, udp, priority, "1", udp), 1000.0)
    transports = [pair.base.transport for pair in agent.pairs]
    assert transports.count(Transport.UDP) == 64
    assert transports.count(Transport.TCP) == 36
    assert transports == sorted(transports, key=lambda transport: transport is Transport.TCP)
