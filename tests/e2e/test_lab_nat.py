"""The laboratory's NATs and networks do what their names say: asked by bare sockets, and by coturn's own explorer."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from tests.e2e.disturbance import block, forget_flows, limit_size, lose, move, renumber, unblock
from tests.e2e.lab import Lab, Node, Router, wait_until
from tests.e2e.nat import FIREWALL, LINUX, Mapping, Nat, Outbound, exact
from tests.sim.nat import FIRST_PORT, Behaviour, Habit, Ports

pytestmark = pytest.mark.root

PROBE = [sys.executable, str(Path(__file__).with_name("probe.py"))]
OWN_PORT = 6000
MEGABYTE = 1_000_000
INDEPENDENT, BY_ADDRESS, BY_PORT = Behaviour
NINE = list(product(Behaviour, Behaviour))
PREDICTED = Habit(Ports.SEQUENTIAL)


@dataclass(slots=True)
class Scene:
    """A host behind a router, and a server that is asked."""

    lab: Lab
    router: Router
    host: Node
    server: Node

    def probe(self, verb: str, *arguments: object) -> list[str]:
        """Run the probe on the host."""
        done = self.lab.run(self.host, [*PROBE, verb, *(str(argument) for argument in arguments)])
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    @property
    def addresses(self) -> tuple[object, object]:
        """The server's two addresses."""
        return self.server.ipv4, self.server.alternates[0]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """One router, which each test makes what it wants."""
    with Lab() as lab:
        router = lab.add_router("home", exact(), ipv6=False)
        yield Scene(lab, router, lab.add_host("alice", router), started(lab, "server"))


