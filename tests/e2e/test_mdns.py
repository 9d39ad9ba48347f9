"""Two machines in one network that hide their addresses: what is carried over has none, and they meet all the same."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.named import NamedCandidate
from p2ptun.signal.blob import decode_blob
from p2ptun.signal.description import Description
from tests.e2e.lab import Node, wait_until
from tests.e2e.nat import LINUX
from tests.e2e.program import Json, Program, TunnelLab

pytestmark = pytest.mark.root


class House:
    """A home network with two machines, and a STUN server outside."""

    def __init__(self, lab: TunnelLab) -> None:
        self.lab = lab
        self.stun = lab.start_stun(lab.add_server("stun"))
        self.router = lab.add_router("home", LINUX)
        self.alice, self.bob = lab.add_host("alice", self.router), lab.add_host("bob", self.router)

    def own_addresses(self) -> set[IPv4Address | IPv6Address]:
        """List all addresses of both machines, link-local ones too."""
        words = [
            self.lab.run(node, ["ip", "-brief", "address", "show", "dev", node.device]).stdout.split()[2:]
            for node in (self.alice, self.bob)
        ]
        return {ip_address(word.partition("/")[0]) for line in words for word in line}

    def listeners(self, node: Node) -> str:
        """List the sockets for multicast DNS on a machine."""
        return self.lab.run(node, ["ss", "-Hlun", "sport = :5353"]).stdout


@pytest.fixture
def house() -> Iterator[House]:
    with TunnelLab() as lab:
        yield House(lab)


def check_blob(blob: str, addresses: set[IPv4Address | IPv6Address]) -> Description:
    """Decode what was carried over: there is no address of a machine in it, neither in a field nor in its bytes."""
    description = decode_blob(blob)
    hosts = [each for each in description.candidates if each.type is CandidateType.HOST]
    assert hosts
    assert all(isinstance(each, NamedCandidate) for each in hosts)
    for each in description.candidates:
        assert isinstance(each, NamedCandidate) or not {each.endpoint.address, each.base.address} & addresses
    return description


def last_path(side: Program) -> Json:
    """Give the path that a side took last."""
    return side.find("path")[-1]


def end(one: Program, other: Program) -> None:
    """Stop one side; the other one ends by itself."""
    one.stop()
    assert (one.exit_code(), other.exit_code()) == (0, 0)


def test_hidden_machines_in_one_network_meet_directly(house: House) -> None:
    """Nothing else could connect them: a home router sends no packet back to where it came from."""
    tunnel = house.lab.connect(house.alice, house.bob, "--mdns", "--stun", house.stun)
    addresses = house.own_addresses()
    assert {house.alice.ipv4, house.alice.ipv6} <= addresses
    for blob in (tunnel.offer, tunnel.answer):
        described = check_blob(blob, addresses)
        reflexive = [each for each in described.candidates if isinstance(each, Candidate)]
        assert {str(each.endpoint.address) for each in reflexive} == {str(house.router.node.ipv4)}
    for side in (tunnel.share, tunnel.join):
        path = side.find("path")[-1]
        assert path["local"]["type"] == "host"
        assert path["remote"]["type"] in ("host", "prflx")  # a check may be faster than a name
    assert house.lab.can_ping(house.alice, tunnel.join.ipv4)
    end(tunnel.share, tunnel.join)


def test_who_hides_is_reached_by_who_doesnt(house: House) -> None:
    """The other side's names are looked up without --mdns too, and port 5353 is open for no longer than that."""
    share = house.lab.start(house.alice, "share", "--mdns")
    join = house.lab.start(house.bob, "join")
    tunnel = house.lab.introduce(share, join)
    check_blob(tunnel.offer, house.own_addresses())
    assert any(isinstance(each, Candidate) for each in decode_blob(tunnel.answer).candidates)
    assert house.lab.can_ping(house.alice, join.ipv4)
    assert house.listeners(house.alice)
    wait_until(lambda: not house.listeners(house.bob), 6, "port 5353 is closed")
    end(join, share)


def test_hidden_machines_in_different_networks_give_names_up_and_meet_outside(house: House) -> None:
    office = house.lab.add_host("carol", house.lab.add_router("office", LINUX))
    tunnel = house.lab.connect(house.alice, office, "--mdns", "--stun", house.stun)
    assert tunnel.setup < 5
    assert house.lab.can_ping(house.alice, tunnel.join.ipv4)
    end(tunnel.share, tunnel.join)


def test_an_address_that_the_stun_server_sees_as_it_is_is_no_secret(house: House) -> None:
    """The draft, 3.1.2.2: without it, who stands outside could not be reached from behind a NAT."""
    outside = house.lab.add_host("outside")
    tunnel = house.lab.connect(outside, house.bob, "--mdns", "--stun", house.stun)
    told = decode_blob(tunnel.offer).candidates
    assert {each.endpoint.address for each in told if isinstance(each, Candidate)} == {outside.ipv4}
    assert any(isinstance(each, NamedCandidate) for each in told)  # nobody was asked over IPv6
    assert house.lab.can_ping(outside, tunnel.join.ipv4)
    end(tunnel.share, tunnel.join)


def test_a_hidden_machine_that_moves_is_found_by_its_new_name(house: House) -> None:
    tunnel = house.lab.connect(house.alice, house.bob, "--mdns")
    house.lab.shell(
        house.bob.namespace,
        "ip -6 address flush dev eth0 scope global; ip address flush dev eth0 label eth0\n"
        "ip address add 192.168.1.77/24 dev eth0",
    )
    new = IPv4Address("192.168.1.77")
    wait_until(lambda: last_path(tunnel.join)["local"]["address"] == str(new), 20, "bob has moved")
    wait_until(lambda: last_path(tunnel.share)["remote"]["address"] == str(new), 20, "alice knows that")
    assert house.lab.can_ping(house.alice, tunnel.join.ipv4, timeout=5)
    end(tunnel.share, tunnel.join)
