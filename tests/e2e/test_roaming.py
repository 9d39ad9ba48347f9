"""A machine moves, sleeps, or its NAT forgets it, while traffic runs: the traffic goes on. All stories at once.

There is no rendezvous that could carry news of new addresses: they have to travel with the checks themselves, or
through what is left of the tunnel. So the side that stays is on the net with a public address, and no filter before it:
there the side that moves can always knock. (Two sides behind filters that both moved at once need a rendezvous.)
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.disturbance import Uplink, add_uplink, change_ports, forget_flows
from tests.e2e.lab import Node, Router, wait_until
from tests.e2e.nat import LINUX
from tests.e2e.program import Program, Tunnel, TunnelLab
from tests.e2e.test_lab import namespaces

pytestmark = pytest.mark.root

TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]
TRANSFER = 3_000_000
TRANSFER_RATE = 200_000  # bytes a second: 15 s
SETTLED = 4.0  # seconds into the transfer: both sides have told each other what a restart needs
STOPPED = 40.0  # longer than consent lasts (RFC 7675 5.1)
UNPLUGGED_FOR = 45.0  # consent ends after 30 s, patience (RFC 8863) after 39.5


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice at home behind a NAT, with another uplink that is down; Bob on the net. IPv4 only."""

    lab: TunnelLab
    home: Router
    cafe: Router
    alice: Node
    bob: Node
    other: Uplink

    def shell(self, script: str) -> None:
        """Do something on Alice's machine."""
        self.lab.shell(self.alice.namespace, script)


@dataclass(slots=True)
class Outcome:
    """What a story brought back: what was transferred, silences in milliseconds, and what was told."""

    sent: str = ""
    arrived: str = ""
    silences: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    codes: tuple[int, ...] = ()


Disturbance = Callable[[Scene], None]


def move_to_another_address(scene: Scene) -> None:
    """Alice's address is replaced by another one of the same network."""
    old, gateway = scene.alice.ipv4, scene.home.lan_v4[1]
    scene.shell(f"""
echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries
ip -batch - <<END
address add 192.168.{scene.home.lan_v4[0].packed[2]}.77/24 dev eth0
address del {old}/24 dev eth0
route replace default via {gateway} dev eth0
END""")


def move_to_another_network(scene: Scene) -> None:
    """Alice leaves home; a moment later she is in the cafe, with another interface."""
    scene.shell("ip link set eth0 down")
    scene.shell(scene.other.up(200))


def lose_one_of_two_uplinks(scene: Scene) -> None:
    """Alice has both networks; the default route that is in use goes, and nothing comes that way any more."""
    scene.lab.cut(scene.home)
    scene.shell("ip route del default dev eth0")


def restart_the_nat(scene: Scene) -> None:
    """Alice's NAT forgets its bindings and makes the same ones again."""
    forget_flows(scene.lab, scene.home)


def restart_the_nat_with_other_ports(scene: Scene) -> None:
    """Alice's NAT forgets its bindings, and shows her with another port from now on."""
    change_ports(scene.lab, scene.home)
    forget_flows(scene.lab, scene.home)


def move_to_another_ipv6_address(scene: Scene) -> None:
    """Bob, who is on the net and speaks IPv6 only, gets another address of his network."""
    old = scene.bob.ipv6
    assert old is not None
    scene.lab.shell(
        scene.bob.namespace,
        f"""
ip -batch - <<END
address add {old + 0x77}/64 dev eth0 nodad
address del {old}/64 dev eth0
END""",
    )


DISTURBANCES: Mapping[str, Disturbance] = {
    "another address": move_to_another_address,
    "another network": move_to_another_network,
    "another default route": lose_one_of_two_uplinks,
    "another IPv6 address": move_to_another_ipv6_address,
    "NAT restarted": restart_the_nat,
    "NAT restarted, other port": restart_the_nat_with_other_ports,
}
SLEEP = "asleep"
UNPLUGGED = "unplugged"
EARLY = "moved before it began"


