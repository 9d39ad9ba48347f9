"""Allocate requests."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.relay.allocate import MAX_ATTEMPTS
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import AllocationMade, DropReason
from p2ptun.relay.order import CloseRelay, OpenRelay
from p2ptun.stun.attribute import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import AddressError
from p2ptun.stun.ephemeral import EphemeralCredentials, ephemeral_credential
from p2ptun.stun.message import Method, decode_message
from p2ptun.types import Endpoint, Transport
from tests.relay.world import (
    ALICE,
    BOB,
    BOTH_FAMILIES,
    CONFIG,
    LISTENER,
    RELAY4,
    RELAY6,
    UDP_TRANSPORT,
    Client,
    World,
    code_of,
    config,
)

FAMILY4: AttributeValue = (REQUESTED_ADDRESS_FAMILY, 1)
FAMILY6: AttributeValue = (REQUESTED_ADDRESS_FAMILY, 2)
PAIR: AttributeValue = (EVEN_PORT, True)
EVEN: AttributeValue = (EVEN_PORT, False)
ONLY_IPV4 = replace(CONFIG, relay_addresses=(RELAY4,))
ONLY_IPV6 = replace(CONFIG, relay_addresses=(RELAY6,))
THREE_PORTS = replace(CONFIG, relay_addresses=(RELAY4,), lowest_port=50000, highest_port=50002)


def ask(client: Client, *attributes: AttributeValue) -> int:
    return code_of(client.ask(Method.ALLOCATE, *attributes))


def test_a_client_gets_a_relayed_address() -> None:
    world = World()
    response = Client(world).ask(Method.ALLOCATE, UDP_TRANSPORT)
    (relayed,) = response.get_all(XOR_RELAYED_ADDRESS)
    assert relayed.address == RELAY4
    assert 49152 <= relayed.port <= 65535
    assert response.get(LIFETIME) == 600
    assert response.get(XOR_MAPPED_ADDRESS) == ALICE
    assert world.sockets == {relayed}
    assert world.events == [AllocationMade(ALICE, LISTENER, (relayed,), "alice")]
    assert world.server.allocation_count == 1


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
def test_a_stream_gets_one_too(transport: Transport) -> None:
    world = World()
    world.server.add_listener(replace(LISTENER, transport=Transport.TLS))
    client = Client(world, replace(ALICE, transport=transport))
    client.local = replace(LISTENER, transport=transport)
    assert client.allocate().transport is Transport.UDP


@pytest.mark.parametrize(("asked", "granted"), [(0, 600), (1, 600), (777, 777), (3600, 3600), (99_999, 3600)])
def test_a_lifetime_is_granted_within_bounds(asked: int, granted: int) -> None:
    response = Client(World()).ask(Method.ALLOCATE, UDP_TRANSPORT, (LIFETIME, asked))
    assert response.get(LIFETIME) == granted


def test_only_udp_is_relayed() -> None:
    client = Client(World())
    assert ask(client) == 400
    assert ask(client, (REQUESTED_TRANSPORT, 6)) == 442
    assert ask(client, (REQUESTED_TRANSPORT, 0)) == 442


def test_not_fragmenting_is_an_unknown_wish() -> None:
    response = Client(World()).ask(Method.ALLOCATE, UDP_TRANSPORT, (DONT_FRAGMENT, True))
    assert code_of(response) == 420
    assert response.get(UNKNOWN_ATTRIBUTES) == (DONT_FRAGMENT.number,)


@pytest.mark.parametrize(
    ("settings", "attributes", "code"),
    [
        (CONFIG, (FAMILY4,), 0),
        (CONFIG, (FAMILY6,), 0),
        (CONFIG, ((REQUESTED_ADDRESS_FAMILY, 3),), 440),
        (ONLY_IPV4, (FAMILY6,), 440),
        (ONLY_IPV6, (), 440),
        (ONLY_IPV6, (FAMILY6,), 0),
        (CONFIG, (FAMILY4, BOTH_FAMILIES), 400),
        (CONFIG, ((ADDITIONAL_ADDRESS_FAMILY, 1),), 400),
        (CONFIG, (BOTH_FAMILIES, PAIR), 400),
        (CONFIG, (BOTH_FAMILIES, EVEN), 0),
        (CONFIG, ((RESERVATION_TOKEN, bytes(8)), PAIR), 400),
        (CONFIG, ((RESERVATION_TOKEN, bytes(8)), EVEN), 400),
        (CONFIG, ((RESERVATION_TOKEN, bytes(8)), FAMILY4), 400),
        (CONFIG, ((RESERVATION_TOKEN, bytes(8)), BOTH_FAMILIES), 400),
        (CONFIG, ((RESERVATION_TOKEN, bytes(8)),), 508),
    ],
)
def test_families_and_ports_are_asked_for(
    settings: ServerConfig, attributes: tuple[AttributeValue, ...], code: int
) -> None:
    world = World(settings)
    assert ask(Client(world), UDP_TRANSPORT, *attributes) == code
    assert world.server.allocation_count == (code == 0)
    assert world.refusals() == ([code] if code else [])


def test_ipv6_is_relayed() -> None:
    assert Client(World()).allocate(FAMILY6).address == RELAY6


def test_one_allocation_can_have_both_families() -> None:
    world = World()
    client = Client(world)
    response = client.ask(Method.ALLOCATE, UDP_TRANSPORT, BOTH_FAMILIES)
    assert [relayed.address for relayed in response.get_all(XOR_RELAYED_ADDRESS)] == [RELAY4, RELAY6]
    assert response.get(ADDRESS_ERROR_CODE) is None
    assert world.server.allocation_count == 1
    assert len(world.sockets) == 2


@pytest.mark.parametrize(
    ("settings", "missing", "reason"),
    [(ONLY_IPV4, 2, "Address Family not Supported"), (ONLY_IPV6, 1, "Address Family not Supported")],
)
def test_half_of_it_is_better_than_nothing(settings: ServerConfig, missing: int, reason: str) -> None:
    response = Client(World(settings)).ask(Method.ALLOCATE, UDP_TRANSPORT, BOTH_FAMILIES)
    assert len(response.get_all(XOR_RELAYED_ADDRESS)) == 1
    assert response.get(ADDRESS_ERROR_CODE) == AddressError(missing, 440, reason)


def test_a_family_whose_ports_are_gone_is_told() -> None:
    world = World(replace(CONFIG, lowest_port=50000, highest_port=50000))
    Client(world, BOB, "bob", "hidden").allocate(FAMILY6)
    response = Client(world).ask(Method.ALLOCATE, UDP_TRANSPORT, BOTH_FAMILIES)
    assert response.get_all(XOR_RELAYED_ADDRESS) == (Endpoint(RELAY4, 50000),)
    assert response.get(ADDRESS_ERROR_CODE) == AddressError(2, 508, "Insufficient Capacity")


def test_a_request_that_comes_again_gets_the_same_answer() -> None:
    world = World()
    client = Client(world)
    relayed = client.allocate()
    again = client.signed.encode()
    (transmit,) = client.deliver(again)
    response = client.judge(transmit)
    assert response is not None
    assert response.get(XOR_RELAYED_ADDRESS) == relayed
    assert world.server.allocation_count == 1
    assert len(world.events) == 1


def test_another_request_from_there_is_a_mismatch() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    assert ask(client, UDP_TRANSPORT) == 437
    assert ask(Client(world, ALICE, "bob", "hidden"), UDP_TRANSPORT) == 437
    assert world.server.allocation_count == 1


def test_nobody_else_gets_the_answer_that_was_given() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    thief = Client(world, ALICE, "bob", "hidden")
    assert thief.refresh().attributes  # lets it learn realm and nonce
    thief.signed = thief.signer.sign(
        replace(client.signed.message, attributes=(UDP_TRANSPORT,)),
    )
    (transmit,) = thief.deliver(thief.signed.encode())
    assert code_of(decode_message(transmit.payload)) == 437


def test_an_answer_waits_for_the_socket() -> None:
    world = World()
    client = Client(world)
    client.refresh()  # a challenge and a mismatch: it knows realm and nonce now
    world.held = []
    request = client.sign(Method.ALLOCATE, UDP_TRANSPORT)
    assert client.deliver(request) == []
    assert client.deliver(request) == []
    assert world.server.drops[DropReason.UNFINISHED] == 1
    pending = client.signed
    assert ask(client, UDP_TRANSPORT) == 437
    client.signed = pending
    (transmit,) = world.release()
    response = client.judge(transmit)
    assert response is not None
    assert code_of(response) == 0
    assert world.server.allocation_count == 1


def test_a_port_that_somebody_else_has_is_replaced() -> None:
    world = World()
    world.refused_ports = MAX_ATTEMPTS - 1
    Client(world).allocate()
    opened = [order.relayed for order in world.orders if isinstance(order, OpenRelay)]
    assert len(set(opened)) == len(opened) == MAX_ATTEMPTS
    assert world.server.usage().ports == 1


@pytest.mark.parametrize("kind", [(), (EVEN,), (PAIR,)])
def test_too_many_refused_ports_are_no_capacity(kind: tuple[AttributeValue, ...]) -> None:
    world = World()
    world.refused_ports = MAX_ATTEMPTS
    client = Client(world)
    assert ask(client, UDP_TRANSPORT, *kind) == 508
    assert world.server.usage().ports == 0
    assert world.server.allocation_count == 0
    client.allocate()


def test_ports_run_out() -> None:
    world = World(THREE_PORTS)
    clients = [Client(world, Endpoint(ALICE.address, port)) for port in (1, 2, 3, 4)]
    for client in clients[:3]:
        client.allocate()
    assert ask(clients[3], UDP_TRANSPORT) == 508
    clients[0].refresh(0)
    assert clients[3].allocate() == clients[0].relayed[0]


def test_an_even_port_with_the_next_one_kept() -> None:
    world = World(THREE_PORTS)
    first, second = Client(world), Client(world, BOB)
    response = first.ask(Method.ALLOCATE, UDP_TRANSPORT, PAIR)
    token = response.get(RESERVATION_TOKEN)
    assert token is not None
    assert response.get(XOR_RELAYED_ADDRESS) == Endpoint(RELAY4, 50000)
    assert ask(Client(world, Endpoint(BOB.address, 9)), UDP_TRANSPORT, PAIR) == 508
    assert second.allocate((RESERVATION_TOKEN, token)) == Endpoint(RELAY4, 50001)
    third = Client(world, Endpoint(BOB.address, 9))
    assert ask(third, UDP_TRANSPORT, (RESERVATION_TOKEN, token)) == 508  # it was used


def test_an_even_port_alone() -> None:
    world = World(THREE_PORTS)
    ports = {Client(world, Endpoint(ALICE.address, port)).allocate(EVEN).port for port in (1, 2)}
    assert ports == {50000, 50002}
    assert ask(Client(world, BOB), UDP_TRANSPORT, EVEN) == 508


def test_a_kept_port_is_for_its_user_and_for_thirty_seconds() -> None:
    world = World(THREE_PORTS)
    token = Client(world).ask(Method.ALLOCATE, UDP_TRANSPORT, PAIR).get(RESERVATION_TOKEN)
    assert token is not None
    kept: AttributeValue = (RESERVATION_TOKEN, token)
    assert ask(Client(world, BOB, "bob", "hidden"), UDP_TRANSPORT, kept) == 508
    assert world.server.usage().ports == 2
    world.sleep(31.0)
    assert world.server.usage().ports == 1
    assert ask(Client(world, BOB), UDP_TRANSPORT, kept) == 508


def test_a_kept_port_that_can_not_be_bound_is_given_up() -> None:
    world = World(THREE_PORTS)
    token = Client(world).ask(Method.ALLOCATE, UDP_TRANSPORT, PAIR).get(RESERVATION_TOKEN)
    assert token is not None
    world.refused_ports = 1
    assert ask(Client(world, BOB), UDP_TRANSPORT, (RESERVATION_TOKEN, token)) == 508
    assert world.server.usage().ports == 1


def test_a_kept_port_counts_against_the_quota() -> None:
    world = World(config(user_allocations=2))
    client = Client(world)
    token = client.ask(Method.ALLOCATE, UDP_TRANSPORT, PAIR).get(RESERVATION_TOKEN)
    assert token is not None
    assert ask(Client(world, BOB), UDP_TRANSPORT) == 486
    Client(world, BOB).allocate((RESERVATION_TOKEN, token))
    assert ask(Client(world, Endpoint(BOB.address, 2)), UDP_TRANSPORT) == 486


def test_a_token_that_may_not_be_used_here_gives_its_port_back() -> None:
    world = World(config(address_allocations=2))
    token = Client(world).ask(Method.ALLOCATE, UDP_TRANSPORT, PAIR).get(RESERVATION_TOKEN)
    assert token is not None
    for port in (1, 2):
        Client(world, Endpoint(BOB.address, port), "bob", "hidden").allocate()
    assert ask(Client(world, BOB), UDP_TRANSPORT, (RESERVATION_TOKEN, token)) == 486
    assert world.server.usage().ports == 3


@pytest.mark.parametrize(
    ("limits", "code"), [({"user_allocations": 1}, 486), ({"address_allocations": 1}, 486), ({"allocations": 1}, 508)]
)
def test_quotas_hold_until_an_allocation_ends(limits: dict[str, int], code: int) -> None:
    world = World(config(**limits))
    first, second = Client(world), Client(world, Endpoint(ALICE.address, 2))
    first.allocate()
    assert ask(second, UDP_TRANSPORT) == code
    assert code_of(first.refresh(0)) == 0
    second.allocate()


def test_quotas_hold_while_sockets_are_being_opened() -> None:
    world = World(config(user_allocations=1))
    first, second = Client(world), Client(world, BOB)
    first.refresh()
    world.held = []
    assert first.deliver(first.sign(Method.ALLOCATE, UDP_TRANSPORT)) == []
    assert ask(second, UDP_TRANSPORT) == 486


@pytest.mark.parametrize("kind", [(), (PAIR,)])
@pytest.mark.parametrize("is_opened", [True, False])
def test_a_client_that_hung_up_gets_nothing(is_opened: bool, kind: tuple[AttributeValue, ...]) -> None:
    world = World()
    client = Client(world, replace(ALICE, transport=Transport.TCP))
    client.refresh()
    world.held = []
    client.deliver(client.sign(Method.ALLOCATE, UDP_TRANSPORT, *kind))
    world.server.connection_closed(client.endpoint, client.local, world.now)
    world.refused_ports = 0 if is_opened else 1
    assert world.release() == []
    assert world.sockets == set()
    assert world.server.usage().ports == 0
    assert any(isinstance(order, CloseRelay) for order in world.orders) is is_opened
    client.allocate()


def test_orders_are_answered_once_and_by_their_number() -> None:
    world = World()
    client = Client(world)
    client.refresh()
    world.held = []
    client.deliver(client.sign(Method.ALLOCATE, UDP_TRANSPORT))
    (order,) = world.held
    with pytest.raises(LocalProtocolError):
        world.server.relay_opened(order.order_id, Endpoint(IPv4Address("203.0.113.1"), 1), world.now)
    with pytest.raises(LocalProtocolError):
        world.server.relay_opened(order.order_id + 1, order.relayed, world.now)
    world.release()
    with pytest.raises(LocalProtocolError):
        world.server.relay_refused(order.order_id, world.now)


def test_no_port_at_all_is_no_capacity_at_once() -> None:
    world = World(replace(CONFIG, relay_addresses=(RELAY4,), lowest_port=50001, highest_port=50001))
    assert ask(Client(world), UDP_TRANSPORT, EVEN) == 508
    assert world.orders == []


def test_a_client_gets_its_address_back_after_a_restart_of_both_sides() -> None:
    """Its port is a new one, and so is the expiry in its user name; its label and its address are the same."""
    settings = replace(CONFIG, port_key=b"key")

    def allocate(expires_at: int, port: int, label: str = "bob") -> Endpoint:
        world = World(settings, EphemeralCredentials("hush", lambda: 0.0), seed=port)
        credential = ephemeral_credential("hush", label, expires_at)
        return Client(world, replace(ALICE, port=port), credential.username, credential.password).allocate()

    first = allocate(100, 40000)
    assert allocate(200, 40001) == first
    assert allocate(100, 40000, "eve") != first
