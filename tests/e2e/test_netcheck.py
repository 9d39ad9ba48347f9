"""`p2ptun netcheck` behind real NATs: all nine, the kernel's own, firewalls, networks without UDP; coturn agrees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import wait_until
from tests.e2e.coturn import TLS_443
from tests.e2e.lab import Node, Router
from tests.e2e.nat import FIREWALL, LINUX, SYMMETRIC, Mapping, Nat, Outbound, exact
from tests.e2e.program import P2PTUN, TunnelLab
from tests.e2e.serve import Serve
from tests.sim.nat import Behaviour, Habit, Ports

pytestmark = pytest.mark.root

NINE = list(product(Behaviour, Behaviour))
INDEPENDENT, BY_PORT = Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
"""Root without any capability: an ordinary user who may read the files of the test."""

KERNEL = {"linux": LINUX, "symmetric": SYMMETRIC, "firewall": FIREWALL}
NO_UDP = Nat(Mapping.ENDPOINT_INDEPENDENT, outbound=Outbound.NO_UDP)
FORGETFUL = Nat(Mapping.ENDPOINT_INDEPENDENT, lifetime=10)
LIFETIME = 10.0


class Scene:
    """A server with two addresses, and hosts behind all kinds of routers. What takes long is begun at once."""

    def __init__(self, lab: TunnelLab, pool: ThreadPoolExecutor, scratch: Path) -> None:
        self.lab = lab
        self.server = lab.add_server("server")
        self.serving: Serve = lab.start_serve(self.server)
        self.coturn = lab.add_server("coturn")
        self.start_coturn(scratch)
        self.router: Router = lab.add_router("home", exact(), ipv6=False)
        self.host = lab.add_host("alice", self.router, ipv6=False)
        self.kernel = {name: lab.add_host(name, lab.add_router(f"r-{name}", nat)) for name, nat in KERNEL.items()}
        forgetful = lab.add_host("forgetful", lab.add_router("r-forgetful", FORGETFUL))
        self.forgetful = pool.submit(self.ipv4, forgetful, "--stun", self.serving.stun, "--lifetime")
        self.discovered = {name: pool.submit(self.natdiscovery, host) for name, host in self.kernel.items()}

    def start_coturn(self, scratch: Path) -> None:
        """Run coturn as a STUN server with two addresses."""
        listen = [f"--listening-ip={each}" for each in (self.coturn.ipv4, self.coturn.alternates[0])]
        files = [f"--userdb={scratch}/coturn.db", f"--pidfile={scratch}/coturn.pid", "--log-file=/dev/null"]
        options = ["-n", "--no-cli", "--no-tls", "--no-dtls", "--stun-only", "--simple-log"]
        argv = ["turnserver", *options, *listen, *files]
        self.lab.popen(self.coturn, argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.lab.run(self.coturn, ["ss", "-Hlun"]).stdout.count(":347") >= 4, 20, "coturn listens")

    def netcheck(self, host: Node, *options: str) -> dict[str, Any]:
        """Take the document, of an unprivileged process."""
        argv = [*UNPRIVILEGED, P2PTUN, "netcheck", "--json", *options]
        done = self.lab.run(host, argv, timeout=180, env=self.lab.environment(host))
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def ipv4(self, host: Node, *options: str) -> dict[str, Any]:
        """Take what it says of IPv4."""
        document = self.netcheck(host, *options or ("--stun", self.serving.stun))
        [nat] = [each for each in document["nat"] if each["family"] == "ipv4"]
        assert document["took_ms"] < 5000
        return dict(nat)

    def natdiscovery(self, host: Node) -> str:
        """Ask coturn's own client, of coturn."""
        done = self.lab.run(host, ["turnutils_natdiscovery", "-m", "-f", str(self.coturn.ipv4)], timeout=60)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ThreadPoolExecutor() as pool, TunnelLab() as lab:
        yield Scene(lab, pool, tmp_path_factory.mktemp("coturn"))


@pytest.mark.parametrize(("mapping", "filtering"), NINE)
def test_all_nine(scene: Scene, mapping: Behaviour, filtering: Behaviour) -> None:
    scene.lab.set_nat(scene.router, exact(mapping, filtering))
    nat = scene.ipv4(scene.host)
    assert (nat["mapping"], nat["filtering"]) == (mapping.value, filtering.value)
    assert nat["public"] == [str(scene.router.node.ipv4)]
    assert nat["ports"]["allocation"] == "random"
    assert nat["preserves_port"] is False
    assert (nat["sends_fragments"], nat["receives_fragments"]) == (True, True)