def play(scene: Scene, disturb: Disturbance) -> Outcome:
    """Run a transfer and beats through a tunnel, disturb them, and look what arrived."""
    if disturb is lose_one_of_two_uplinks:
        scene.shell(
            f"ip route replace default via {scene.home.lan_v4[1]} dev eth0 metric 100; ip route del default metric 0"
        )
        scene.shell(scene.other.up(200))
    tunnel = scene.lab.connect(scene.alice, scene.bob)
    lab, address, ends = scene.lab, str(tunnel.join.ipv4), start_beating(scene, tunnel)
    receiver = lab.popen(scene.bob, [*TRAFFIC, "receive", address, "5001"], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    arguments = ["send", address, "5001", str(TRANSFER), str(TRANSFER_RATE)]
    sender = lab.popen(scene.alice, [*TRAFFIC, *arguments], stdout=subprocess.PIPE)
    time.sleep(SETTLED)  # the transfer itself
    disturb(scene)
    outcome = Outcome(sender.communicate(timeout=60)[0], receiver.communicate(timeout=30)[0])
    beats = [end.communicate(timeout=30)[0].split() for end in ends]
    outcome.silences = [int(silence) for _, silence in beats]
    outcome.facts = {"beats": [int(count) for count, _ in beats], "status": tunnel.share.peer(), **told(tunnel.share)}
    tunnel.share.stop()
    outcome.codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    return outcome


def start_beating(scene: Scene, tunnel: Tunnel) -> list[subprocess.Popen[str]]:
    """Let both ends send a datagram every 10 ms for as long as the transfer takes."""
    alice, bob = str(tunnel.share.ipv4), str(tunnel.join.ipv4)
    seconds = f"{TRANSFER / TRANSFER_RATE + 2:g}"
    return [
        scene.lab.popen(host, [*TRAFFIC, "beat", own, peer, "5002", seconds], stdout=subprocess.PIPE)
        for host, own, peer in ((scene.alice, alice, bob), (scene.bob, bob, alice))
    ]


def told(side: Program) -> dict[str, Any]:
    """Sum up what a side has told."""
    return {kind: side.find(kind) for kind in ("network", "path", "restart", "resumed", "peer", "error")}


def sleep_and_wake(scene: Scene) -> Outcome:
    """Alice's program stands still for longer than consent lasts, under traffic from Bob."""
    tunnel = scene.lab.connect(scene.alice, scene.bob)
    ping = scene.lab.popen(scene.bob, ["ping", "-n", "-q", "-i0.2", str(tunnel.share.ipv4)])
    time.sleep(SETTLED)
    tunnel.share.stop(signal.SIGSTOP)
    time.sleep(STOPPED)  # the sleep itself
    lost = tunnel.join.peer()
    tunnel.share.stop(signal.SIGCONT)
    woken_at = time.monotonic()
    wait_until(lambda: scene.lab.can_ping(scene.bob, tunnel.share.ipv4, timeout=0.2), 20, "an answer to a ping")
    silence = time.monotonic() - woken_at
    ping.kill()
    ping.wait()
    outcome = Outcome(silences=[round(1000 * silence)], facts={"lost": lost, **told(tunnel.share)})
    outcome.facts["told there"] = told(tunnel.join)
    tunnel.share.stop()
    outcome.codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    return outcome


def pull_and_plug(scene: Scene) -> Outcome:
    """Alice's only cable is out for longer than consent lasts, and longer than the first search for a path may take."""
    tunnel = scene.lab.connect(scene.alice, scene.bob)
    time.sleep(SETTLED)
    scene.shell("ip link set eth0 down")
    time.sleep(UNPLUGGED_FOR)  # the time without a network itself
    lost = tunnel.share.peer()
    health = [each["id"] for each in tunnel.share.status()["health"]]
    scene.shell(f"ip link set eth0 up; ip route replace default via {scene.home.lan_v4[1]} dev eth0")
    plugged_at = time.monotonic()
    wait_until(lambda: scene.lab.can_ping(scene.bob, tunnel.share.ipv4, timeout=0.2), 20, "an answer to a ping")
    silence = time.monotonic() - plugged_at
    outcome = Outcome(silences=[round(1000 * silence)], facts={"lost": lost, "health": health, **told(tunnel.share)})
    tunnel.share.stop()
    outcome.codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    return outcome


def move_before_it_begins(scene: Scene) -> Outcome:
    """Bob moves while a person carries his offer: another offer takes its place, and works."""
    share, join = scene.lab.start(scene.bob, "share"), scene.lab.start(scene.alice, "join")
    share.expect("offer")
    share.expect("waiting")
    assert scene.bob.ipv4 is not None
    old, new = str(scene.bob.ipv4), str(scene.bob.ipv4 + 1)
    gateway = scene.bob.ipv4 - 1
    scene.lab.shell(
        scene.bob.namespace,
        f"""
ip -batch - <<END
address del {old}/28 dev eth0
address add {new}/28 dev eth0
route add default via {gateway}
END""",
    )
    join.feed(share.expect("offer")["blob"])
    share.feed(join.expect("answer")["blob"])
    join.expect("path")
    facts = {"old": old, "new": new, "remote": join.find("path")[-1]["remote"], **told(share)}
    share.stop()
    return Outcome(facts=facts, codes=(share.exit_code(), join.exit_code()))


def build_scene(lab: TunnelLab, number: int, version: int) -> Scene:
    """Build the scene for one story, of one version of IP."""
    home, cafe = (lab.add_router(f"{name}{number}", LINUX, ipv6=version == 6) for name in ("home", "cafe"))
    alice = lab.add_host(f"alice{number}", home, ipv4=version == 4)
    bob = lab.add_host(f"bob{number}", ipv4=version == 4, ipv6=version == 6)
    return Scene(lab, home, cafe, alice, bob, add_uplink(lab, alice, cafe))


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Mapping[str, Future[Outcome]]]:
    """Play all stories at once. The laboratory closes first, so that after Ctrl-C none of them plays on."""
    names = [*DISTURBANCES, SLEEP, UNPLUGGED, EARLY]
    with ThreadPoolExecutor(len(names)) as pool, TunnelLab() as lab:
        scenes = {name: build_scene(lab, number, 6 if "IPv6" in name else 4) for number, name in enumerate(names)}
        stories = {SLEEP: pool.submit(sleep_and_wake, scenes[SLEEP])}
        stories[UNPLUGGED] = pool.submit(pull_and_plug, scenes[UNPLUGGED])
        stories[EARLY] = pool.submit(move_before_it_begins, scenes[EARLY])
        for name, disturb in DISTURBANCES.items():
            stories[name] = pool.submit(play, scenes[name], disturb)
        yield stories
    assert lab.prefix not in namespaces()


