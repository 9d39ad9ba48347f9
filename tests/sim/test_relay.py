"""The simulated TURN server is the product's own: its sockets come and go as it orders, and it can die."""

from __future__ import annotations

from p2ptun.relay.event import AllocationMade
from p2ptun.stun.attribute import CHANGE_REQUEST, OTHER_ADDRESS, RESPONSE_ORIGIN
from p2ptun.stun.codec import Change
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from p2ptun.turn.status import AllocationState
from p2ptun.types import Transport

from .network import Network, at
from .node import NodeHost
from .relay import RelayServer
from .talker import Talker

HOST, RELAY = "192.0.2.1:5000", "203.0.113.11"


def client(network: Network, *relays: RelayServer) -> NodeHost:
    """Make a node that uses relays, without any peer."""
    host = NodeHost(network, "host", HOST)
    for relay in relays:
        host.use_relay(relay)
    host.node.end_of_servers(host.now)
    network.run(2.0)
    return host


def states(host: NodeHost) -> list[AllocationState]:
    return [each.state for each in host.node.relays.allocations]


def test_allocation_has_a_socket_on_either_side_for_as_long_as_it_lives() -> None:
    network = Network()
    relay = RelayServer(network, RELAY)
    host = client(network, relay)
    (made,) = [event for event in relay.events if isinstance(event, AllocationMade)]
    (socket,) = host.ordered.tokens.values()
    assert relay.relayed == set(made.relayed)
    assert made.client == socket
    host.node.close(host.now)
    network.run(1.0)
    assert not relay.relayed
    assert not host.ordered.tokens


def test_dead_server_answers_nobody_and_remembers_nothing_when_it_is_back() -> None:
    network = Network()
    relay = RelayServer(network, RELAY)
    host = client(network, relay)
    relay.kill()
    relay.kill()
    assert not relay.relayed
    network.run(60.0)
    assert AllocationState.READY not in states(host)
    relay.revive()
    relay.revive()
    network.run(150.0)
    assert states(host) == [AllocationState.READY]
    assert relay.core is not None
    assert relay.core.allocation_count == 1


def test_stream_reaches_it_too_and_its_end_ends_the_allocation() -> None:
    network = Network()
    relay = RelayServer(network, RELAY, transports=(Transport.TCP,))
    host = client(network, relay)
    assert states(host) == [AllocationState.READY]
    (socket,) = host.ordered.tokens.values()
    assert socket.transport is Transport.TCP
    host.move("192.0.2.9:5000")
    network.run(5.0)
    assert states(host) == [AllocationState.READY]
    network.run(700.0)
    assert relay.core is not None
    assert relay.core.allocation_count == 1


def test_both_families_have_a_relayed_address() -> None:
    network = Network()
    relay = RelayServer(network, RELAY, "2001:db8::11")
    host = client(network, relay)
    (status,) = host.node.relays.allocations
    assert {each.address.version for each in status.relayed} == {4, 6}


def test_two_addresses_make_a_server_that_tells_nats_apart() -> None:
    network, talker = Network(), Talker()
    RelayServer(network, RELAY, "203.0.113.12")
    network.plug(talker, at(HOST))
    wish = ((CHANGE_REQUEST, Change.PORT | Change.ADDRESS),)
    request = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12)), wish)
    talker.say(encode_message(request), at(HOST), at(f"{RELAY}:3478"))
    network.run(1.0)
    [(_, answer, source)] = talker.heard
    assert source == at("203.0.113.12:3479")
    message = decode_message(answer)
    assert message.get(RESPONSE_ORIGIN) == source
    assert message.get(OTHER_ADDRESS) == source


def test_machine_without_a_network_reaches_no_relay() -> None:
    network = Network()
    relay = RelayServer(network, RELAY)
    host = NodeHost(network, "host")
    host.use_relay(relay)
    host.node.end_of_servers(host.now)
    network.run(2.0)
    assert states(host) == [AllocationState.FAILED]
    assert not host.ordered.tokens
    host.gain(HOST)
    network.run(5.0)
    assert states(host) == [AllocationState.READY]
