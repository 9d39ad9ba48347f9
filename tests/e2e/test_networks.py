"""Networks that people really have, through the command line: carriers' NATs, one home, IPv6, loss, short memory.

All of them at once, in one laboratory; the matrix of NAT behaviours is in `test_matrix`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from tests.e2e.command import wait_until
from tests.e2e.disturbance import lose
from tests.e2e.lab import Lab, Node
from tests.e2e.nat import FIREWALL, exact
from tests.e2e.program import Json, TunnelLab
from tests.e2e.serve import Serve
from tests.sim.nat import Behaviour, Habit, Ports

pytestmark = pytest.mark.root

INDEPENDENT, BY_ADDRESS, BY_PORT = Behaviour
HAIRPIN = Habit(Ports.RANDOM, has_hairpin=True)
FORGETFUL = Habit(Ports.RANDOM, lifetime=2.0)
TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]
SIZE = 1_000_000
PATIENCE = 20.0

Pair = tuple[Node, Node]


def one_carrier(lab: Lab, habit: Habit) -> Pair:
    """Build two homes behind one carrier's NAT."""
    name = "hairpin" if habit.has_hairpin else "straight"
    carrier = lab.add_router(f"{name}-carrier", exact(habit=habit), ipv6=False, is_carrier=True)
    homes = [lab.add_router(f"{name}-home{number}", exact(), ipv6=False, carrier=carrier) for number in (1, 2)]
    here, there = (lab.add_host(f"{name}{number}", home) for number, home in enumerate(homes))
    return here, there


def two_carriers(lab: Lab) -> Pair:
    """Build two homes behind a carrier's NAT each."""
    hosts = []
    for number in (1, 2):
        carrier = lab.add_router(f"carrier{number}", exact(), ipv6=False, is_carrier=True)
        hosts.append(lab.add_host(f"double{number}", lab.add_router(f"inner{number}", exact(), carrier=carrier)))
    return hosts[0], hosts[1]


def one_home(lab: Lab) -> Pair:
    """Build one home with two hosts, whose NAT has no hairpin."""
    home = lab.add_router("shared", exact(), ipv6=False)
    return lab.add_host("sister", home), lab.add_host("brother", home)


def ipv6_only(lab: Lab) -> Pair:
    """Build a host without IPv4 on the net, and one behind a firewall."""
    return lab.add_host("six", ipv4=False), lab.add_host("six-walled", lab.add_router("wall", FIREWALL), ipv4=False)


def dual_stack(lab: Lab) -> Pair:
    """Build two homes whose NATs can't be passed, and IPv6 behind stateful firewalls."""
    homes = [lab.add_router(f"dual{number}", exact(BY_PORT, BY_PORT)) for number in (1, 2)]
    return lab.add_host("dual-a", homes[0]), lab.add_host("dual-b", homes[1])


def lossy(lab: Lab) -> Pair:
    """Build two homes, one of which loses every tenth packet each way."""
    homes = [lab.add_router(f"lossy{number}", exact(), ipv6=False) for number in (1, 2)]
    lose(lab, homes[0], 5)  # at both ends of the link: 10 %
    return lab.add_host("lossy-a", homes[0]), lab.add_host("lossy-b", homes[1])


def forgetful(lab: Lab) -> Pair:
    """Build two homes whose NATs forget what was silent for two seconds."""
    homes = [lab.add_router(f"forgetful{number}", exact(habit=FORGETFUL), ipv6=False) for number in (1, 2)]
    return lab.add_host("forgetful-a", homes[0]), lab.add_host("forgetful-b", homes[1])


NETWORKS: Mapping[str, Callable[[Lab], Pair]] = {
    "one carrier with hairpin": partial(one_carrier, habit=HAIRPIN),
    "one carrier without hairpin": partial(one_carrier, habit=Habit(Ports.RANDOM)),
    "two carriers": two_carriers,
    "one home": one_home,
    "IPv6 only": ipv6_only,
    "dual stack": dual_stack,
    "loss": lossy,
    "short memory": forgetful,
}
WANTED = {
    "one carrier with hairpin": ("direct", "srflx", "srflx", 4),
    "one carrier without hairpin": ("relay", None, None, None),
    "two carriers": ("direct", None, None, None),
    "one home": ("direct", "host", "host", None),
    "IPv6 only": ("direct", "host", "host", 6),
    "dual stack": ("direct", "host", "host", 6),
    "loss": ("direct", "srflx", "srflx", 4),
    "short memory": ("direct", "srflx", "srflx", 4),
}
"""The path's kind, its ends' types, and the version of IP, where they are certain."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pair ended with: both sides' paths, and what was carried."""

    paths: tuple[Json, Json]
    sent: str
    arrived: str
    codes: tuple[int, int]


def play(lab: TunnelLab, server: Serve, name: str, pair: Pair) -> Outcome:
    """Make a tunnel, carry bytes over it, and end it."""
    here, there = pair
    tunnel = lab.connect(here, there, "--stun", server.stun, *server.options())
    kind = WANTED[name][0]
    sides = (tunnel.share, tunnel.join)
    wait_until(lambda: {side.peer()["path"]["kind"] for side in sides} == {kind}, PATIENCE, f"{name}: a path, {kind}")
    address = str(tunnel.join.ipv4)
    receiver = lab.popen(there, [*TRAFFIC, "receive", address, "5001"], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sent = lab.run(here, [*TRAFFIC, "send", address, "5001", str(SIZE)]).stdout
    arrived = receiver.communicate(timeout=60)[0]
    paths = (tunnel.share.peer()["path"], tunnel.join.peer()["path"])
    return Outcome(paths, sent, arrived, tunnel.part())


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Mapping[str, Future[Outcome]]]:
    """Let all pairs meet, three at a time."""
    with TunnelLab() as lab:
        server = lab.start_serve(lab.add_server("server"))
        pairs = {name: build(lab) for name, build in NETWORKS.items()}
        with ThreadPoolExecutor(3) as pool:
            yield {name: pool.submit(play, lab, server, name, pair) for name, pair in pairs.items()}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_tunnel_in_a_real_network(outcomes: Mapping[str, Future[Outcome]], name: str) -> None:
    outcome = outcomes[name].result()
    kind, left, right, version = WANTED[name]
    for path, end in zip(outcome.paths, (left, right), strict=True):
        assert path["kind"] == kind
        assert end in (None, path["local"]["type"])
        assert version in (None, 6 if ":" in path["local"]["address"] else 4)
    assert outcome.sent == outcome.arrived
    assert outcome.sent.split()[0] == str(SIZE)
    assert outcome.codes == (0, 0)
