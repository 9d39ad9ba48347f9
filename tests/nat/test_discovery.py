"""The machine in the simulated network: every NAT, every loss, every lie."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.nat.behavior import Allocation, Filtering, Mapping, NatBehavior, PortAllocation
from p2ptun.nat.discovery import BASES, MAX_SERVERS, PATIENCE, Discovery
from p2ptun.nat.drop import DropReason
from p2ptun.nat.event import BehaviorDiscovered, ServerAnswered, ServerSilent
from p2ptun.stun.attribute import CHANGE_REQUEST, OTHER_ADDRESS, PADDING, XOR_MAPPED_ADDRESS, Attribute
from p2ptun.stun.codec import V
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message, MessageClass, decode_message, encode_message
from p2ptun.types import Endpoint, Transmit, Transport
from tests.nat.world import (
    A1,
    A2,
    INSIDE,
    LOCAL,
    NOW,
    OTHER,
    OTHER6,
    OUTSIDE,
    SECOND,
    SERVER,
    SERVER6,
    THIRD,
    Responder,
    World,
    sockets,
)
from tests.sim.nat import Behaviour, Firewall, Habit, Nat, Ports

NINE = list(product(Behaviour, Behaviour))
PATIENT = PATIENCE + 0.01
PUBLIC = "198.51.100.7"


def nat(mapping: Behaviour, filtering: Behaviour, habit: Habit | None = None) -> Nat:
    return Nat(OUTSIDE, INSIDE, mapping, filtering, habit=habit or Habit())


def edited(transmit: Transmit, attribute: Attribute[V], value: V | None) -> Transmit:
    """Set, or take away, an attribute of an answer."""
    message = decode_message(transmit.payload)
    kept = tuple(pair for pair in message.attributes if pair[0] is not attribute)
    added = () if value is None else ((attribute, value),)
    return replace(transmit, payload=encode_message(replace(message, attributes=kept + added)))


def _drop_if_changed(responder: Responder, answer: Transmit) -> Transmit | None:
    request = decode_message(responder.requests[-1].payload)
    return answer if request.get(CHANGE_REQUEST) is None else None


# What there is


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_all_nine(mapping: Behaviour, filtering: Behaviour) -> None:
    world = World(nat(mapping, filtering))
    world.serve()
    behavior = world.explore()
    assert behavior.mapping is Mapping(mapping.value)
    assert behavior.filtering is Filtering(filtering.value)
    assert behavior.has_nat is True
    assert [str(address) for address in behavior.public] == [OUTSIDE]
    assert behavior.preserves_port is False
    assert behavior.allocation == PortAllocation(Allocation.SEQUENTIAL, 1)
    assert world.took < 2


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_hairpinning(mapping: Behaviour, filtering: Behaviour) -> None:
    """Behind a dependent mapping that filters, nobody knows where to send: failure tells nothing there."""
    can_fail = Behaviour.ENDPOINT_INDEPENDENT in (mapping, filtering)
    for has_hairpin in (True, False):
        world = World(nat(mapping, filtering, Habit(has_hairpin=has_hairpin)))
        world.serve()
        assert world.explore().hairpins is (has_hairpin if can_fail else None)


@pytest.mark.parametrize("filtering", Behaviour)
def test_a_nat_that_keeps_ports(filtering: Behaviour) -> None:
    world = World(nat(Behaviour.ENDPOINT_INDEPENDENT, filtering, Habit(ports=Ports.PRESERVED)))
    world.serve()
    behavior = world.explore()
    assert behavior.preserves_port is True
    assert behavior.allocation == PortAllocation(Allocation.PRESERVING)
    assert behavior.is_predictable


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_random_ports(mapping: Behaviour, filtering: Behaviour) -> None:
    world = World(nat(mapping, filtering, Habit(ports=Ports.RANDOM)))
    world.serve()
    behavior = world.explore()
    assert behavior.mapping is Mapping(mapping.value)
    assert behavior.allocation == PortAllocation(Allocation.RANDOM)
    assert behavior.port_delta is None


def test_two_nats_in_a_row_look_like_one() -> None:
    """The harder mapping counts, and the stricter filtering."""
    home = nat(Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_DEPENDENT)
    carrier = Nat(PUBLIC, "198.51.100.0/30", Behaviour.ADDRESS_AND_PORT_DEPENDENT, Behaviour.ENDPOINT_INDEPENDENT)
    world = World(home, carrier)
    world.serve()
    behavior = world.explore()
    assert [str(address) for address in behavior.public] == [PUBLIC]
    assert behavior.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert behavior.filtering is Filtering.ADDRESS_DEPENDENT


def test_no_nat_at_all() -> None:
    world = World(local=PUBLIC)
    world.serve()
    behavior = world.explore()
    assert behavior.has_nat is False
    assert behavior.is_open
    assert (behavior.allocation, behavior.preserves_port, behavior.hairpins) == (None, None, None)


@pytest.mark.parametrize("filtering", Behaviour)
@pytest.mark.parametrize(
    ("inside", "local", "server", "other"),
    [("198.51.100.0/24", PUBLIC, SERVER, OTHER), ("2001:db8:1::/48", "2001:db8:1::10", SERVER6, OTHER6)],
)
def test_a_firewall(filtering: Behaviour, inside: str, local: str, server: Endpoint, other: Endpoint) -> None:
    world = World(Firewall(inside, filtering), local=local)
    world.serve(server, other)
    behavior = world.explore(server)
    assert behavior.has_nat is False
    assert behavior.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert behavior.filtering is Filtering(filtering.value)
    assert behavior.local == behavior.public[0]


def test_udp_blocked() -> None:
    world = World(nat(*NINE[0], Habit(blocked=[Transport.UDP])))
    world.serve()
    behavior = world.explore()
    assert behavior == NatBehavior(world.bases[0].address)
    assert world.events[0] == ServerSilent(SERVER, None)
    assert world.took < 2


# Fragments


def test_fragments_pass() -> None:
    world = World(nat(*NINE[8]))
    world.network.core.mtu = 9000
    world.serve()
    behavior = world.explore()
    assert (behavior.sends_fragments, behavior.receives_fragments) == (True, True)
    assert max(len(each.payload) for each in world.explorer.sent) == 1532


@pytest.mark.parametrize(
    ("drops", "expected"),
    [
        (lambda packet: packet.destination == SERVER, (False, None)),
        (lambda packet: packet.source == SERVER, (True, False)),
        (lambda packet: False, (True, True)),
    ],
)
def test_fragments_one_way(drops: object, expected: tuple[bool, bool | None]) -> None:
    assert callable(drops)
    world = World(nat(*NINE[0]), is_cut=lambda packet: len(packet.payload) > 1472 and drops(packet))
    world.network.core.mtu = 9000
    world.serve()
    behavior = world.explore()
    assert (behavior.sends_fragments, behavior.receives_fragments) == expected


def test_without_padding_nothing_is_known_of_fragments() -> None:
    world = World(nat(*NINE[0]), padding=0)
    world.serve()
    behavior = world.explore()
    assert (behavior.sends_fragments, behavior.receives_fragments) == (None, None)
    assert max(len(each.payload) for each in world.explorer.sent) < 100


def test_a_plain_server_may_just_not_like_padding() -> None:
    """That fragments pass it can show; that they don't, it can't."""
    for mtu, expected in ((9000, (True, True)), (1472, (None, None))):
        world = World(nat(*NINE[0]))
        world.network.core.mtu = mtu
        world.serve(other=None)
        behavior = world.explore()
        assert (behavior.sends_fragments, behavior.receives_fragments) == expected


def test_a_server_that_refuses_padding_has_got_it() -> None:
    def refuse(answer: Transmit) -> Transmit:
        message = decode_message(answer.payload)
        if message.get(PADDING) is None:
            return answer
        request = Message(message.method, MessageClass.REQUEST, message.transaction_id)
        return replace(answer, payload=encode_message(error_response(request, Code.UNKNOWN_ATTRIBUTE)))

    world = World(nat(*NINE[0]), is_cut=lambda packet: len(packet.payload) > 1472 and packet.source == SERVER)
    world.network.core.mtu = 9000
    world.serve(change=refuse)
    behavior = world.explore()
    assert (behavior.sends_fragments, behavior.receives_fragments) == (True, None)


def test_an_answer_without_padding_shows_one_way_only() -> None:
    world = World(nat(*NINE[0]))
    world.network.core.mtu = 9000
    world.serve(change=lambda answer: edited(answer, PADDING, None))
    behavior = world.explore()
    assert (behavior.sends_fragments, behavior.receives_fragments) == (True, None)


# Other servers than one with two addresses


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (Behaviour.ENDPOINT_INDEPENDENT, Mapping.ENDPOINT_INDEPENDENT),
        (Behaviour.ADDRESS_DEPENDENT, Mapping.DEPENDENT),
        (Behaviour.ADDRESS_AND_PORT_DEPENDENT, Mapping.DEPENDENT),
    ],
)
def test_two_plain_servers_show_the_mapping(mapping: Behaviour, expected: Mapping) -> None:
    world = World(nat(mapping, Behaviour.ENDPOINT_INDEPENDENT))
    world.serve(SERVER, None)
    world.serve(SECOND, None)
    behavior = world.explore(SERVER, SECOND)
    assert behavior.mapping is expected
    assert behavior.filtering is None
    assert behavior.allocation == PortAllocation(Allocation.SEQUENTIAL, 1)


def test_one_plain_server_shows_neither() -> None:
    world = World(nat(*NINE[0]))
    world.serve(other=None)
    behavior = world.explore()
    assert behavior.has_nat is True
    assert (behavior.mapping, behavior.filtering) == (None, None)
    assert behavior.allocation is None
    assert behavior.preserves_port is False


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_several_servers_at_once_disturb_nothing(mapping: Behaviour, filtering: Behaviour) -> None:
    world = World(nat(mapping, filtering))
    world.serve()
    world.serve(SECOND, None)
    dead = Endpoint.of("203.0.113.99", 3478)
    behavior = world.explore(dead, SECOND, SERVER)
    assert behavior.mapping is Mapping(mapping.value)
    assert behavior.filtering is Filtering(filtering.value)
    assert [type(event) for event in world.events].count(ServerAnswered) == 2
    assert ServerSilent(dead, None) in world.events


def test_a_server_before_the_nat_counts_for_nothing() -> None:
    """It sees the address inside, which is no dependence on the destination."""
    world = World(nat(*NINE[0]))
    near = Endpoint.of("192.168.1.2", 3478)
    world.serve(near, None)
    world.serve()
    behavior = world.explore(near, SERVER)
    assert behavior.has_nat is True
    assert behavior.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert [str(address) for address in behavior.public] == [OUTSIDE]


# Loss


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.25, 0.4, 0.55])
def test_loss_hides_but_never_lies(loss: float) -> None:
    known: Counter[str] = Counter()
    for seed, (mapping, filtering) in enumerate(NINE * 3):
        has_hairpin = bool(seed & 1)
        world = World(nat(mapping, filtering, Habit(has_hairpin=has_hairpin)), seed=seed, loss=loss)
        world.network.core.mtu = 9000
        world.serve()
        found = world.explore()
        story = f"seed {seed}, loss {loss}, {mapping}, {filtering}: {found}"
        vague = None if mapping is Behaviour.ENDPOINT_INDEPENDENT else Mapping.DEPENDENT
        assert found.mapping in (None, vague, Mapping(mapping.value)), story
        assert found.filtering in (None, Filtering(filtering.value)), story
        assert found.hairpins in (None, has_hairpin), story
        assert found.sends_fragments in (None, True), story
        assert found.receives_fragments in (None, True), story
        assert found.allocation in (None, PortAllocation(Allocation.SEQUENTIAL, 1)), story
        assert world.took < PATIENT, story
        known.update(mapping=found.mapping is not None, filtering=found.filtering is not None)
    if loss <= 0.1:
        assert known["mapping"] == known["filtering"] == 27


@pytest.mark.parametrize("jitter", [0.005, 0.05, 0.2])
def test_reordering_never_lies(jitter: float) -> None:
    for seed, (mapping, filtering) in enumerate(NINE):
        world = World(nat(mapping, filtering), seed=seed)
        world.network.core.jitter = jitter
        world.serve()
        found = world.explore()
        assert found.mapping is Mapping(mapping.value)
        assert found.filtering is Filtering(filtering.value)


# Lies


@pytest.mark.parametrize(
    "named",
    [
        Endpoint.of("127.0.0.1", 3479),
        Endpoint.of("192.168.1.1", 3479),
        Endpoint.of("169.254.169.254", 80),
        Endpoint.of("224.0.0.251", 5353),
        Endpoint.of("2001:db8::3", 3479),
        Endpoint.of(A1, 3479),  # not another address
        Endpoint.of(A2, 3478),  # not another port
        Endpoint.of(A2, 0),
    ],
)
def test_a_second_address_in_our_own_network_is_never_asked(named: Endpoint) -> None:
    world = World(nat(*NINE[0]))
    world.serve(change=lambda answer: edited(answer, OTHER_ADDRESS, named))
    behavior = world.explore()
    own = {Endpoint.of(OUTSIDE, port) for port in range(40000, 40020)}  # hairpinning
    assert {each.destination for each in world.explorer.sent} <= {SERVER} | own
    assert (behavior.mapping, behavior.filtering) == (None, None)
    assert isinstance(world.events[0], ServerAnswered)
    assert world.events[0].other is None


def test_a_victim_elsewhere_gets_next_to_nothing() -> None:
    """A second address may be anybody's. What goes there is small, and less than what makes us send it."""
    victim = Endpoint.of("203.0.113.66", 53)
    world = World(nat(*NINE[0]))
    world.serve(change=lambda answer: edited(answer, OTHER_ADDRESS, victim))
    behavior = world.explore()
    hit = [each for each in world.explorer.sent if each.destination.address == victim.address]
    assert {each.destination.port for each in hit} == {victim.port, SERVER.port}
    assert len(hit) <= 12
    assert sum(len(each.payload) for each in hit) <= 12 * 28
    assert (behavior.mapping, behavior.filtering) == (None, None)


