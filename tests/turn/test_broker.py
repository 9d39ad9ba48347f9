"""Servers are raced, lost ones replaced, old allocations renewed; nothing is tried for ever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptun.stun.attribute import ALTERNATE_DOMAIN, ALTERNATE_SERVER, LIFETIME, XOR_RELAYED_ADDRESS, AttributeValue
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import Integrity
from p2ptun.stun.message import Message, Method, success_response
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import (
    CredentialWanted,
    LossReason,
    PeerRefused,
    Problem,
    RelayGained,
    RelayLost,
    ServerFailed,
)
from p2ptun.turn.server import Server
from p2ptun.turn.status import AllocationState
from p2ptun.types import Endpoint, SendError, Transport

from .world import ALICE, MAPPED, OTHER_PEER, PEER, START, Relay, World, refuse, server_at

UDP, TCP, TLS = (server_at("203.0.113.1", transport, name="one.example") for transport in Transport)
SECOND = server_at("203.0.113.2", name="two.example")
SECOND_TCP = server_at("203.0.113.2", Transport.TCP, name="two.example")
THIRD = server_at("203.0.113.3", name="three.example")
WRONG = LongTermCredential("alice", "wrong")


def relay(server: Server, number: int = 7) -> Relay:
    return Relay(server.endpoint, [Endpoint.of(f"203.0.113.{number}0", 50000)])


def at(number: int, count: int = 0) -> Endpoint:
    return Endpoint.of(f"203.0.113.{number}0", 50000 + count)


def gains(world: World) -> list[tuple[Server, Endpoint]]:
    return [(event.server, event.relayed) for event in world.take(RelayGained)]


def tokens(world: World) -> list[int]:
    return sorted(token.port for token in world.sockets)


# The race


def test_one_server_is_asked_at_once() -> None:
    world = World(relay(UDP))
    world.add(UDP)
    assert world.events == [RelayGained(at(7), UDP, MAPPED)]
    assert world.pool.is_settled


def test_udp_is_tried_before_tcp_before_tls_250_ms_apart() -> None:
    world = World()
    world.add(TLS, TCP, UDP)
    world.advance(1)
    assert [order.server for order in world.opened] == [UDP, TCP, TLS]
    assert [moment - START for moment in world.opened_at] == pytest.approx([0, 0.25, 0.5])


def test_a_stream_that_is_named_first_waits_a_moment_for_better_ones() -> None:
    world = World()
    world.add(TLS, end=False)
    world.advance(0.04)
    assert world.opened == []
    world.advance(0.02)
    assert [order.server for order in world.opened] == [TLS]


def test_the_first_transport_that_works_wins_and_the_others_are_closed() -> None:
    world = World(relay(TCP))
    world.add(UDP, TCP, TLS)
    world.advance(1)
    assert gains(world) == [(TCP, at(7))]
    assert [order.server for order in world.opened] == [UDP, TCP]
    assert tokens(world) == [2]
    assert world.pool.is_settled


def test_after_a_failure_the_next_is_tried_at_once() -> None:
    world = World(relay(TCP))
    world.add(UDP, TCP)
    world.pool.record_send_error(world.opened[0].token, UDP.endpoint, SendError.UNREACHABLE, START)
    world.flush()
    assert gains(world) == [(TCP, at(7))]
    assert world.now == START


def test_two_servers_serve_and_a_third_stays_in_reserve() -> None:
    world = World(relay(UDP, 7), relay(SECOND, 8), relay(THIRD, 9))
    world.add(UDP, SECOND, THIRD)
    world.advance(10)
    assert gains(world) == [(UDP, at(7)), (SECOND, at(8))]
    assert len(world.opened) == 2
    assert world.pool.is_settled
    assert world.pool.allocations[-1].state is AllocationState.STANDBY
    assert world.pool.allocations[-1].server == THIRD


def test_an_attempt_that_is_not_needed_any_more_is_given_up() -> None:
    world = World(relay(SECOND, 8), relay(THIRD, 9))
    world.add(UDP, SECOND, THIRD)
    world.advance(0.6)
    assert gains(world) == [(SECOND, at(8)), (THIRD, at(9))]
    assert tokens(world) == [2, 3]


def test_a_silent_host_is_given_up_and_tells_once() -> None:
    world = World()
    world.add(UDP, TCP)
    world.advance(39)
    settled_before = world.pool.is_settled
    world.advance(1)
    assert (settled_before, world.pool.is_settled) == (False, True)
    assert world.take(ServerFailed) == [ServerFailed(UDP, Problem.NO_ANSWER, None)]
    world.advance(600)
    assert world.take(ServerFailed) == []
    assert 6 < len(world.opened) < 30
    assert world.pool.allocations[0].problem in (Problem.NO_ANSWER, None)


def test_one_who_fails_tells_the_most_telling_problem() -> None:
    busy = relay(TCP)
    busy.scripts[Method.ALLOCATE] = refuse(Code.INSUFFICIENT_CAPACITY)
    world = World(busy)
    world.add(UDP, TCP)
    world.pool.record_send_error(world.opened[0].token, UDP.endpoint, SendError.UNREACHABLE, START)
    world.flush()
    assert world.events == [ServerFailed(TCP, Problem.NO_CAPACITY, 508)]
    (status,) = world.pool.allocations
    assert (status.state, status.problem, status.code) == (AllocationState.FAILED, Problem.NO_CAPACITY, 508)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (SendError.UNREACHABLE, Problem.UNREACHABLE),
        (SendError.REFUSED_BY_FIREWALL, Problem.UNREACHABLE),
        (SendError.TIMED_OUT, Problem.NO_ANSWER),
        (SendError.REFUSED, Problem.CONNECTION_REFUSED),
        (SendError.UNTRUSTED, Problem.UNTRUSTED),
        (SendError.THROUGH_TUNNEL, Problem.THROUGH_TUNNEL),
        (SendError.OTHER, Problem.CONNECTION_LOST),
    ],
)
def test_errors_of_sockets_are_problems(error: SendError, problem: Problem) -> None:
    world = World()
    world.add(TLS)
    world.pool.record_send_error(world.opened[0].token, TLS.endpoint, error, START)
    world.flush()
    assert world.events == [ServerFailed(TLS, problem, None)]
    assert world.sockets == {}


@pytest.mark.parametrize("error", [SendError.WOULD_BLOCK, SendError.NO_BUFFERS, SendError.TOO_LARGE])
def test_passing_errors_change_nothing(error: SendError) -> None:
    world = World()
    world.add(TLS)
    world.pool.record_send_error(world.opened[0].token, TLS.endpoint, error, START)
    world.flush()
    assert world.events == []
    assert tokens(world) == [1]


def test_an_icmp_error_lets_others_begin_and_a_second_one_counts() -> None:
    world = World(relay(TCP))
    world.add(UDP, end=False)
    world.pool.record_send_error(world.opened[0].token, UDP.endpoint, SendError.REFUSED, START)
    world.flush()
    assert tokens(world) == [1]
    world.pool.record_send_error(world.opened[0].token, UDP.endpoint, SendError.REFUSED, START)
    world.flush()
    assert world.take(ServerFailed) == [ServerFailed(UDP, Problem.CONNECTION_REFUSED, None)]
    world.add(TCP)
    world.advance(0.3)
    assert gains(world) == [(TCP, at(7))]


def test_back_off_doubles_up_to_two_minutes() -> None:
    world = World()
    world.add(TCP)
    for _ in range(2000):
        for token in list(world.sockets):
            world.pool.record_send_error(token, TCP.endpoint, SendError.REFUSED, world.now)
        world.flush()
        world.advance(0.5)
    pauses = [later - earlier for earlier, later in pairwise(world.opened_at)]
    for number, pause in enumerate(pauses):
        shortest = min(120.0, 2.0**number)
        assert shortest <= pause <= min(120.0, shortest * 1.25) + 0.51
    assert len(pauses) > 10
    assert world.events == [ServerFailed(TCP, Problem.CONNECTION_REFUSED, None)]


# Refusals


def test_a_wrong_password_ends_the_round_for_every_transport() -> None:
    world = World(relay(UDP), relay(TCP))
    world.add(UDP, TCP, credential=WRONG)
    world.advance(30)
    assert world.events == [ServerFailed(UDP, Problem.WRONG_CREDENTIALS, 401)]
    assert len(world.opened) == 1
    world.advance(3600)
    assert 5 < len(world.opened) < 12
    assert len(world.events) == 1
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.flush()
    assert gains(world) == [(UDP, at(7))]


def test_a_wrong_password_closes_attempts_over_other_transports() -> None:
    slow = relay(UDP)
    world = World(slow, relay(TCP))
    slow.is_down = True
    world.add(UDP, TCP, credential=WRONG)
    world.advance(0.3)
    assert world.events == [ServerFailed(TCP, Problem.WRONG_CREDENTIALS, 401)]
    assert world.sockets == {}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (Code.FORBIDDEN, Problem.FORBIDDEN),
        (Code.ALLOCATION_QUOTA_REACHED, Problem.QUOTA_REACHED),
        (Code.INSUFFICIENT_CAPACITY, Problem.NO_CAPACITY),
        (Code.UNSUPPORTED_TRANSPORT_PROTOCOL, Problem.NO_UDP),
        (Code.WRONG_CREDENTIALS, Problem.WRONG_CREDENTIALS),
    ],
)
def test_after_a_clear_no_another_server_is_asked_and_this_one_left_alone(code: Code, problem: Problem) -> None:
    full = relay(UDP)
    full.scripts[Method.ALLOCATE] = refuse(code)
    world = World(full, relay(SECOND, 8))
    world.add(UDP, SECOND)
    assert gains(world) == [(SECOND, at(8))]
    assert world.take(ServerFailed) == [ServerFailed(UDP, problem, int(code))]
    world.advance(59)
    assert len(full.accepted(Method.ALLOCATE)) == 1
    full.scripts.clear()
    world.advance(20)
    assert gains(world) == [(UDP, at(7))]


def test_an_error_of_the_server_is_retried_soon() -> None:
    broken = relay(UDP)
    broken.scripts[Method.ALLOCATE] = refuse(Code.SERVER_ERROR)
    world = World(broken)
    world.add(UDP)
    broken.scripts.clear()
    world.advance(2)
    assert gains(world) == [(UDP, at(7))]


def test_a_port_that_is_taken_is_left_for_another() -> None:
    taken = relay(UDP)
    left = [2]

    def answer(request: Message, integrity: Integrity | None) -> Message | None:
        left[0] -= 1
        if left[0] >= 0:
            return error_response(request, Code.ALLOCATION_MISMATCH)
        return taken.answer(request, integrity)

    taken.scripts[Method.ALLOCATE] = answer
    world = World(taken)
    world.add(UDP)
    assert gains(world) == [(UDP, at(7))]
    assert [order.token.port for order in world.opened] == [1, 2, 3]
    assert world.now == START


def test_not_every_port_can_be_taken() -> None:
    mad = relay(UDP)
    mad.scripts[Method.ALLOCATE] = refuse(Code.ALLOCATION_MISMATCH)
    world = World(mad)
    world.add(UDP)
    assert world.events == [ServerFailed(UDP, Problem.REFUSED, 437)]
    assert len(world.opened) == 4


def test_a_server_that_gives_the_address_of_another_is_not_believed() -> None:
    liar = relay(SECOND, 7)
    world = World(relay(UDP, 7), liar)
    world.add(UDP, SECOND)
    assert gains(world) == [(UDP, at(7))]
    assert world.take(ServerFailed) == [ServerFailed(SECOND, Problem.UNUSABLE, None)]
    assert world.pool.owns(at(7))
    assert liar.requests(Method.REFRESH)[-1].get(LIFETIME) == 0


def test_a_server_that_gives_the_address_of_our_own_socket_is_not_believed() -> None:
    """What leaves from that socket would all go to the server, and the socket would go with the allocation."""
    world = World(relay(UDP, 7))
    world.pool.occupy(at(7), world.now)
    world.add(UDP)
    assert world.events == [ServerFailed(UDP, Problem.UNUSABLE, None)]
    assert not world.pool.owns(at(7))
    other = World(relay(UDP, 7))
    other.pool.occupy(at(7), other.now)
    other.pool.vacate(at(7))
    other.add(UDP)
    assert gains(other) == [(UDP, at(7))]


def test_an_address_that_a_socket_of_ours_takes_later_was_never_relayed() -> None:
    world = World(relay(UDP, 7))
    world.add(UDP)
    assert world.pool.owns(at(7))
    world.pool.occupy(at(7), world.now)
    assert not world.pool.owns(at(7))
    world.flush()
    assert world.take(RelayLost) == [RelayLost(at(7), LossReason.TAKEN)]
    world.advance(60.0)
    assert not world.pool.owns(at(7))


# Redirections


def redirecting(server: Server, there: Endpoint, *more: AttributeValue) -> Relay:
    made = relay(server)
    made.scripts[Method.ALLOCATE] = refuse(Code.TRY_ALTERNATE, (ALTERNATE_SERVER, there), *more)
    return made


def test_a_redirection_is_followed_with_the_same_credential() -> None:
    world = World(redirecting(UDP, SECOND.endpoint), relay(SECOND, 8))
    world.add(UDP)
    (gained,) = world.take(RelayGained)
    assert gained.server == Server(SECOND.endpoint, "one.example")
    assert gained.relayed == at(8)
    assert tokens(world) == [2]


def test_a_redirection_may_name_what_the_certificate_has_to() -> None:
    tls = server_at("203.0.113.2", Transport.TLS)
    world = World(redirecting(TLS, tls.endpoint, (ALTERNATE_DOMAIN, "two.example")), relay(tls, 8))
    world.add(TLS)
    assert world.take(RelayGained)[0].server == Server(tls.endpoint, "two.example")
    assert world.opened[-1].server.name == "two.example"


def test_circles_are_noticed() -> None:
    world = World(redirecting(UDP, SECOND.endpoint), redirecting(SECOND, UDP.endpoint))
    world.add(UDP)
    assert world.events == [ServerFailed(UDP, Problem.LOOP, 300)]
    assert len(world.opened) == 2


def test_chains_are_bounded() -> None:
    servers = [server_at(f"203.0.113.{number}") for number in range(1, 9)]
    relays = [redirecting(here, there.endpoint) for here, there in pairwise(servers)]
    world = World(*relays)
    world.add(servers[0])
    assert world.events == [ServerFailed(servers[0], Problem.LOOP, 300)]
    assert len(world.opened) == 5


# Loss


def test_the_next_server_takes_over_at_once() -> None:
    first = relay(UDP, 7)
    world = World(first, relay(SECOND, 8), config=PoolConfig(max_allocations=1))
    world.add(UDP, SECOND)
    world.advance(100)
    first.is_down = True
    world.events.clear()
    world.pool.probe(at(7), world.now)
    world.flush()
    lost_at = world.now
    world.advance(2.6)
    assert world.events == [RelayLost(at(7), LossReason.SILENT), RelayGained(at(8), SECOND, MAPPED)]
    assert not world.pool.owns(at(7))
    first.is_down = False
    world.advance(600)
    assert world.now > lost_at
    assert world.take(RelayGained) == [RelayGained(at(8), SECOND, MAPPED)]


@pytest.mark.parametrize("server", [TCP, TLS])
@pytest.mark.parametrize("error", [SendError.OTHER, SendError.REFUSED, SendError.TIMED_OUT])
def test_a_lost_connection_is_the_end_at_once(server: Server, error: SendError) -> None:
    world = World(relay(server))
    world.add(server)
    world.events.clear()
    world.pool.record_send_error(next(iter(world.sockets)), server.endpoint, error, world.now)
    world.flush()
    assert world.events == [RelayLost(at(7), LossReason.CONNECTION_LOST), RelayGained(at(7, 1), server, MAPPED)]
    assert tokens(world) == [2]


def test_a_server_that_hangs_up_again_and_again_is_not_asked_all_the_time() -> None:
    world = World(relay(TCP))
    world.add(TCP)
    for _ in range(50):
        for token in list(world.sockets):
            world.pool.record_send_error(token, TCP.endpoint, SendError.OTHER, world.now)
        world.flush()
        world.advance(1)
    assert len(world.opened) < 10


def test_an_icmp_error_makes_us_ask_the_server_but_not_all_the_time() -> None:
    there = relay(UDP)
    world = World(there)
    world.add(UDP)
    token = next(iter(world.sockets))
    for _ in range(3):
        world.pool.record_send_error(token, UDP.endpoint, SendError.REFUSED, world.now)
        world.flush()
    assert len(there.requests(Method.REFRESH)) == 1
    world.advance(1)
    world.pool.record_send_error(token, UDP.endpoint, SendError.UNREACHABLE, world.now)
    world.flush()
    assert len(there.requests(Method.REFRESH)) == 2
    assert world.pool.owns(at(7))


def test_a_socket_whose_address_is_gone_is_replaced() -> None:
    world = World(relay(UDP))
    world.add(UDP)
    world.pool.record_send_error(next(iter(world.sockets)), UDP.endpoint, SendError.SOURCE_GONE, world.now)
    world.flush()
    assert [type(event) for event in world.events] == [RelayGained, RelayLost, RelayGained]


def test_a_server_that_was_restarted_is_asked_at_once() -> None:
    there = relay(UDP)
    world = World(there)
    world.add(UDP)
    world.advance(100)
    world.events.clear()
    there.scripts[Method.REFRESH] = refuse(Code.ALLOCATION_MISMATCH)
    world.pool.probe(at(7), world.now)
    world.flush()
    assert world.events == [RelayLost(at(7), LossReason.FORGOTTEN), RelayGained(at(7, 1), UDP, MAPPED)]


def test_a_server_that_gives_the_same_address_again_has_forgotten_the_first() -> None:
    there = relay(UDP)
    world = World(there)
    world.add(UDP)
    there.made = 0
    world.events.clear()
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.flush()
    assert world.events == [RelayLost(at(7), LossReason.FORGOTTEN), RelayGained(at(7), UDP, MAPPED)]
    assert world.pool.owns(at(7))
    assert tokens(world) == [2]


def test_credentials_that_stopped_working() -> None:
    there = relay(UDP)
    world = World(there)
    world.add(UDP)
    world.advance(100)
    there.credentials = {"alice": "another"}
    there.restart(b"anew")
    world.events.clear()
    world.pool.probe(at(7), world.now)
    world.flush()
    world.advance(30)
    assert world.events == [RelayLost(at(7), LossReason.CREDENTIALS)]
    world.advance(60)
    assert world.take(ServerFailed) == [ServerFailed(UDP, Problem.WRONG_CREDENTIALS, 401)]


# Replacements


def expiring(world: World, seconds: float) -> None:
    world.pool.add_server(UDP, ALICE, world.now + seconds, world.now)
    world.pool.end_of_servers(world.now)
    world.flush()


def test_credentials_are_renewed_by_a_second_allocation() -> None:
    world = World(relay(UDP))
    expiring(world, 3600)
    world.pool.permit(PEER, world.now)
    world.flush()
    world.events.clear()
    world.advance(3299)
    assert world.events == []
    world.advance(2)
    assert world.take(CredentialWanted) == [CredentialWanted("one.example")]
    world.pool.set_credential("one.example", ALICE, world.now + 3600, world.now)
    world.flush()
    assert world.take(RelayGained) == [RelayGained(at(7, 1), UDP, MAPPED)]
    assert world.pool.owns(at(7))
    assert {status.state for status in world.pool.allocations} == {AllocationState.READY, AllocationState.REPLACED}
    world.pool.permit(OTHER_PEER, world.now)
    world.flush()
    for relayed in (at(7), at(7, 1)):
        for peer in (PEER, OTHER_PEER):
            assert world.pool.channel(relayed, peer)
    world.advance(19)
    assert world.events == []
    world.advance(2)
    assert world.take(RelayLost) == [RelayLost(at(7), LossReason.REPLACED)]
    assert tokens(world) == [1, 2], "a peer that doesn't know yet is heard"
    assert world.pool.owns(at(7))
    world.advance(10)
    assert tokens(world) == [2]
    assert world.events == []


def test_a_renewal_that_fails_leaves_the_old_one_alone() -> None:
    there = relay(UDP)
    world = World(there)
    expiring(world, 3600)
    world.events.clear()
    there.scripts[Method.ALLOCATE] = refuse(Code.ALLOCATION_QUOTA_REACHED)
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.flush()
    assert world.events == [ServerFailed(UDP, Problem.QUOTA_REACHED, 486)]
    assert world.pool.owns(at(7))
    there.scripts.clear()
    world.advance(80)
    assert world.take(RelayGained) == [RelayGained(at(7, 1), UDP, MAPPED)]


def test_a_credential_that_never_comes_is_asked_for_again() -> None:
    world = World(relay(UDP))
    expiring(world, -1)
    world.advance(61)
    assert len(world.take(CredentialWanted)) == 3


def test_a_credential_that_is_refused_is_asked_for() -> None:
    world = World(relay(UDP))
    world.pool.add_server(UDP, WRONG, world.now + 3600, world.now)
    world.flush()
    assert world.events == [ServerFailed(UDP, Problem.WRONG_CREDENTIALS, 401)]
    world.advance(0.1)
    world.pool.handle_timeout(world.now)
    world.flush()
    assert world.take(CredentialWanted) == [CredentialWanted("one.example")]


def test_what_serves_is_lost_while_its_successor_is_sought() -> None:
    there = relay(UDP)
    world = World(there, relay(TCP, 8))
    world.add(TCP)
    world.add(UDP, end=False)  # better, so it is tried at once
    there.is_down = True
    world.events.clear()
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.flush()
    token = world.opened[0].token
    world.pool.record_send_error(token, TCP.endpoint, SendError.OTHER, world.now)
    world.flush()
    world.advance(1)
    assert world.take(RelayLost)[0].reason is LossReason.CONNECTION_LOST
    assert world.take(RelayGained)[-1].server == TCP


def test_a_better_transport_is_sought_in_the_background() -> None:
    udp = relay(UDP, 8)
    udp.is_down = True
    world = World(udp, relay(TCP, 7))
    world.add(UDP, TCP)
    world.advance(1)
    assert gains(world) == [(TCP, at(7))]
    world.advance(600)
    attempts = [order for order in world.opened if order.server == UDP]
    assert 3 <= len(attempts) <= 8
    assert world.events == []
    udp.is_down = False
    world.advance(350)
    assert world.events == [RelayGained(at(8), UDP, MAPPED), RelayLost(at(7), LossReason.REPLACED)]
    world.advance(3600)
    assert len([order for order in world.opened if order.server == UDP]) <= len(attempts) + 2


def test_what_serves_is_lost_during_an_upgrade() -> None:
    udp = relay(UDP, 8)
    udp.is_down = True
    world = World(udp, relay(TCP, 7))
    world.add(UDP, TCP)
    world.advance(31)
    assert [order.server for order in world.opened] == [UDP, TCP, UDP]
    world.events.clear()
    world.pool.record_send_error(world.opened[1].token, TCP.endpoint, SendError.OTHER, world.now)
    world.flush()
    assert world.events == [RelayLost(at(7), LossReason.CONNECTION_LOST), RelayGained(at(7, 1), TCP, MAPPED)]


def test_a_replaced_one_may_end_earlier_without_harm() -> None:
    world = World(relay(TCP))
    world.add(TCP)
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.flush()
    world.events.clear()
    world.pool.record_send_error(world.opened[0].token, TCP.endpoint, SendError.OTHER, world.now)
    world.flush()
    world.advance(100)
    assert world.events == [RelayLost(at(7), LossReason.CONNECTION_LOST)]
    assert len(world.opened) == 2


def test_a_peer_that_is_refused_is_told_in_our_words() -> None:
    there = relay(UDP)
    there.scripts[Method.CREATE_PERMISSION] = refuse(Code.FORBIDDEN)
    world = World(there)
    world.add(UDP)
    world.pool.permit(PEER, world.now)
    world.flush()
    assert world.take(PeerRefused) == [PeerRefused(at(7), PEER, 403, "Forbidden")]


def test_sockets_that_are_not_open_yet_send_nothing() -> None:
    world = World(relay(UDP))
    world.pool.add_server(UDP, ALICE, None, world.now)
    assert world.pool.next_transmit() is None
    assert world.pool.next_order() is not None
    assert world.pool.next_transmit() is not None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3), st.floats(0, 200)), max_size=25), st.integers())
def test_whatever_happens_timeouts_are_ahead_and_sockets_bounded(
    steps: list[tuple[int, int, float]], seed: int
) -> None:
    servers = [UDP, TCP, SECOND, SECOND_TCP]
    relays = [relay(server, 7 if server.name == "one.example" else 8) for server in servers]
    for number, one in enumerate(relays):
        one.made = number * 1000
    world = World(*relays, seed=seed)
    world.add(*servers)
    errors = [SendError.REFUSED, SendError.OTHER, SendError.SOURCE_GONE, SendError.WOULD_BLOCK]
    for action, which, seconds in steps:
        apply(world, relays, action, which, errors[which])
        world.flush()
        world.advance(seconds)
        assert len(world.sockets) <= 12
        assert all(world.pool.is_socket(token) for token in world.sockets)
    for one in relays:
        one.is_down = False
        one.scripts.clear()
        one.credentials = {"alice": "secret"}
        one.restart(b"at last")
    world.pool.set_credential("one.example", ALICE, None, world.now)
    world.pool.set_credential("two.example", ALICE, None, world.now)
    world.flush()
    world.advance(700)
    serving = [one for one in world.pool.allocations if one.state is AllocationState.READY]
    assert {status.server.name for status in serving} == {"one.example", "two.example"}
    assert all(world.pool.owns(relayed) for status in serving for relayed in status.relayed)


def apply(world: World, relays: list[Relay], action: int, which: int, error: SendError) -> None:
    pool, now = world.pool, world.now
    match action:
        case 0:
            relays[which].is_down = not relays[which].is_down
        case 1:
            relays[which].restart(bytes([which]))
        case 2:
            relays[which].scripts[Method.ALLOCATE] = refuse(
                [Code.ALLOCATION_MISMATCH, Code.SERVER_ERROR, Code.UNAUTHENTICATED, Code.FORBIDDEN][which]
            )
        case 3:
            relays[which].scripts.clear()
        case 4:
            pool.set_credential("one.example", [ALICE, WRONG][which % 2], now + 1000 * which, now)
        case 5:
            pool.reset(now)
        case 6:
            for token in list(world.sockets)[which:]:
                pool.record_send_error(token, world.sockets[token].endpoint, error, now)
        case 7:
            for status in pool.allocations:
                for relayed in status.relayed:
                    pool.probe(relayed, now)
        case 8:
            pool.permit(Endpoint(PEER.address, 1 + which), now)
        case 9:
            pool.forget(Endpoint(PEER.address, 1 + which), now)
        case 10:
            relays[which].scripts[Method.REFRESH] = refuse(Code.ALLOCATION_MISMATCH)
        case _:
            relays[which].scripts[Method.ALLOCATE] = lambda request, _: success_response(
                request, (XOR_RELAYED_ADDRESS, at(9))
            )