Outcomes = Mapping[str, Future[Outcome]]
LIMITS = {
    "another address": 2000,
    "another network": 3000,
    "another default route": 3000,
    "another IPv6 address": 2000,
    "NAT restarted": 2000,
    "NAT restarted, other port": 4000,
}
"""Milliseconds without a beat. What it took is printed; the limits are loose for machines that do much else."""


@pytest.mark.parametrize("name", list(DISTURBANCES))
def test_a_transfer_goes_on(outcomes: Outcomes, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes[name].result()
    with capsys.disabled():
        print(f"\n  {name}: silent for {outcome.silences[0]} ms to the one side, {outcome.silences[1]} ms to the other")
    assert outcome.sent == outcome.arrived
    assert outcome.sent.startswith(f"{TRANSFER} ")
    assert max(outcome.silences) < LIMITS[name], outcome.facts
    assert outcome.codes == (0, 0)
    assert {event["state"] for event in outcome.facts["peer"]} <= {"connecting", "connected", "idle", "suspect"}
    assert outcome.facts["error"] == []


def test_a_changed_network_is_told(outcomes: Outcomes) -> None:
    facts = outcomes["another address"].result().facts
    assert [[each["interface"] for each in event["gained"] + event["lost"]] for event in facts["network"]] == [
        ["eth0"] * 2
    ]
    assert facts["network"][0]["gained"][0]["address"].endswith(".77")
    assert facts["path"][-1]["remote"] == facts["path"][0]["remote"]
    facts = outcomes["another network"].result().facts
    assert {each["interface"] for event in facts["network"] for each in event["gained"]} == {"eth1"}
    assert {each["interface"] for event in facts["network"] for each in event["lost"]} == {"eth0"}
    assert facts["restart"], "by the change itself, or by the old path that went silent with it"


def test_traffic_leaves_by_the_uplink_that_is_left(outcomes: Outcomes) -> None:
    facts = outcomes["another default route"].result().facts
    assert [
        each["address"].split(".")[2] for event in facts["network"] for each in event["gained"] + event["lost"]
    ] == []
    assert facts["status"]["ice"]["generation"] > 0


def test_a_nat_that_restarts_is_no_change_of_the_network(outcomes: Outcomes) -> None:
    for name in ("NAT restarted", "NAT restarted, other port"):
        assert outcomes[name].result().facts["network"] == []


def test_who_slept_is_back_at_once(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes[SLEEP].result()
    with capsys.disabled():
        print(f"\n  {SLEEP} for {STOPPED:g} s: back after {outcome.silences[0]} ms")
    assert outcome.facts["lost"]["state"] == "connecting"
    assert outcome.facts["lost"]["reason"]
    (resumed,) = outcome.facts["resumed"]
    assert resumed["seconds"] == pytest.approx(STOPPED, abs=3)
    assert outcome.silences[0] < 3000
    assert outcome.codes == (0, 0)


def test_who_moves_before_it_began_gives_another_offer(outcomes: Outcomes) -> None:
    outcome = outcomes[EARLY].result()
    (note,) = outcome.facts["error"]
    assert "addresses have changed" in note["message"]
    gained = [each["address"] for event in outcome.facts["network"] for each in event["gained"]]
    assert gained == [outcome.facts["new"]], "in one step or two: the kernel takes one address and then gives the other"
    assert outcome.facts["remote"]["address"] == outcome.facts["new"]
    assert outcome.facts["restart"] == [], "what was described stays good"
    assert outcome.codes == (0, 0)


def test_who_was_unplugged_is_back_with_the_cable(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes[UNPLUGGED].result()
    with capsys.disabled():
        print(f"\n  {UNPLUGGED} for {UNPLUGGED_FOR:g} s: back after {outcome.silences[0]} ms")
    assert outcome.facts["lost"]["state"] == "connecting"
    assert "no-network" in outcome.facts["health"]
    assert "failed" not in {event["state"] for event in outcome.facts["peer"]}
    assert outcome.codes == (0, 0)