@pytest.mark.parametrize("seen", ["127.0.0.1", "192.168.1.77", "10.1.2.3", "100.64.0.1", "2001:db8::9"])
def test_our_address_as_a_liar_has_it_is_never_sent_to(seen: str) -> None:
    lie = Endpoint.of(seen, 7777)
    world = World(nat(*NINE[0]))
    world.serve(other=None, change=lambda answer: edited(answer, XOR_MAPPED_ADDRESS, lie))
    behavior = world.explore()
    assert {each.destination for each in world.explorer.sent} == {SERVER}
    assert behavior.mapping is None


def test_who_contradicts_a_server_with_two_addresses_is_not_believed() -> None:
    """Nor is the other: nobody knows who lies."""
    world = World(nat(*NINE[0]))
    world.serve()
    world.serve(SECOND, None, lambda answer: edited(answer, XOR_MAPPED_ADDRESS, Endpoint.of("198.51.100.99", 1)))
    assert world.explore(SERVER, SECOND).mapping is None


def test_a_server_that_ignores_wishes_shows_nothing_of_filtering() -> None:
    """It names a second address, but answers from the first, whatever it is asked."""
    world = World(nat(*NINE[8]))
    world.serve(change=lambda answer: replace(answer, source=SERVER) if answer.source != SERVER else answer)
    behavior = world.explore()
    assert behavior.filtering is None


