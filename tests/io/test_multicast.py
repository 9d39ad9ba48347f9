"""Multicast DNS sockets on loopback; `test_multicast_root` has real links."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address, ip_network

import pytest
import trio
import trio.testing

from p2ptun.io.address import LocalAddress
from p2ptun.io.multicast import MESSAGES_PER_WAKE, Multicast, MulticastLink, MulticastSocket, links_of
from p2ptun.io.network import Network
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.event import MdnsEvent, NameResolved
from p2ptun.mdns.link import GROUP_V4, MDNS_PORT
from p2ptun.mdns.message import decode_message
from p2ptun.mdns.name import name_of_uuid
from p2ptun.types import Endpoint
from tests.io.namespace import in_namespace

NAME = name_of_uuid(bytes(range(16)))
ADDRESS = ip_address("192.0.2.7")


def local(address: str, prefix: int, interface: str = "lo", index: int = 1, kind: str = "") -> LocalAddress:
    return LocalAddress(ip_address(address), prefix, interface, index, kind, True)


def network(*candidates: LocalAddress, present: tuple[LocalAddress, ...] = ()) -> Network:
    return Network(candidates, (*candidates, *present))


LOOPBACK = network(local("127.0.0.1", 8))
LOOPBACK_LINK = MulticastLink("lo", 1, ip_address("127.0.0.1"), (ip_network("127.0.0.0/8"),))


def test_each_interface_is_a_link_once_for_each_ip_version() -> None:
    links = links_of(
        network(
            local("2001:db8::1", 64, "eth0", 2),
            local("192.0.2.1", 24, "eth0", 2),
            local("198.51.100.1", 24, "eth0", 2),
            local("10.0.0.1", 24, "eth1", 3),
            local("10.9.0.1", 32, "dummy0", 4, "dummy"),
            present=(local("fe80::1%eth0", 64, "eth0", 2),),
        )
    )
    found = [(each.interface, str(each.local), [str(network) for network in each.networks]) for each in links]
    assert found == [
        ("eth0", "[2001:db8::1]:5353", ["2001:db8::/64", "fe80::/64"]),
        ("eth0", "192.0.2.1:5353", ["192.0.2.0/24", "198.51.100.0/24"]),
        ("eth1", "10.0.0.1:5353", ["10.0.0.0/24"]),
    ]


def test_neighbours_are_those_of_the_links_networks() -> None:
    assert LOOPBACK_LINK.has(ip_address("127.9.9.9"))
    assert LOOPBACK_LINK.has(ip_address("fe80::9%lo"))
    assert not LOOPBACK_LINK.has(ip_address("192.0.2.1"))


@in_namespace
@pytest.mark.root
def test_two_on_one_machine_resolve_each_other_and_know_that_they_share() -> None:
    async def body() -> None:
        events: list[MdnsEvent] = []
        one, two = Multicast(MdnsAgent(), events.append), Multicast(MdnsAgent(), events.append)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for each in (one, two):
                    each.start(nursery, LOOPBACK)
                assert [[sock.is_shared for sock in each.sockets] for each in (one, two)] == [[False], [True]]
                two.agent.resolve([NAME], trio.current_time())
                two.flush()
                one.agent.register(NAME, ADDRESS, "lo", trio.current_time())
                one.flush()
                while not events:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                assert events == [NameResolved(NAME, ADDRESS)]
                one.follow(network())
                assert one.sockets == []
                one.flush()  # an announcement was due on a link that is gone
                two.close()
                nursery.cancel_scope.cancel()

    trio.run(body)


@in_namespace
@pytest.mark.root
def test_deadlines_are_kept() -> None:
    async def body() -> None:
        multicast = Multicast(MdnsAgent(), lambda _: None)
        with trio.fail_after(5), closing(MulticastSocket(LOOPBACK_LINK)) as listener:
            async with trio.open_nursery() as nursery:
                multicast.start(nursery, LOOPBACK)
                multicast.agent.register(NAME, ADDRESS, "lo", trio.current_time())
                multicast.flush()
                heard: list[bytes] = []
                while len(heard) < 2:  # the second announcement comes after a second, by itself
                    await listener.wait_readable()
                    if (message := listener.receive()) is not None:
                        heard.append(message[0])
                assert heard[0] == heard[1]
                assert decode_message(heard[0]).answers[0].address == ADDRESS
                multicast.close()
                nursery.cancel_scope.cancel()

    trio.run(body)


@in_namespace
@pytest.mark.root
def test_what_the_kernel_refuses_is_counted() -> None:
    with closing(MulticastSocket(LOOPBACK_LINK)) as sock:
        sock.send(bytes(70000), GROUP_V4)
        assert sock.drops == {"send: EMSGSIZE": 1}
        assert sock.receive() is None


@in_namespace
@pytest.mark.root
def test_nothing_goes_beyond_the_link() -> None:
    with closing(MulticastSocket(LOOPBACK_LINK)) as sock:
        sock.send(b"an answer", Endpoint.of("192.0.2.9", MDNS_PORT))
        assert sock.drops == {"to another link": 1}


@in_namespace
@pytest.mark.root
def test_a_flood_from_beyond_the_link_keeps_nobody_from_work() -> None:
    elsewhere = MulticastLink("lo", 1, ip_address("127.0.0.1"), (ip_network("192.0.2.0/24"),))
    with closing(MulticastSocket(elsewhere)) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(MESSAGES_PER_WAKE + 3):
            stranger.sendto(b"noise", ("127.0.0.1", MDNS_PORT))
        assert sock.receive() is None
        assert sock.drops == {"from another link": MESSAGES_PER_WAKE}
        assert sock.receive() is None
        assert sock.drops == {"from another link": MESSAGES_PER_WAKE + 3}


@in_namespace
@pytest.mark.root
def test_a_link_without_multicast_goes_without_names() -> None:
    async def body() -> None:
        multicast = Multicast(MdnsAgent(), lambda _: None)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as greedy:
            async with trio.open_nursery() as nursery:
                multicast.start(nursery, network(local("192.0.2.1", 24, "gone0", 77)))
                assert multicast.sockets == []
                greedy.bind(("", MDNS_PORT))  # for itself alone
                multicast.follow(LOOPBACK)
                assert multicast.sockets == []
                nursery.cancel_scope.cancel()

    trio.run(body)


@in_namespace
@pytest.mark.root
def test_a_closed_socket_says_so() -> None:
    sock = MulticastSocket(LOOPBACK_LINK)
    sock.close()
    sock.close()
    with pytest.raises(trio.ClosedResourceError):
        sock.receive()
