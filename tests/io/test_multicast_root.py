"""Two hosts on one link resolve each other's names over real multicast; a third one elsewhere hears nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from p2ptun.mdns.message import Message, address_record, encode_message
from p2ptun.mdns.name import labels_of, name_of_uuid
from p2ptun.types import IPAddress
from tests.e2e.lab import Lab, Node
from tests.e2e.nat import FIREWALL

pytestmark = pytest.mark.root

V4, V6 = (name_of_uuid(bytes([number] * 16)) for number in (4, 6))


@dataclass
class Host:
    """A program that speaks multicast DNS on a host."""

    node: Node
    process: subprocess.Popen[str]

    def tell(self, line: str) -> None:
        """Give it something to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, object]:
        """Read the next thing that it says."""
        assert self.process.stdout is not None
        said: dict[str, object] = json.loads(self.process.stdout.readline())
        return said

    def addresses(self) -> tuple[IPAddress, IPAddress]:
        """Give its two addresses."""
        assert self.node.ipv4 is not None
        assert self.node.ipv6 is not None
        return self.node.ipv4, self.node.ipv6


@dataclass
class Scene:
    """A laboratory, two hosts in one network and one in another; routers filter nothing between them."""

    lab: Lab
    alice: Node
    bob: Node
    carol: Node

    def start(self, node: Node) -> Host:
        """Run the program on a host."""
        argv = [sys.executable, "-m", "tests.io.mdns_host"]
        return Host(node, self.lab.popen(node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Lab() as lab:
        home, office = lab.add_router("home", FIREWALL), lab.add_router("office", FIREWALL)
        yield Scene(lab, lab.add_host("alice", home), lab.add_host("bob", home), lab.add_host("carol", office))


@pytest.mark.parametrize("flushed", [None, 4, 6])
def test_two_hosts_on_a_link_resolve_each_other(scene: Scene, flushed: int | None) -> None:
    """With both IP versions, or with one of them only, whichever the name stands for."""
    versions = [version for version in (4, 6) if version != flushed]
    if flushed:
        for node in (scene.alice, scene.bob):
            scene.lab.shell(node.namespace, f"ip -{flushed} address flush dev eth0")
    alice, bob = scene.start(scene.alice), scene.start(scene.bob)
    for host in (alice, bob):
        links = host.hear()["links"]
        assert isinstance(links, list)
        assert sorted(links) == [["eth0", version, False] for version in versions]
    ipv4, ipv6 = alice.addresses()
    alice.tell(f"register {V4} {ipv4} eth0")
    alice.tell(f"register {V6} {ipv6} eth0")
    bob.tell(f"resolve {V4} {V6}")
    found = {said["resolved"]: said["address"] for said in (bob.hear(), bob.hear())}
    assert found == {V4: str(ipv4), V6: str(ipv6)}


def test_a_name_of_another_network_is_given_up(scene: Scene) -> None:
    alice, carol = scene.start(scene.alice), scene.start(scene.carol)
    for host in (alice, carol):
        host.hear()
    alice.tell(f"register {V4} {alice.node.ipv4} eth0")
    carol.tell(f"resolve {V4}")
    assert carol.hear() == {"lost": V4, "reason": "TIMEOUT"}


SEND = """
import socket, sys
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 5353))
        sock.sendto(bytes.fromhex(sys.argv[1]), (address, 5353))
"""


def forge_answer(scene: Scene, sender: Node, victim: Host, name: str) -> None:
    """Tell a host alone an address for a name, from port 5353, over both IP versions."""
    records = (address_record(labels_of(name), IPv4Address("192.0.2.1"), 120),)
    answer = encode_message(Message(is_response=True, answers=records)).hex()
    done = scene.lab.run(sender, [sys.executable, "-c", SEND, answer, *map(str, victim.addresses())])
    assert (done.returncode, done.stderr) == (0, "")


def test_an_answer_from_beyond_the_link_is_no_answer(scene: Scene) -> None:
    """RFC 6762 11: what is sent to this host alone has to come from a neighbour."""
    scene.lab.shell(scene.alice.upstream, "nft flush ruleset")  # a router that lets everything in
    alice = scene.start(scene.alice)
    alice.hear()
    alice.tell(f"resolve {V4}")
    forge_answer(scene, scene.carol, alice, V4)
    assert alice.hear() == {"lost": V4, "reason": "TIMEOUT"}
    alice.tell("drops")
    assert alice.hear() == {"drops": {"from another link": 2}}
    alice.tell(f"resolve {V6}")
    forge_answer(scene, scene.bob, alice, V6)
    assert alice.hear() == {"resolved": V6, "address": "192.0.2.1"}


def test_links_come_and_go(scene: Scene) -> None:
    alice, bob = scene.start(scene.alice), scene.start(scene.bob)
    for host in (alice, bob):
        host.hear()
    ipv4, _ = alice.addresses()
    alice.tell(f"register {V4} {ipv4} eth0")
    scene.lab.shell(scene.alice.namespace, "ip link set eth0 down")
    alice.tell("follow")
    assert alice.hear() == {"links": []}
    scene.lab.shell(scene.alice.namespace, "ip link set eth0 up")
    alice.tell("follow")
    links = alice.hear()["links"]
    assert isinstance(links, list)
    assert ["eth0", 4, False] in links  # the IPv6 address went with the link, a link-local one may be back
    bob.tell(f"resolve {V4}")
    assert bob.hear() == {"resolved": V4, "address": str(ipv4)}