def test_a_server_that_drops_wishes_shows_nothing_of_filtering() -> None:
    """Its silence is that of a filter, but the control would have been let in."""
    for mapping, filtering in NINE:
        world = World(nat(mapping, filtering))
        responder = world.serve()

        responder.change = partial(_drop_if_changed, responder)
        assert world.explore().filtering is None


def test_a_dead_second_address_shows_nothing_of_filtering() -> None:
    world = World(nat(*NINE[8]), is_cut=lambda packet: str(packet.source.address) == A2)
    world.serve()
    behavior = world.explore()
    assert behavior.filtering is None
    assert behavior.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT  # two ports of one address are enough


def test_a_refusal_is_told() -> None:
    def refuse(answer: Transmit) -> Transmit:
        message = decode_message(answer.payload)
        request = Message(message.method, MessageClass.REQUEST, message.transaction_id)
        return replace(answer, payload=encode_message(error_response(request, Code.SERVER_ERROR)))

    world = World(nat(*NINE[0]))
    world.serve(change=refuse)
    behavior = world.explore()
    assert world.events[0] == ServerSilent(SERVER, 500)
    assert behavior == NatBehavior(world.bases[0].address)
    assert world.took < 1


def test_random_bytes_change_nothing() -> None:
    """Whatever comes between the answers: the result is the same."""
    draw = random.Random(7)
    world = World(nat(*NINE[4]))
    world.serve()

    def noise() -> None:
        for base in world.bases:
            data = draw.randbytes(draw.randrange(200))
            world.discovery.receive_datagram(data, SERVER, base, world.network.now)
        if not world.discovery.is_complete:
            world.network.later(0.05, noise)

    noise()
    behavior = world.explore()
    assert behavior.mapping is Mapping.ADDRESS_DEPENDENT
    assert behavior.filtering is Filtering.ADDRESS_DEPENDENT
    assert world.discovery.drops[DropReason.MALFORMED] > 100


