"""python-zeroconf on the other side: it resolves our names, and we resolve its."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from p2ptun.mdns.name import name_of_uuid
from tests.e2e.lab import Lab, Node
from tests.e2e.nat import LINUX
from tests.io.test_multicast_root import Host

pytest.importorskip("zeroconf", reason="needs zeroconf, which is installed with [dev]")

pytestmark = pytest.mark.root

OURS_V4, OURS_V6, THEIRS_V4, THEIRS_V6 = (name_of_uuid(bytes([number] * 16)) for number in (1, 2, 3, 4))

RESOLVE = """
import sys
from zeroconf import AddressResolver, IPVersion, Zeroconf

with Zeroconf(ip_version=IPVersion.All) as zeroconf:
    for name in sys.argv[1:]:
        resolver = AddressResolver(name + ".")
        print(resolver.request(zeroconf, 3000), *resolver.parsed_addresses())
"""

RESPOND = """
import sys
from ipaddress import ip_address
from zeroconf import IPVersion, ServiceInfo, Zeroconf

with Zeroconf(ip_version=IPVersion.All) as zeroconf:
    for number, pair in enumerate(sys.argv[1:]):
        name, _, address = pair.partition("=")
        kind = "_p2ptun-test._udp.local."
        zeroconf.register_service(
            ServiceInfo(kind, f"{number}.{kind}", 9, addresses=[ip_address(address).packed], server=name + ".")
        )
    print("ready", flush=True)
    sys.stdin.read()
"""


class Neighbours:
    """Two hosts on one link."""

    def __init__(self, lab: Lab) -> None:
        home = lab.add_router("home", LINUX)
        self.lab = lab
        self.ours, self.theirs = lab.add_host("ours", home), lab.add_host("theirs", home)

    def start(self, node: Node, *argv: str) -> Host:
        """Start a Python program on a host."""
        return Host(node, self.lab.popen(node, [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE))


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    with Lab() as lab:
        yield Neighbours(lab)


def test_zeroconf_resolves_our_names(neighbours: Neighbours) -> None:
    host = neighbours.start(neighbours.ours, "-m", "tests.io.mdns_host")
    host.hear()
    ipv4, ipv6 = host.addresses()
    host.tell(f"register {OURS_V4} {ipv4} eth0")
    host.tell(f"register {OURS_V6} {ipv6} eth0")
    done = neighbours.lab.run(neighbours.theirs, [sys.executable, "-c", RESOLVE, OURS_V4, OURS_V6, THEIRS_V4])
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"True {ipv4}", f"True {ipv6}", "False"]


def test_we_resolve_the_names_of_zeroconf(neighbours: Neighbours) -> None:
    ipv4, ipv6 = neighbours.theirs.ipv4, neighbours.theirs.ipv6
    pairs = [f"{THEIRS_V4}={ipv4}", f"{THEIRS_V6}={ipv6}"]
    zeroconf = neighbours.start(neighbours.theirs, "-c", RESPOND, *pairs)
    assert zeroconf.process.stdout is not None
    assert zeroconf.process.stdout.readline() == "ready\n"
    host = neighbours.start(neighbours.ours, "-m", "tests.io.mdns_host")
    host.hear()
    host.tell(f"resolve {THEIRS_V4} {THEIRS_V6}")
    said = [host.hear(), host.hear()]
    assert sorted(json.dumps(each) for each in said) == sorted(
        json.dumps({"resolved": name, "address": str(address)})
        for name, address in ((THEIRS_V4, ipv4), (THEIRS_V6, ipv6))
    )


def test_both_live_on_one_machine(neighbours: Neighbours) -> None:
    """The port is shared, so the first question asks everybody to hear the answer."""
    zeroconf = neighbours.start(neighbours.theirs, "-c", RESPOND, f"{THEIRS_V4}={neighbours.theirs.ipv4}")
    assert zeroconf.process.stdout is not None
    assert zeroconf.process.stdout.readline() == "ready\n"
    beside, away = (neighbours.start(node, "-m", "tests.io.mdns_host") for node in (neighbours.theirs, neighbours.ours))
    links = beside.hear()["links"]
    assert isinstance(links, list)
    assert ["eth0", 4, True] in links
    away.hear()
    ipv4 = away.node.ipv4
    away.tell(f"register {OURS_V4} {ipv4} eth0")
    beside.tell(f"resolve {OURS_V4}")
    assert beside.hear() == {"resolved": OURS_V4, "address": str(ipv4)}
    beside.tell(f"resolve {THEIRS_V4}")
    assert beside.hear() == {"resolved": THEIRS_V4, "address": str(neighbours.theirs.ipv4)}
