"""Random clients, peers and accidents against a plain model of who may send to whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2ptun.relay.config import Limits
from p2ptun.relay.event import AllocationEnded, AllocationMade
from p2ptun.stun.attribute import EVEN_PORT, REQUESTED_ADDRESS_FAMILY, RESERVATION_TOKEN, AttributeValue
from p2ptun.stun.message import Method
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint, IPAddress, Transmit, Transport
from tests.relay.world import (
    BOTH_FAMILIES,
    CONFIG,
    LISTENER,
    PEER,
    PEER6,
    RELAY4,
    UDP_TRANSPORT,
    Client,
    World,
    code_of,
    indicated,
)

LIMITS = Limits(allocations=5, user_allocations=3, address_allocations=4, permissions=4, channels=3, lifetime=1200)
SETTINGS = replace(CONFIG, lowest_port=50000, highest_port=50005, limits=LIMITS)
ADDRESSES = ("198.51.100.7", "198.51.100.8", "2001:db8:77::1")
FREE = [PEER, replace(PEER, port=1), Endpoint.of("192.0.2.10", 5), PEER6, Endpoint.of("2a00::1", 5)]
FORBIDDEN = [
    *(Endpoint.of("127.0.0.1", 22), Endpoint.of("10.0.0.1", 22), Endpoint.of("::1", 22), Endpoint.of("fd00::1", 22)),
    *(LISTENER, Endpoint.of("203.0.113.1", 22), Endpoint.of("2002:7f00:1::1", 22), Endpoint.of("64:ff9b::a00:1", 22)),
]
OURS = [Endpoint.of("203.0.113.1", port) for port in range(50000, 50006)]
PEERS = st.sampled_from(FREE + FORBIDDEN + OURS)
NUMBERS = st.integers(0x3FFF, 0x4004)
INDEX = st.integers(0, 5)
KINDS: list[tuple[AttributeValue, ...]] = [
    *((), (), (BOTH_FAMILIES,), ((REQUESTED_ADDRESS_FAMILY, 2),), ((EVEN_PORT, True),)),
    *(((EVEN_PORT, False),), ((RESERVATION_TOKEN, b"12345678"),)),
]


class RelayMachine(RuleBasedStateMachine):
    """Six clients of two users at three addresses, over UDP and TCP.

    Time goes in whole seconds, at which the timer wheel is exact.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World(SETTINGS)
        self.clients = []
        for index in range(6):
            user, password = (("alice", "secret"), ("bob", "hidden"))[index % 2]
            transport = Transport.TCP if index > 3 else Transport.UDP
            self.clients.append(
                Client(self.world, Endpoint.of(ADDRESSES[index % 3], 1000 + index, transport), user, password)
            )
        self.permitted: dict[tuple[Endpoint, IPAddress], float] = {}
        self.read_events = 0

    @rule(index=INDEX, kind=st.sampled_from(KINDS), refused=st.integers(0, 3))
    def allocate(self, index: int, kind: tuple[AttributeValue, ...], refused: int) -> None:
        self.world.refused_ports = refused
        self.clients[index].ask(Method.ALLOCATE, UDP_TRANSPORT, *kind)
        self.world.refused_ports = 0

    @rule(index=INDEX, lifetime=st.sampled_from([None, 0, 600, 1200]), family=st.sampled_from([None, 1, 2]))
    def refresh(self, index: int, lifetime: int | None, family: int | None) -> None:
        attributes: tuple[AttributeValue, ...] = () if family is None else ((REQUESTED_ADDRESS_FAMILY, family),)
        self.clients[index].refresh(lifetime, *attributes)

    @rule(index=INDEX, peers=st.lists(PEERS, max_size=3))
    def permit(self, index: int, peers: list[Endpoint]) -> None:
        if self.clients[index].permit(*peers) == 0:
            assert all(peer in FREE or peer.address == RELAY4 for peer in peers)  # ports are looked at when data comes
            for peer in peers:
                self._remember(index, peer)

    @rule(index=INDEX, number=NUMBERS, peer=PEERS)
    def bind(self, index: int, number: int, peer: Endpoint) -> None:
        if self.clients[index].bind(number, peer) == 0:
            assert peer in FREE or (peer in OURS and peer in self.world.sockets)
            self._remember(index, peer)

    @rule(index=INDEX, peer=PEERS)
    def send(self, index: int, peer: Endpoint) -> None:
        self._check(index, self.clients[index].send(peer, b"data"))

    @rule(index=INDEX, number=NUMBERS)
    def send_on_channel(self, index: int, number: int) -> None:
        self._check(index, self.clients[index].deliver(encode_channel_data(number, b"data", False)))

    @rule(peer=PEERS, relayed=st.sampled_from(OURS))
    def hear(self, peer: Endpoint, relayed: Endpoint) -> None:
        for transmit in self.world.hear(b"data", peer, relayed):
            assert relayed in self.world.sockets
            assert peer in OURS or self._may(transmit.destination, peer)
            assert self._is_permitted(transmit.destination, peer)
            if transmit.payload[0] >= 0x40:
                way = self.world.server.inward(relayed, peer)
                assert way is not None
                assert (way.client, way.local) == (transmit.destination, transmit.source)
            else:
                assert indicated(transmit) == (peer, b"data")

    @rule(seconds=st.sampled_from([1.0, 29.0, 100.0, 300.0, 601.0]))
    def sleep(self, seconds: float) -> None:
        assert self.world.sleep(seconds) == []

    @rule(index=st.integers(4, 5))
    def hang_up(self, index: int) -> None:
        client = self.clients[index]
        self.world.server.connection_closed(client.endpoint, client.local, self.world.now)
        assert self.world.drain() == []
        assert code_of(client.refresh()) == 437

    @rule(data=st.binary(max_size=60), index=INDEX)
    def babble(self, data: bytes, index: int) -> None:
        before = self.world.server.usage()
        self.clients[index].deliver(data)
        assert self.world.server.usage() == before

    @invariant()
    def nobody_has_too_much(self) -> None:
        usage = self.world.server.usage()
        assert usage.allocations <= LIMITS.allocations
        assert usage.permissions <= usage.allocations * LIMITS.permissions
        assert usage.channels <= usage.allocations * LIMITS.channels
        assert usage.ways <= usage.channels
        assert len(self.world.sockets) <= usage.ports
        assert usage.deadlines <= usage.ports + usage.permissions + usage.channels
        live = self._live()
        assert len(live) == usage.allocations
        assert all(count <= LIMITS.user_allocations for count in Counter(event.user for event in live).values())
        addresses = Counter(event.client.address for event in live)
        assert all(count <= LIMITS.address_allocations for count in addresses.values())

    @invariant()
    def every_way_leads_where_data_may_go(self) -> None:
        for client in self.clients:
            for number in range(0x4000, 0x4005):
                way = self.world.server.outward(client.endpoint, client.local, number)
                if way is not None:
                    assert way.relayed in self.world.sockets
                    assert self._may(client.endpoint, way.peer)
                    inward = self.world.server.inward(way.relayed, way.peer)
                    assert inward is not None
                    assert (inward.client, inward.local, inward.number) == (client.endpoint, client.local, number)
                    assert client.deliver(encode_channel_data(number, b"x", False)) == [
                        Transmit(b"x", way.relayed, way.peer)
                    ]

    @invariant()
    def the_next_timeout_lies_ahead(self) -> None:
        at = self.world.server.next_timeout()
        assert at is None or at > self.world.now

    def teardown(self) -> None:
        """When nobody asks for anything any more, nothing is left."""
        self.world.sleep(5000.0)
        assert self.world.server.usage() == World(SETTINGS).server.usage()
        assert self.world.sockets == set()

    def _live(self) -> list[AllocationMade]:
        live: dict[tuple[Endpoint, Endpoint], AllocationMade] = {}
        for event in self.world.events:
            if isinstance(event, AllocationMade):
                live[event.client, event.local] = event
            elif isinstance(event, AllocationEnded):
                del live[event.client, event.local]
        return list(live.values())

    def _remember(self, index: int, peer: Endpoint) -> None:
        self._forget_ended()
        self.permitted[self.clients[index].endpoint, peer.address] = self.world.now + 300.0

    def _forget_ended(self) -> None:
        """Take the permissions of allocations that have ended."""
        for event in self.world.events[self.read_events :]:
            if isinstance(event, AllocationEnded):
                self.permitted = {key: until for key, until in self.permitted.items() if key[0] != event.client}
        self.read_events = len(self.world.events)

    def _may(self, client: Endpoint, peer: Endpoint) -> bool:
        """Say what the model thinks of data between a client and a peer."""
        is_reachable = peer in FREE or (peer in OURS and peer in self.world.sockets)
        return is_reachable and self._is_permitted(client, peer)

    def _is_permitted(self, client: Endpoint, peer: Endpoint) -> bool:
        """Say so of what comes from a peer: the last word of one of our relays may come when that is gone."""
        self._forget_ended()
        return self.world.now < self.permitted.get((client, peer.address), 0.0)

    def _check(self, index: int, sent: list[Transmit]) -> None:
        for transmit in sent:
            assert transmit.source in self.world.sockets
            assert transmit.destination.address.version == transmit.source.address.version
            assert self._may(self.clients[index].endpoint, transmit.destination)


RelayMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestRelay = RelayMachine.TestCase
