"""However a tunnel ends, nothing of it stays, the other side is told, and the next one can start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.lab import Node, wait_until
from tests.e2e.program import Program, TunnelLab

pytestmark = pytest.mark.root

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
ROUTES = ("--route", "172.20.1.0/24", "--route", "fd20:1::/64")


@dataclass(frozen=True, slots=True)
class Scene:
    """Two hosts, and what they were like before any tunnel."""

    lab: TunnelLab
    alice: Node
    bob: Node
    before: dict[str, str]

    def expect_untouched(self) -> None:
        """Check that no interface, address, route or control socket is left."""
        for host in (self.alice, self.bob):
            self.lab.expect_configuration(host, self.before[host.name])


@pytest.fixture(scope="module")
def lab() -> Iterator[TunnelLab]:
    with TunnelLab() as lab:
        yield lab


@pytest.fixture(scope="module")
def hosts(lab: TunnelLab) -> tuple[Node, Node]:
    return lab.add_host("alice"), lab.add_host("bob")


@pytest.fixture
def scene(lab: TunnelLab, hosts: tuple[Node, Node]) -> Iterator[Scene]:
    alice, bob = hosts
    yield Scene(lab, alice, bob, {host.name: lab.configuration(host) for host in hosts})
    lab.kill_programs()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_share_while_it_waits_for_the_answer(scene: Scene, number: signal.Signals) -> None:
    share = scene.lab.start(scene.alice, "share")
    share.expect("waiting", kind="answer")
    assert scene.lab.configuration(scene.alice) != scene.before["alice"]
    end(share, number)
    scene.expect_untouched()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_join_while_it_waits_for_the_offer(scene: Scene, number: signal.Signals) -> None:
    join = scene.lab.start(scene.bob, "join")
    join.expect("waiting", kind="offer")
    end(join, number)
    scene.expect_untouched()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_join_while_it_checks(scene: Scene, number: signal.Signals) -> None:
    share, join = scene.lab.start(scene.alice, "share", *ROUTES), scene.lab.start(scene.bob, "join")
    join.feed(share.expect("offer")["blob"])
    join.expect("progress")
    assert "172.20.1.0/24" in scene.lab.configuration(scene.bob)
    end(join, number)
    end(share, number)
    scene.expect_untouched()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("who", ["share", "join"])
def test_a_signal_ends_a_tunnel_on_both_sides(scene: Scene, who: str, number: signal.Signals) -> None:
    tunnel = scene.lab.connect(scene.alice, scene.bob, "--name", "ending")
    assert scene.lab.can_ping(scene.alice, tunnel.join.ipv4)
    stopped, told = (tunnel.share, tunnel.join) if who == "share" else (tunnel.join, tunnel.share)
    end(stopped, number)
    assert told.expect("peer", state="failed")["reason"] == "the other side closed the tunnel"
    assert told.exit_code() == 0, told.describe()
    assert told.talk == ""
    scene.expect_untouched()


def end(program: Program, number: signal.Signals) -> None:
    """End a program by a signal, and expect it to take that as a matter of course."""
    program.stop(number)
    assert program.exit_code() == 0, program.describe()
    assert program.talk == ""


def test_the_routes_of_the_other_side_lead_into_the_tunnel_until_it_ends(scene: Scene) -> None:
    share = scene.lab.start(scene.alice, "share", *ROUTES)
    tunnel = scene.lab.introduce(share, scene.lab.start(scene.bob, "join"))
    routes = scene.lab.shell(scene.bob.namespace, "ip route; ip -6 route")
    for network in ROUTES[1::2]:
        assert f"{network} dev p2ptun0" in routes
    scene.lab.shell(scene.alice.namespace, "ip address add 172.20.1.9/32 dev lo")
    assert scene.lab.can_ping(scene.bob, "172.20.1.9")
    scene.lab.shell(scene.alice.namespace, "ip address delete 172.20.1.9/32 dev lo")
    end(tunnel.share, signal.SIGINT)
    assert tunnel.join.exit_code() == 0
    scene.expect_untouched()


def test_after_kill_9_the_same_name_starts_again(scene: Scene) -> None:
    first = scene.lab.connect(scene.alice, scene.bob, "--name", "again0")
    first.share.stop(signal.SIGKILL)
    assert first.share.exit_code() == -signal.SIGKILL
    left = scene.lab.runtime(scene.alice) / "again0.sock"
    assert left.is_socket(), "a killed process can't remove its socket: the next one has to"
    links = "ip -brief link"
    wait_until(lambda: "again0" not in scene.lab.shell(scene.alice.namespace, links), 3, "the interface went with it")
    assert scene.lab.p2ptun(scene.alice, "status", "again0").returncode == 1
    first.join.stop()
    assert first.join.exit_code() == 0
    second = scene.lab.connect(scene.alice, scene.bob, "--name", "again0")
    assert scene.lab.can_ping(scene.alice, second.join.ipv4)
    end(second.share, signal.SIGTERM)
    assert second.join.exit_code() == 0
    scene.expect_untouched()


def test_a_removed_interface_ends_the_tunnel_with_an_error(scene: Scene) -> None:
    tunnel = scene.lab.connect(scene.alice, scene.bob)
    scene.lab.shell(scene.alice.namespace, "ip link delete p2ptun0")
    assert tunnel.share.exit_code() == 1, tunnel.share.describe()
    assert "Traceback" not in tunnel.share.talk
    assert "p2ptun: The interface p2ptun0 was removed by somebody else." in tunnel.share.talk
    tunnel.join.stop()
    assert tunnel.join.exit_code() == 0
    scene.expect_untouched()
