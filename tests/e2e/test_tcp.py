"""Networks that let no UDP pass: the tunnel comes up over TCP (RFC 6544)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lab import Node, Router
from tests.e2e.nat import FIREWALL, LINUX
from tests.e2e.program import Json, Program, TunnelLab
from tests.e2e.test_tunnel import MEGABYTE, SETUP_LIMIT, TRAFFIC, Scene, start_traffic

pytestmark = pytest.mark.root

BLOCKED = """
nft add table inet no-udp
nft add chain inet no-udp drop-udp '{{ type filter hook {hook} priority -10; }}'
nft add rule inet no-udp drop-udp {device} meta l4proto udp drop
"""

RESET = """
nft add table inet reset-one
nft add chain inet reset-one arriving '{{ type filter hook input priority -10; }}'
nft add rule inet reset-one arriving iifname "{device}" tcp sport {ports} tcp dport {ports} reject with tcp reset
"""
"""Resets the connection between two ports, and later ones between the same two."""


def block_host(lab: TunnelLab, host: Node) -> None:
    """Drop UDP that comes to a host from outside, without a word to anybody."""
    lab.shell(host.namespace, BLOCKED.format(hook="input", device=f'iifname "{host.device}"'))


def block_router(lab: TunnelLab, router: Router) -> None:
    """Let a router forward no UDP."""
    lab.shell(router.node.namespace, BLOCKED.format(hook="forward", device=""))


@pytest.fixture(scope="module")
def office() -> Iterator[Scene]:
    """Two hosts of one network, which let in no UDP."""
    with TunnelLab() as lab:
        router = lab.add_router("office", LINUX)
        alice, bob = lab.add_host("alice", router), lab.add_host("bob", router)
        for host in (alice, bob):
            block_host(lab, host)
        yield Scene(lab, lab.connect(alice, bob))


@pytest.fixture(scope="module")
def hotel() -> Iterator[Scene]:
    """A host behind a NAT that blocks UDP, and one with a public address that joins it."""
    with TunnelLab() as lab:
        router = lab.add_router("hotel", LINUX, ipv6=False)
        block_router(lab, router)
        yield Scene(lab, lab.connect(lab.add_host("alice", router), lab.add_host("bob", ipv6=False)))


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Scene]:
    """Two hosts with IPv6 only, each behind a firewall that lets in what answers, and no UDP."""
    with TunnelLab() as lab:
        routers = [lab.add_router(name, FIREWALL) for name in ("left", "right")]
        for router in routers:
            block_router(lab, router)
        alice, bob = (lab.add_host(f"in-{router.node.name}", router, ipv4=False) for router in routers)
        yield Scene(lab, lab.connect(alice, bob))


@pytest.fixture(params=["office", "hotel", "firewalls"])
def scene(request: pytest.FixtureRequest) -> Scene:
    value: Scene = request.getfixturevalue(request.param)
    return value


def test_the_tunnel_comes_up_over_tcp(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n  UDP blocked: tunnel up {scene.tunnel.setup * 1000:.0f} ms after the second blob")
    assert scene.tunnel.setup < SETUP_LIMIT
    for side in (scene.tunnel.share, scene.tunnel.join):
        path = side.find("path")[-1]
        assert (path["kind"], path["local"]["transport"], path["remote"]["transport"]) == ("direct", "tcp", "tcp")
        shown = side.peer()["path"]
        assert (shown["local"]["transport"], shown["remote"]["transport"]) == ("tcp", "tcp")


def test_the_blobs_stay_short(scene: Scene) -> None:
    assert max(len(scene.tunnel.offer), len(scene.tunnel.answer)) < 300


@pytest.mark.parametrize("version", [4, 6])
def test_both_sides_can_ping_over_tcp(scene: Scene, version: int) -> None:
    for host, other in ((scene.alice, scene.tunnel.join), (scene.bob, scene.tunnel.share)):
        address = other.ipv4 if version == 4 else other.ipv6
        said = scene.lab.run(host, ["ping", "-n", "-c10", "-i0.05", "-W2", str(address)]).stdout
        assert "10 received" in said, said


def test_20_megabytes_arrive_unchanged_over_tcp(scene: Scene) -> None:
    lab, address = scene.lab, str(scene.tunnel.join.ipv4)
    receiver = start_traffic(lab, scene.bob, "receive", address, "5001")
    sent = lab.run(scene.alice, [*TRAFFIC, "send", address, "5001", str(20 * MEGABYTE)], timeout=120)
    arrived, _ = receiver.communicate(timeout=60)
    assert sent.stdout.split() == arrived.split(), sent
    assert sent.stdout.split()[0] == str(20 * MEGABYTE)
    assert scene.tunnel.share.peer()["state"] == "connected"


def test_when_the_connection_is_cut_the_tunnel_makes_another(hotel: Scene) -> None:
    """A firewall resets the connection below the tunnel; a stream through the tunnel goes on."""
    lab, address = hotel.lab, str(hotel.tunnel.join.ipv4)
    before = ends(hotel.tunnel.join)
    receiver = start_traffic(lab, hotel.bob, "receive", address, "5002")
    sender = lab.popen(hotel.alice, [*TRAFFIC, "send", address, "5002", str(5 * MEGABYTE), "1000000"], stdout=-1)
    ports = "{ " + ", ".join(str(end["port"]) for end in before) + " }"
    lab.shell(hotel.bob.namespace, RESET.format(device=hotel.bob.device, ports=ports))
    sent, _ = sender.communicate(timeout=60)
    arrived, _ = receiver.communicate(timeout=60)
    assert sent.split() == arrived.split() != []
    assert ends(hotel.tunnel.join) != before


def ends(side: Program) -> list[Json]:
    """Give both ends of the path that a side takes."""
    path = side.peer()["path"]
    return [path["local"], path["remote"]]


def test_udp_takes_over_when_it_gets_through(office: Scene) -> None:
    for host in (office.alice, office.bob):
        office.lab.shell(host.namespace, "nft delete table inet no-udp")
    for host, other in ((office.alice, office.tunnel.join), (office.bob, office.tunnel.share)):
        office.lab.popen(host, ["ping", "-n", "-i0.2", "-w40", str(other.ipv4)])
    for side in (office.tunnel.share, office.tunnel.join):
        side.expect("path", 60, kind="direct")
        while side.find("path")[-1]["local"]["transport"] != "udp":
            side.expect("path", 60)