def started(lab: Lab, name: str) -> Node:
    """Add a server that answers the probe."""
    server = lab.add_server(name)
    argv = [*PROBE, "serve", str(server.ipv4), str(server.alternates[0])]
    process = lab.popen(server, argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return server


# The nine


def seen_mapping(ports: list[str]) -> Behaviour:
    """Tell the mapping from the ports that the server's three sockets saw."""
    first, other_port, other_address = ports
    if first != other_port:
        return BY_PORT
    return INDEPENDENT if first == other_address else BY_ADDRESS


FILTERINGS = {("00",): BY_PORT, ("00", "01"): BY_ADDRESS, ("00", "01", "10"): INDEPENDENT}


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_mapping_and_filtering(scene: Scene, mapping: Behaviour, filtering: Behaviour) -> None:
    scene.lab.set_nat(scene.router, exact(mapping, filtering))
    assert seen_mapping(scene.probe("mapping", OWN_PORT, *scene.addresses)) is mapping
    assert FILTERINGS[tuple(scene.probe("filtering", OWN_PORT + 1, *scene.addresses))] is filtering


@pytest.mark.parametrize("ports", list(Ports))
def test_ports(scene: Scene, ports: Ports) -> None:
    """A NAT that preserves the port looks the same to everybody, whatever its mapping depends on."""
    scene.lab.set_nat(scene.router, exact(BY_PORT, BY_PORT, Habit(ports)))
    seen = [int(port) for port in scene.probe("mapping", OWN_PORT, *scene.addresses)]
    follow_each_other = [FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 2]
    assert (seen == [OWN_PORT] * 3) is (ports is Ports.PRESERVED)
    assert (seen == follow_each_other) is (ports is Ports.SEQUENTIAL)
    assert (len(set(seen) - {OWN_PORT, *follow_each_other}) == 3) is (ports is Ports.RANDOM)


@pytest.mark.skipif(shutil.which("turnutils_natdiscovery") is None, reason="needs coturn")
def test_coturn_finds_the_nine() -> None:
    with Lab() as lab:
        server = lab.add_server("server", ipv6=False)
        start_coturn(lab, server)
        hosts = []
        for number, (mapping, filtering) in enumerate(NINE):
            router = lab.add_router(f"home{number}", exact(mapping, filtering), ipv6=False)
            hosts.append(lab.add_host(f"alice{number}", router))
        argv = ["turnutils_natdiscovery", "-m", "-f", str(server.ipv4)]
        wait_until(lambda: "NAT with" in lab.run(hosts[0], argv).stdout, 10, "coturn answers")
        with ThreadPoolExecutor(len(NINE)) as pool:  # it waits three seconds for what is filtered
            found = list(pool.map(lambda host: lab.run(host, argv).stdout, hosts))
    names = {
        INDEPENDENT: "Endpoint Independent",
        BY_ADDRESS: "Address Dependent",
        BY_PORT: "Address and Port Dependent",
    }
    for (mapping, filtering), told in zip(NINE, found, strict=True):
        wanted = [f"{names[mapping]} Mapping", f"{names[filtering]} Filtering"]
        assert re.findall(r"NAT with (.*)!", told) == wanted, told


def start_coturn(lab: Lab, server: Node) -> None:
    listening = [argument for address in (server.ipv4, server.alternates[0]) for argument in ("-L", str(address))]
    options = ["-n", "-S", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null"]
    lab.popen(server, ["turnserver", *options, *listening], stderr=subprocess.DEVNULL)


# What else a NAT does


@pytest.mark.parametrize("has_hairpin", [False, True])
@pytest.mark.parametrize("filtering", list(Behaviour))
def test_hairpin(scene: Scene, filtering: Behaviour, has_hairpin: bool) -> None:
    scene.lab.set_nat(scene.router, exact(filtering=filtering, habit=Habit(has_hairpin=has_hairpin)))
    heard = scene.probe("hairpin", scene.addresses[0])
    assert heard == (["public", "public"] if has_hairpin else ["nobody", "nobody"])


def test_short_lifetime(scene: Scene) -> None:
    scene.lab.set_nat(scene.router, exact(habit=Habit(PREDICTED.ports, lifetime=0.5)))
    ports = scene.probe("lifetime", scene.addresses[0], 0.2, 0.2, 0.2, 0.8)
    assert ports == [str(FIRST_PORT)] * 4 + [str(FIRST_PORT + 1)]


def test_short_lifetime_in_the_kernel() -> None:
    with Lab() as lab:
        router = lab.add_router("home", Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, lifetime=1))
        scene = Scene(lab, router, lab.add_host("alice", router), started(lab, "server"))
        ports = scene.probe("lifetime", scene.addresses[0], 0.2, 2.5)
        assert ports[0] == ports[1] != ports[2]


def test_reboot_gives_other_ports(scene: Scene) -> None:
    scene.lab.set_nat(scene.router, exact())
    before = scene.probe("mapping", OWN_PORT, *scene.addresses)
    assert before == scene.probe("mapping", OWN_PORT, *scene.addresses)
    forget_flows(scene.lab, scene.router)
    assert before != scene.probe("mapping", OWN_PORT, *scene.addresses)


@pytest.mark.parametrize("nat", [exact(), LINUX], ids=["exact", "kernel"])
def test_another_public_address(nat: Nat) -> None:
    with Lab() as lab:
        router = lab.add_router("home", nat)
        scene = Scene(lab, router, lab.add_host("alice", router), started(lab, "server"))
        public = router.node.ipv4
        assert scene.probe("mapping", OWN_PORT, *scene.addresses)
        renumber(lab, router)
        assert router.node.ipv4 != public
        assert scene.probe("mapping", OWN_PORT, *scene.addresses)
        assert lab.can_ping(scene.host, scene.server.ipv4)
        assert lab.can_ping(scene.server, router.node.ipv4)
        assert not lab.can_ping(scene.server, public, timeout=0.3)


def test_another_address_of_the_host() -> None:
    with Lab() as lab:
        router = lab.add_router("home", exact())
        scene = Scene(lab, router, lab.add_host("alice", router), started(lab, "server"))
        moved = move(lab, scene.host, router)
        assert moved.ipv4 != scene.host.ipv4
        assert scene.probe("mapping", OWN_PORT, *scene.addresses)
        assert lab.can_ping(scene.host, scene.server.ipv4)


def test_tcp_and_ping_leave_by_the_kernels_nat_and_large_datagrams_by_the_exact_one(scene: Scene) -> None:
    scene.lab.set_nat(scene.router, exact(BY_PORT, BY_PORT))
    assert scene.lab.can_ping(scene.host, scene.server.ipv4)
    assert transferred(scene.lab, scene.server, scene.host, MEGABYTE)
    large = ["ping", "-n", "-c1", "-W2", "-s4000", str(scene.server.ipv4)]
    assert scene.lab.run(scene.host, large).returncode == 0
    asked = scene.lab.run(scene.host, [sys.executable, "-c", LARGE, str(scene.server.ipv4)])
    assert asked.stdout == "00\n", asked


LARGE = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.sendto(b"00" + bytes(3998), (sys.argv[1], 7002))
print(client.recv(4000)[:2].decode())
"""
"""Sends a datagram that travels in fragments both ways; port 7002 is an echo's."""


@pytest.fixture(scope="module", autouse=True)
def echo(scene: Scene) -> None:
    """Send every datagram back as it is."""
    program = (
        "import socket, sys\n"
        "server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "server.bind((sys.argv[1], 7002))\n"
        "print('ready', flush=True)\n"
        "while True: server.sendto(*server.recvfrom(65535))\n"
    )
    process = scene.lab.popen(
        scene.server, [sys.executable, "-c", program, str(scene.server.ipv4)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def transferred(lab: Lab, receiver: Node, sender: Node, size: int, port: int = 5001) -> str:
    """Carry bytes over TCP, and return their hash, if it is the same on both sides."""
    argv = [sys.executable, "-m", "tests.e2e.traffic"]
    receiving = lab.popen(receiver, [*argv, "receive", str(receiver.ipv4), str(port)], stdout=subprocess.PIPE)
    assert receiving.stdout is not None
    assert receiving.stdout.readline() == "ready\n"
    sent = lab.run(sender, [*argv, "send", str(receiver.ipv4), str(port), str(size)]).stdout
    arrived = receiving.communicate(timeout=30)[0]
    assert sent == arrived
    assert len(sent.split()[1]) == hashlib.sha256().digest_size * 2
    return arrived


# Networks


def test_two_nats_on_the_way() -> None:
    with Lab() as lab:
        carrier = lab.add_router("carrier", exact(habit=PREDICTED), is_carrier=True)
        home = lab.add_router("home", exact(BY_PORT, BY_PORT), carrier=carrier)
        scene = Scene(lab, home, lab.add_host("alice", home), started(lab, "server"))
        assert str(carrier.lan_v4).startswith("100.64.")
        assert seen_mapping(scene.probe("mapping", OWN_PORT, *scene.addresses)) is BY_PORT
        assert scene.probe("filtering", OWN_PORT, *scene.addresses) == ["00"]
        assert lab.can_ping(scene.host, scene.server.ipv4)
        assert lab.can_ping(scene.host, scene.server.ipv6)
        bob = lab.add_host("bob")
        block(lab, scene.host, bob)
        assert not lab.can_ping(scene.host, bob.ipv4, timeout=0.3)


@pytest.mark.parametrize("is_rejecting", [False, True])
@pytest.mark.parametrize("udp", [None, exact().udp], ids=["kernel", "exact"])
def test_networks_that_let_out_little(udp: object, is_rejecting: bool) -> None:
    base = LINUX if udp is None else exact()
    with Lab() as lab:
        router, server = lab.add_router("home", base), started(lab, "server")
        scene = Scene(lab, router, lab.add_host("alice", router), server)
        assert says(scene, "udp", 7000) == "answer"
        for outbound in (Outbound.NO_UDP, Outbound.ONLY_TCP_443):
            lab.set_nat(router, Nat(base.mapping, base.udp, outbound, is_rejecting=is_rejecting))
            assert says(scene, "udp", 7000) == ("refused" if is_rejecting else "silence")
            lets_all_tcp = outbound is Outbound.NO_UDP
            assert lab.can_ping(scene.host, server.ipv4, timeout=0.3) is lets_all_tcp
            stopped = "refused" if is_rejecting else "silence"
            assert says(scene, "tcp", 7777) == ("answer" if lets_all_tcp else stopped)
            assert says(scene, "tcp", 443) == "answer"
        lab.set_nat(router, base)
        assert says(scene, "udp", 7000) == "answer"


SAY = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
client.settimeout(0.5)
try:
    client.connect((address, port))
    if kind == "udp":
        client.send(b"00")
        client.recv(100)
    print("answer")
except TimeoutError:
    print("silence")
except OSError as error:
    print("refused", error, file=sys.stderr)
    print("refused")
"""
LISTEN = """
import socket, sys
listeners = [socket.create_server((sys.argv[1], port)) for port in (443, 7777)]
print("ready", flush=True)
sys.stdin.read()
"""


def says(scene: Scene, kind: str, port: int) -> str:
    """Tell what comes of a connection or a datagram."""
    address = str(scene.server.ipv4)
    listener = scene.lab.popen(
        scene.server, [sys.executable, "-c", LISTEN, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdout is not None
    assert listener.stdout.readline() == "ready\n"
    done = scene.lab.run(scene.host, [sys.executable, "-c", SAY, kind, address, str(port)])
    listener.communicate(timeout=10)
    return done.stdout.strip()


def test_ipv6_only_on_the_net_and_behind_a_firewall() -> None:
    with Lab() as lab:
        alice = lab.add_host("alice", ipv4=False)
        bob = lab.add_host("bob", lab.add_router("office", FIREWALL), ipv4=False)
        assert (alice.ipv4, bob.ipv4) == (None, None)
        assert lab.can_ping(bob, alice.ipv6)
        assert not lab.can_ping(alice, bob.ipv6, timeout=0.3)


# Paths


def test_blackhole_between_two_sites_while_the_rest_goes_on() -> None:
    with Lab() as lab:
        server = started(lab, "server")
        router = lab.add_router("home", exact())
        alice, bob = lab.add_host("alice", router), lab.add_host("bob")
        scene = Scene(lab, router, alice, server)
        block(lab, alice, bob, only_udp=True)
        assert lab.can_ping(alice, bob.ipv4)
        block(lab, alice, server, only_udp=True)
        assert says(scene, "udp", 7000) == "silence"
        assert says(scene, "tcp", 443) == "answer"
        unblock(lab, server, alice)
        assert says(scene, "udp", 7000) == "answer"
        unblock(lab, bob, alice)
        block(lab, router, bob)
        for address in (bob.ipv4, bob.ipv6):
            assert not lab.can_ping(alice, address, timeout=0.3)
        assert lab.can_ping(alice, server.ipv4)
        unblock(lab, alice, bob)
        assert lab.can_ping(alice, bob.ipv4)


def test_loss_is_about_what_was_ordered() -> None:
    with Lab() as lab:
        alice, bob = lab.add_host("alice"), lab.add_host("bob")
        lose(lab, alice, 20)
        told = lab.run(alice, ["ping", "-n", "-q", "-c400", "-i0.002", "-W1", str(bob.ipv4)]).stdout
        lost = re.search(r"([\d.]+)% packet loss", told)
        assert lost is not None, told
        assert 24 < float(lost[1]) < 49, "both ways: 36 %, and six deviations of 2.4 %"
        lose(lab, alice, 0)
        assert "400 received" in lab.run(alice, ["ping", "-n", "-q", "-c400", "-i0.002", str(bob.ipv4)]).stdout


@pytest.mark.parametrize("is_silent", [False, True])
@pytest.mark.parametrize("nat", [exact(), LINUX], ids=["exact", "kernel"])
def test_lower_mtu(nat: Nat, is_silent: bool) -> None:
    with Lab() as lab:
        router, bob = lab.add_router("home", nat), lab.add_host("bob")
        alice = lab.add_host("alice", router)
        argv = ["ping", "-n", "-c1", "-W0.3", "-Mdo", "-s1400"]
        assert lab.run(alice, [*argv, str(bob.ipv4)]).returncode == 0
        limit_size(lab, router, 1300, is_silent)
        for address in (bob.ipv4, bob.ipv6):
            told = lab.run(alice, [*argv, str(address)])
            assert told.returncode == 1
            assert ("1300" in told.stdout) is not is_silent, told
        udp = lab.run(alice, [sys.executable, "-c", TOO_LARGE, str(bob.ipv4)])
        assert udp.stdout == ("silence\n" if is_silent else "too large\n"), udp
        assert lab.can_ping(alice, bob.ipv4)
        limit_size(lab, router, 1500)
        lab.shell(alice.namespace, "ip -6 route flush cache")
        assert lab.run(alice, [*argv, str(bob.ipv6)]).returncode == 0


TOO_LARGE = """
import errno, select, socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
client.connect((sys.argv[1], 9000))
client.settimeout(0.5)
try:
    client.send(bytes(1400))
    client.recv(100)
except TimeoutError:
    print("silence")
except OSError as error:
    print("too large" if error.errno == errno.EMSGSIZE else error)
"""