@pytest.mark.parametrize(("ports", "allocation"), [(Ports.SEQUENTIAL, "sequential"), (Ports.PRESERVED, "preserving")])
def test_ports(scene: Scene, ports: Ports, allocation: str) -> None:
    scene.lab.set_nat(scene.router, exact(INDEPENDENT, BY_PORT, Habit(ports)))
    found = scene.ipv4(scene.host)["ports"]
    assert found == {"allocation": allocation, "delta": found["delta"], "is_consistent": True}
    assert found["delta"] == (1 if ports is Ports.SEQUENTIAL else None)


@pytest.mark.parametrize("has_hairpin", [True, False])
def test_hairpinning(scene: Scene, has_hairpin: bool) -> None:
    scene.lab.set_nat(scene.router, exact(habit=Habit(has_hairpin=has_hairpin)))
    assert scene.ipv4(scene.host)["hairpins"] is has_hairpin


@pytest.mark.parametrize("name", KERNEL)
def test_coturn_says_the_same_of_the_kernel(scene: Scene, name: str) -> None:
    """As a server of ours, and as a client of its own."""
    host = scene.kernel[name]
    ours = scene.ipv4(host)
    over_coturn = scene.ipv4(host, "--stun", f"stun:{scene.coturn.ipv4}")
    theirs = scene.discovered[name].result()
    mapping = BY_PORT if name == "symmetric" else INDEPENDENT
    words = {INDEPENDENT: "Endpoint Independent", BY_PORT: "Address and Port Dependent"}
    assert ours["mapping"] == over_coturn["mapping"] == mapping.value
    assert ours["filtering"] == over_coturn["filtering"] == BY_PORT.value
    assert f"{words[mapping]} Mapping!" in theirs
    assert f"{words[BY_PORT]} Filtering!" in theirs
    assert ours["has_nat"] is over_coturn["has_nat"] is (name != "firewall")
    assert ours["preserves_port"] is {"linux": True, "symmetric": False, "firewall": None}[name]


def test_ipv6_has_a_firewall_and_no_nat(scene: Scene) -> None:
    document = scene.netcheck(scene.kernel["linux"], "--stun", f"stun:[{scene.server.ipv6}]")
    [nat] = document["nat"]
    assert (nat["family"], nat["has_nat"], nat["filtering"]) == ("ipv6", False, BY_PORT.value)
    assert nat["local"] == nat["public"][0]
    assert nat["hairpins"] is None


def test_two_servers_with_one_address_each(scene: Scene) -> None:
    """The mapping shows, the filtering doesn't; that is said."""
    lab = scene.lab
    uris = [lab.start_stun(lab.add_server(name)) for name in ("one", "two")]
    document = scene.netcheck(scene.kernel["symmetric"], *(f"--stun={uri}" for uri in uris))
    [nat] = document["nat"]
    assert (nat["mapping"], nat["filtering"]) == ("dependent", None)
    assert {each["id"] for each in document["warnings"]} == {"filtering-unknown", "no-relay"}


def test_without_udp_it_says_so_and_what_works(scene: Scene) -> None:
    host = scene.lab.add_host("blocked", scene.lab.add_router("r-blocked", NO_UDP))
    options = scene.serving.options("turn:{host}", TLS_443)
    document = scene.netcheck(host, "--stun", scene.serving.stun, *options)
    assert "udp-blocked" in {each["id"] for each in document["warnings"]}
    stun, turn, turns = document["servers"]
    times = {way["transport"]: way["time_ms"] for way in (*stun["ways"], *turn["ways"], *turns["ways"])}
    assert times["udp"] is None
    assert min(times["tcp"], times["tls"]) > 0
    assert turn["relay"]["works"], document
    assert turns["relay"]["works"], document
    assert document["took_ms"] < 5000


def test_the_lifetime_of_a_binding(scene: Scene) -> None:
    lifetime = scene.forgetful.result()["lifetime"]
    assert lifetime["at_least_s"] <= LIFETIME + 1 < lifetime["at_most_s"] + 1
    assert lifetime["at_most_s"] < LIFETIME + 8