def test_an_answer_is_bound_to_its_server_and_socket() -> None:
    """Somebody who doesn't know the transaction, or comes from elsewhere, is nobody."""
    discovery = Discovery(sockets(), random.Random(1).randbytes)
    discovery.add_server(SERVER, NOW)
    [first] = list(iter(discovery.next_transmit, None))
    answer = encode_message(
        Message(
            decode_message(first.payload).method,
            MessageClass.SUCCESS,
            decode_message(first.payload).transaction_id,
            ((XOR_MAPPED_ADDRESS, Endpoint.of(OUTSIDE, 1)),),
        )
    )
    discovery.receive_datagram(answer, SECOND, first.source, NOW)
    discovery.receive_datagram(answer, SERVER, sockets()[1], NOW)
    discovery.receive_datagram(answer, SERVER, Endpoint.of(LOCAL, 1), NOW)
    assert discovery.drops == {
        DropReason.UNEXPECTED_SOURCE: 1,
        DropReason.UNEXPECTED_SOCKET: 1,
        DropReason.UNKNOWN_SOCKET: 1,
    }
    assert discovery.next_event() is None
    discovery.receive_datagram(answer, SERVER, first.source, NOW + 0.1)
    event = discovery.next_event()
    assert isinstance(event, ServerAnswered)
    assert event.rtt == pytest.approx(0.1)


