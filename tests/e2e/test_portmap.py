"""Routers that map ports on request: a way in where there is no other.

Nobody here asks a STUN server, but where it is said: two machines behind NATs know only private addresses of theirs
then, and what a router maps is all that the other side can send to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import miniupnpd
from tests.e2e.lab import Node, Router, wait_until
from tests.e2e.miniupnpd import MiniUpnpd, Speech
from tests.e2e.nat import LINUX, SYMMETRIC, Nat
from tests.e2e.program import Program, Tunnel, TunnelLab

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(miniupnpd.missing()), reason=miniupnpd.missing()),
]

PATIENCE = "4"  # seconds for what is not to work

KNOCK = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
    sock.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
"""
COUNT = "table inet seen {{ chain input {{ type filter hook input priority 0; udp dport {port} counter; }}; }}"


class Scene:
    """Alice at home, Bob in an office, each behind a NAT, and nothing between them but the net."""

    def __init__(self, lab: TunnelLab, scratch: Path, homes: Nat, offices: Nat, ipv6: bool = False) -> None:
        self.lab = lab
        self.scratch = scratch
        self.home = lab.add_router("home", homes, ipv6)
        self.office = lab.add_router("office", offices, ipv6)
        self.alice = lab.add_host("alice", self.home)
        self.bob = lab.add_host("bob", self.office)

    def serve(self, router: Router, hears: Speech = Speech.ANYTHING) -> MiniUpnpd:
        """Let a router map ports."""
        gateway = MiniUpnpd(self.lab, router, self.scratch, hears)
        gateway.start()
        return gateway

    def check(self, tunnel: Tunnel) -> None:
        """Send something through a tunnel, both ways."""
        assert self.lab.can_ping(self.alice, tunnel.join.ipv4)
        assert self.lab.can_ping(self.bob, tunnel.share.ipv4)

    def stop(self, tunnel: Tunnel) -> None:
        tunnel.share.stop()
        assert [tunnel.share.exit_code(), tunnel.join.exit_code()] == [0, 0]


@pytest.fixture
def lab() -> Iterator[TunnelLab]:
    with TunnelLab() as lab:
        yield lab


def mapped_address(side: Program) -> tuple[str, int]:
    """Give where the other side was told that its router forwards."""
    candidate = side.find("candidate", side="local", type="srflx")[-1]
    return candidate["address"], candidate["port"]


def own_port(side: Program, host: Node) -> int:
    """Give the port of its UDP socket."""
    candidates = side.find("candidate", side="local", type="host", transport="udp", address=str(host.ipv4))
    return int(candidates[0]["port"])


def test_one_mapping_joins_two_symmetric_nats(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, SYMMETRIC, SYMMETRIC)
    gateway = scene.serve(scene.home)
    tunnel = lab.connect(scene.alice, scene.bob)
    port = own_port(tunnel.share, scene.alice)
    assert mapped_address(tunnel.share) == (str(gateway.external), port)
    assert gateway.forwards() == {(str(scene.alice.ipv4), port): port}
    path = tunnel.join.find("path")[-1]
    assert path["kind"] == "direct"
    assert (path["remote"]["address"], path["remote"]["port"]) == (str(gateway.external), port)
    scene.check(tunnel)
    scene.stop(tunnel)
    assert gateway.forwards() == {}  # given back
    assert tunnel.share.find("error") == []


def test_without_it_they_cant_be_joined(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, SYMMETRIC, SYMMETRIC)
    gateway = scene.serve(scene.home)
    share = lab.start(scene.alice, "share", "--no-port-mapping", "--timeout", PATIENCE)
    join = lab.start(scene.bob, "join", "--timeout", PATIENCE)
    join.feed(share.expect("offer")["blob"])
    share.feed(join.expect("answer")["blob"])
    assert [share.exit_code(), join.exit_code()] == [1, 1]
    assert gateway.forwards() == {}
    assert share.find("candidate", side="local", type="srflx") == []


