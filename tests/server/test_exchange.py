"""The loop around the core."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio
from trio.testing import memory_stream_pair

from p2ptun.errors import LocalProtocolError
from p2ptun.relay.event import AllocationEnded, AllocationMade, EndReason
from p2ptun.server.connection import Connection
from p2ptun.stun.attribute import LIFETIME
from p2ptun.stun.error import Code
from p2ptun.types import Endpoint, Transport
from tests.server.place import CHANNEL, CONFIG, Place, in_thread, limited, running
from tests.server.turn_client import TIMEOUT, Refusal, TurnClient, endpoint, peer_socket


@pytest.mark.trio
async def test_relay_sockets_come_and_go() -> None:
    def work(place: Place) -> None:
        client = place.udp()
        relayed = client.allocate()
        assert CONFIG.lowest_port <= relayed.port <= CONFIG.highest_port
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", relayed.port))
            client.release()
            other.bind(("127.0.0.1", relayed.port))
        client.socket.close()

    async with running() as place:
        await in_thread(lambda: work(place))
        assert list(place.exchange._ports) == [place.port.local]
        made, ended = place.events
        assert isinstance(made, AllocationMade)
        assert isinstance(ended, AllocationEnded)
        assert ended.reason is EndReason.DELETED


@pytest.mark.trio
async def test_a_taken_port_is_passed_over() -> None:
    """Of two ports one is somebody else's: everybody who comes gets the other, as long as it is free."""
    with peer_socket() as taken:
        low = taken.getsockname()[1]
        config = replace(CONFIG, lowest_port=low, highest_port=low)

        def work(place: Place) -> None:
            client = place.udp()
            with pytest.raises(Refusal) as refusal:
                client.allocate()
            assert refusal.value.code == Code.INSUFFICIENT_CAPACITY
            client.socket.close()

        async with running(config) as place:
            await in_thread(lambda: work(place))
            assert place.exchange.drops["relay port in use"] >= 1


@pytest.mark.trio
async def test_indications_and_data_of_peers_take_the_slow_doors() -> None:
    def work(place: Place) -> None:
        client = place.udp()
        relayed = client.allocate()
        with peer_socket() as peer:
            client.permit(endpoint(peer))
            client.indicate(endpoint(peer), b"out")
            assert peer.recv(100) == b"out"
            peer.sendto(b"in", (str(relayed.address), relayed.port))
            assert b"in" in client.receive()
        client.socket.close()

    async with running() as place:
        await in_thread(lambda: work(place))


@pytest.mark.trio
async def test_allocations_expire() -> None:
    def work(place: Place) -> None:
        client = place.udp()
        client.allocate((LIFETIME, 600))
        client.socket.close()

    async with running(limited(lifetime=600)) as place:
        await in_thread(lambda: work(place))
        at = place.exchange.core.next_timeout()
        assert at is not None
        assert place.exchange._timer.deadline == at
        place.exchange.core.handle_timeout(trio.current_time() + 4000)
        place.exchange.flush(trio.current_time())
        assert isinstance(place.events[-1], AllocationEnded)
        assert list(place.exchange._ports) == [place.port.local]


@pytest.mark.trio
async def test_two_clients_meet_on_the_relay() -> None:
    def work(place: Place) -> None:
        one, two = place.udp(), place.udp()
        first, second = one.allocate(), two.allocate()
        one.bind(CHANNEL, second)
        two.bind(CHANNEL, first)
        for number in range(50):
            one.send(CHANNEL, b"%d" % number)
        assert [two.receive()[4:] for _ in range(50)] == [b"%d" % number for number in range(50)]
        for client in (one, two):
            client.socket.close()

    async with running() as place:
        await in_thread(lambda: work(place))


@pytest.mark.trio
async def test_one_flood_leaves_room_for_others() -> None:
    """While one socket never runs dry, another client and a stream are served."""

    def work(place: Place) -> None:
        flooder, other = place.udp(), place.udp()
        with peer_socket() as peer:
            for client in (flooder, other):
                client.allocate()
                client.bind(CHANNEL, endpoint(peer))
            for _ in range(3000):
                flooder.send(CHANNEL, bytes(1000))
            other.permit(endpoint(peer))
            with socket.create_connection((str(place.listener.local.address), place.listener.local.port)) as sock:
                TurnClient(sock).allocate()
        for client in (flooder, other):
            client.socket.close()

    async with running() as place:
        await in_thread(lambda: work(place))


@pytest.mark.trio
async def test_an_older_stream_of_the_same_ends_makes_way() -> None:
    async with running() as place:
        remote = Endpoint.of("192.0.2.1", 1, Transport.TCP)
        older, newer = (Connection(memory_stream_pair()[0], remote, place.listener.local) for _ in range(2))
        place.exchange.add_connection(older)
        place.exchange.add_connection(newer)
        assert older.problem == "replaced"
        assert place.exchange.connections == 1
        place.exchange.remove_connection(older)
        assert place.exchange.connections == 1
        place.exchange.remove_connection(newer)
        assert place.exchange.connections == 0
        assert place.exchange.drops == {"stream: replaced": 1}


@pytest.mark.trio
async def test_a_listener_is_added_once() -> None:
    async with running() as place:
        with pytest.raises(LocalProtocolError):
            place.exchange.add_listener(place.port)


@pytest.mark.trio
async def test_what_it_dropped_is_told_by_reason() -> None:
    def work(place: Place) -> None:
        client = place.udp()
        client.socket.send(b"\x40\x01\xff\xff")
        client.allocate()
        client.socket.close()

    async with running() as place:
        with trio.fail_after(TIMEOUT):
            await in_thread(lambda: work(place))
        assert place.exchange.drops["no allocation"] + place.exchange.drops["malformed"] == 1