# The machine


def test_what_it_takes() -> None:
    bases = sockets()
    with pytest.raises(LocalProtocolError):
        Discovery(bases[1:], random.Random(1).randbytes)
    with pytest.raises(LocalProtocolError):
        Discovery([*bases[1:], bases[1]], random.Random(1).randbytes)
    with pytest.raises(LocalProtocolError):
        Discovery([*bases, Endpoint.of("192.168.1.11", 1)], random.Random(1).randbytes)
    assert len(bases) == BASES


def test_which_servers_it_takes() -> None:
    discovery = Discovery(sockets(), random.Random(1).randbytes)
    servers = [Endpoint.of(f"203.0.113.{number}", 3478) for number in range(1, MAX_SERVERS + 2)]
    taken = [discovery.add_server(each, NOW) for each in (servers[0], servers[0], SERVER6, *servers[1:])]
    assert taken == [True, False, False, True, True, True, False]


def test_without_servers_it_is_over_at_once() -> None:
    discovery = Discovery(sockets(), random.Random(1).randbytes)
    assert discovery.next_timeout() is None
    discovery.handle_timeout(NOW)
    assert discovery.next_event() is None
    discovery.end_of_servers(NOW)
    assert discovery.is_complete
    behavior = NatBehavior(discovery.behavior.local)
    assert list(iter(discovery.next_event, None)) == [BehaviorDiscovered(behavior)]
    assert not discovery.add_server(SERVER, NOW)
    assert discovery.next_timeout() is None


def test_it_ends_although_servers_never_do() -> None:
    discovery = Discovery(sockets(), random.Random(1).randbytes)
    discovery.add_server(SERVER, NOW)
    discovery.handle_timeout(NOW + PATIENCE)
    assert discovery.is_complete
    assert discovery.next_event() == ServerSilent(SERVER, None)


def test_what_cant_be_sent_is_given_up() -> None:
    discovery = Discovery(sockets(), random.Random(1).randbytes)
    discovery.add_server(SERVER, NOW)
    discovery.end_of_servers(NOW)
    discovery.handle_timeout(NOW + 0.1)
    for transmit in list(iter(discovery.next_transmit, None)):
        discovery.record_send_error(transmit.source, transmit.destination, NOW + 0.1)
    assert discovery.next_event() == ServerSilent(SERVER, None)
    assert discovery.is_complete


@pytest.mark.parametrize("seed", range(8))
def test_its_time_goes_forward(seed: int) -> None:
    """Rule 3 of the idiom, whenever it is woken and whatever gets lost."""
    draw = random.Random(seed)
    discovery = Discovery(sockets(), draw.randbytes)
    now = NOW
    for server in (SERVER, SECOND, THIRD):
        discovery.add_server(server, now)
    discovery.end_of_servers(now)
    while not discovery.is_complete:
        for transmit in iter(discovery.next_transmit, None):
            if draw.random() < 0.5:
                request = decode_message(transmit.payload)
                seen = Endpoint.of(OUTSIDE, transmit.source.port)
                attributes = ((XOR_MAPPED_ADDRESS, seen), (OTHER_ADDRESS, OTHER))
                answer = Message(request.method, MessageClass.SUCCESS, request.transaction_id, attributes)
                discovery.receive_datagram(encode_message(answer), transmit.destination, transmit.source, now)
        now += draw.choice([0.0, 0.001, 0.3])
        discovery.handle_timeout(now)
        following = discovery.next_timeout()
        assert following is None or following > now, f"seed {seed}"
        now = now if following is None else following + draw.choice([0.0, 0.2])
    assert now < NOW + 2 * PATIENCE