@pytest.mark.parametrize(("homes", "offices"), [(SYMMETRIC, LINUX), (LINUX, LINUX)], ids=["symmetric", "restricted"])
def test_the_side_that_joins_may_be_the_one_with_the_mapping(
    lab: TunnelLab, tmp_path: Path, homes: Nat, offices: Nat
) -> None:
    scene = Scene(lab, tmp_path, homes, offices)
    gateway = scene.serve(scene.office)
    tunnel = lab.connect(scene.alice, scene.bob)
    path = tunnel.share.find("path")[-1]
    assert (path["kind"], path["remote"]["address"]) == ("direct", str(gateway.external))
    scene.check(tunnel)
    scene.stop(tunnel)


def test_both_may_have_one_and_a_stun_server_too(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, SYMMETRIC, SYMMETRIC)
    uri = lab.start_stun(lab.add_server("stun"))
    gateways = [scene.serve(router) for router in (scene.home, scene.office)]
    tunnel = lab.connect(scene.alice, scene.bob, "--stun", uri)
    for side, gateway in zip((tunnel.share, tunnel.join), gateways, strict=True):
        seen = {each["address"] for each in side.find("candidate", side="local", type="srflx", transport="udp")}
        assert str(gateway.external) in seen
        assert len(seen) == 2
        assert side.find("path")[-1]["kind"] == "direct"
    scene.check(tunnel)
    scene.stop(tunnel)
    assert [gateway.forwards() for gateway in gateways] == [{}, {}]


def test_an_old_router_that_speaks_nat_pmp_only(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, SYMMETRIC, SYMMETRIC)
    gateway = scene.serve(scene.home, Speech.NAT_PMP)
    tunnel = lab.connect(scene.alice, scene.bob)
    assert tunnel.join.find("path")[-1]["remote"]["address"] == str(gateway.external)
    scene.check(tunnel)
    scene.stop(tunnel)
    assert gateway.forwards() == {}


def test_a_router_that_says_nothing_is_waited_for_a_moment_only(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, LINUX, LINUX)
    uri = lab.start_stun(lab.add_server("stun"))
    scene.serve(scene.home, Speech.NOTHING)
    tunnel = lab.connect(scene.alice, scene.bob, "--stun", uri)
    scene.check(tunnel)
    scene.stop(tunnel)
    assert tunnel.share.find("error") == []


def test_a_router_that_was_switched_off_and_on_maps_again(lab: TunnelLab, tmp_path: Path) -> None:
    scene = Scene(lab, tmp_path, SYMMETRIC, SYMMETRIC)
    gateway = scene.serve(scene.home)
    tunnel = lab.connect(scene.alice, scene.bob)
    before = gateway.forwards()
    assert before
    gateway.restart()
    assert gateway.forwards() == {}
    device = scene.alice.device  # the cable of a router without current is dead
    lab.shell(scene.alice.namespace, f"ip link set {device} down")
    lab.shell(scene.alice.namespace, f"ip link set {device} up && ip route add default via {scene.home.lan_v4[1]}")
    wait_until(lambda: gateway.forwards() == before, 15, "the router maps the same again")
    wait_until(lambda: lab.can_ping(scene.alice, tunnel.join.ipv4), 30, "the tunnel carries again")
    scene.stop(tunnel)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_in_ipv6_it_opens_the_firewall(lab: TunnelLab, tmp_path: Path, is_wanted: bool) -> None:
    scene = Scene(lab, tmp_path, LINUX, LINUX, ipv6=True)
    stranger = lab.add_server("stranger")
    gateway = scene.serve(scene.home)
    share = lab.start(scene.alice, "share", *([] if is_wanted else ["--no-port-mapping"]))
    share.expect("offer")
    hosts = share.find("candidate", side="local", type="host", transport="udp", address=str(scene.alice.ipv6))
    port = hosts[0]["port"]
    lab.shell(scene.alice.namespace, f"nft '{COUNT.format(port=port)}'")
    assert lab.run(stranger, [sys.executable, "-c", KNOCK, str(scene.alice.ipv6), str(port)]).returncode == 0
    assert lab.can_ping(stranger, scene.home.node.ipv6)  # what was sent before has arrived, or won't
    seen = lab.shell(scene.alice.namespace, "nft list table inet seen")
    assert ("counter packets 1 " in seen, "counter packets 0 " in seen) == (is_wanted, not is_wanted)
    assert gateway.holes() == is_wanted
    share.stop()
    assert share.exit_code() == 0
    assert gateway.holes() == 0
