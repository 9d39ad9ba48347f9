"""Machines that know each other: they pair once, and find each other again whatever begins, ends or moves.

Each story is a function that plays on hosts of its own; the tests look at what it brought back.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from p2ptun.signal.code import Code, parse_code
from tests.e2e.disturbance import renumber
from tests.e2e.lab import Node, Router
from tests.e2e.nat import LINUX
from tests.e2e.program import Json, Program, TunnelLab
from tests.e2e.serve import Serve

pytestmark = pytest.mark.root

LIMIT = 15.0
"""Seconds. Everything takes 1 s or 2, and is printed; the limit is loose for machines that do much else."""

LOSS_LIMIT = 40.0
"""Seconds for a path that nobody says goodbye to: it is missed after 5 to 10."""


@dataclass(slots=True)
class Machine:
    """One of two that pair: its host, its router, its directory, and its daemon while it runs."""

    lab: TunnelLab
    host: Node
    router: Router
    server: Serve
    directory: Path
    daemon: Program | None = None

    @property
    def running(self) -> Program:
        assert self.daemon is not None
        return self.daemon

    def pair(self, *arguments: str) -> Program:
        """Run `p2ptun pair home`."""
        return self.lab.start(
            self.host, "pair", "home", "--directory", str(self.directory), "--rendezvous", self.server.url, *arguments
        )

    def start(self) -> None:
        """Start its daemon."""
        self.daemon = self.lab.start(self.host, "daemon", "home", "--directory", str(self.directory))

    def end(self, number: signal.Signals) -> int:
        """End its daemon, and return the exit code."""
        self.running.stop(number)
        return self.running.exit_code()

    def can_ping(self, other: Machine) -> bool:
        return self.lab.can_ping(self.host, other.running.ipv4, timeout=2)


@dataclass(slots=True)
class Outcome:
    """What a story brought back: times in seconds, whether pings came through, whatever else there is to look at."""

    times: dict[str, float] = field(default_factory=dict)
    pings: dict[str, bool] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


Story = Callable[[Machine, Machine], Outcome]


def pair(alice: Machine, bob: Machine) -> tuple[Json, Json, float]:
    """Pair the two; return what they were told, and how long it took from the second command on."""
    first = alice.pair()
    code = first.expect("code")["code"]
    began = time.monotonic()
    second = bob.pair(code)
    told, ended = second.expect("paired"), first.expect("paired")
    took = time.monotonic() - began
    assert (first.exit_code(), second.exit_code()) == (0, 0)
    return ended, told, took


def met(outcome: Outcome, name: str, began: float, *machines: Machine) -> None:
    """Wait for a new path on both sides, note how long it took, and ping."""
    ready = max(machine.running.expect_timed("path", LOSS_LIMIT)[1] for machine in machines)
    one, other = machines
    outcome.times[name] = ready - began
    outcome.pings[name] = one.can_ping(other) and other.can_ping(one)


def story_of_two_machines(alice: Machine, bob: Machine) -> Outcome:
    """They pair, meet, crash and leave, one after the other."""
    outcome = Outcome()
    *outcome.facts["paired"], outcome.times["pair"] = pair(alice, bob)
    alice.start()
    alice.running.expect("interface")
    began = time.monotonic()
    bob.start()
    met(outcome, "both run", began, alice, bob)
    outcome.facts["status"] = alice.running.status()
    outcome.facts["status text"] = alice.lab.p2ptun(alice.host, "status", "home").stdout
    again = alice.lab.p2ptun(alice.host, "daemon", "home", "--directory", str(alice.directory))
    outcome.facts["twice"] = (again.returncode, again.stderr)
    for name, machine, other, number in (
        ("Alice crashed", alice, bob, signal.SIGKILL),
        ("Bob crashed", bob, alice, signal.SIGKILL),
        ("Bob left", bob, alice, signal.SIGTERM),
    ):
        outcome.facts[name] = machine.end(number)
        if number is signal.SIGTERM:
            other.running.expect("peer", state="failed")
        began = time.monotonic()
        machine.start()
        met(outcome, f"{name}, and came back", began, machine, other)
    return outcome


def story_of_a_server(alice: Machine, bob: Machine) -> Outcome:
    """The server goes away and comes back without a memory; then everything does."""
    outcome = Outcome()
    pair(alice, bob)
    for machine in (alice, bob):
        machine.start()
    met(outcome, "both run", time.monotonic(), alice, bob)
    told = len(alice.running.find("path")), len(alice.running.find("peer"))
    alice.server.kill()
    outcome.pings["without the server"] = alice.can_ping(bob)
    alice.server.start()
    outcome.pings["with another server"] = bob.can_ping(alice)
    outcome.facts["undisturbed"] = told == (len(alice.running.find("path")), len(alice.running.find("peer")))
    bob.end(signal.SIGKILL)
    began = time.monotonic()
    bob.start()
    met(outcome, "the server forgot, and one crashed", began, alice, bob)
    for order in ((alice.start, alice.server.start, bob.start), (bob.start, alice.start, alice.server.start)):
        for machine in (alice, bob):
            machine.end(signal.SIGKILL)
        alice.server.kill()
        for start in order:
            began = time.monotonic()
            start()
        met(
            outcome,
            f"all crashed, {'the server' if order[-1] == alice.server.start else 'Bob'} last",
            began,
            alice,
            bob,
        )
    return outcome


def story_of_two_that_move(alice: Machine, bob: Machine) -> Outcome:
    """Both homes get another public address at the same moment: only the room can tell each where the other is."""
    outcome = Outcome()
    pair(alice, bob)
    for machine in (alice, bob):
        machine.start()
    met(outcome, "both run", time.monotonic(), alice, bob)
    before = [machine.running.peer() for machine in (alice, bob)]
    alice.lab.popen(alice.host, ["ping", "-n", "-i0.2", str(bob.running.ipv4)])
    began = time.monotonic()
    for machine in (alice, bob):
        renumber(machine.lab, machine.router)
    met(outcome, "both moved", began, alice, bob)
    outcome.facts["peers"] = list(zip(before, [machine.running.peer() for machine in (alice, bob)], strict=True))
    return outcome


def story_of_a_wrong_code(alice: Machine, bob: Machine) -> Outcome:
    """Somebody guesses; then a person interrupts. Nothing is left behind."""
    first = alice.pair()
    code = parse_code(first.expect("code")["code"])
    began = time.monotonic()
    second = bob.pair(str(Code(code.room, code.secret ^ 1)))
    third = alice.pair()
    third.expect("code")
    third.stop()
    programs = (first, second, third)
    outcome = Outcome()
    outcome.facts["codes"] = [each.exit_code() for each in programs]
    outcome.facts["talk"] = [each.talk for each in programs]
    outcome.times["refused"] = time.monotonic() - began
    outcome.facts["left"] = [list(each.directory.iterdir()) for each in (alice, bob) if each.directory.exists()]
    return outcome


STORIES: Mapping[str, Story] = {
    "machines": story_of_two_machines,
    "server": story_of_a_server,
    "moves": story_of_two_that_move,
    "wrong code": story_of_a_wrong_code,
}
Outcomes = Mapping[str, Future[Outcome]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Play all stories at once. The laboratory closes first, so that none plays on."""
    scratch = tmp_path_factory.mktemp("pinned")
    with ThreadPoolExecutor(len(STORIES)) as pool, TunnelLab() as lab:
        casts: dict[str, list[Machine]] = {}
        steady, shaky = (lab.start_serve(lab.add_server(name), relay=False, rooms=True) for name in ("one", "two"))
        for number, name in enumerate(STORIES):
            server = shaky if name == "server" else steady
            routers = [lab.add_router(f"r{number}{which}", LINUX, ipv6=False) for which in "ab"]
            hosts = [lab.add_host(f"{number}-{who}", at) for who, at in zip(("Alice", "Bob"), routers, strict=True)]
            casts[name] = [
                Machine(lab, host, at, server, scratch / host.name) for host, at in zip(hosts, routers, strict=True)
            ]
        yield {name: pool.submit(story, *casts[name]) for name, story in STORIES.items()}


@pytest.mark.parametrize("name", ["machines", "server", "moves"])
def test_they_meet_again_whatever_happens(outcomes: Outcomes, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes[name].result()
    with capsys.disabled():
        print("".join(f"\n  pinned: {what}: {took * 1000:.0f} ms" for what, took in outcome.times.items()))
    assert all(outcome.pings.values()), outcome.pings
    assert all(took < (LOSS_LIMIT if what == "both moved" else LIMIT) for what, took in outcome.times.items())


def test_pairing_tells_both_what_they_have_now(outcomes: Outcomes) -> None:
    here, there = outcomes["machines"].result().facts["paired"]
    for one, other in ((here, there), (there, here)):
        assert (one["name"], one["addresses"]) == ("home", other["peer_addresses"])
        assert [Path(each).name for each in one["files"]] == ["home.key", "home.psk", "home.toml"]


def test_status_tells_of_a_pinned_tunnel_as_of_any(outcomes: Outcomes) -> None:
    facts = outcomes["machines"].result().facts
    status, (here, there) = facts["status"], facts["paired"]
    assert (status["interface"]["name"], status["interface"]["addresses"]) == ("home", here["addresses"])
    (peer,) = status["peers"]
    assert (peer["name"], peer["state"], peer["quantum_resistant"]) == (here["peer"], "connected", True)
    assert {each.split("/")[0] for each in peer["allowed_ips"]} == {each.split("/")[0] for each in there["addresses"]}
    assert here["peer"] in facts["status text"]


def test_one_name_is_one_daemon(outcomes: Outcomes) -> None:
    code, said = outcomes["machines"].result().facts["twice"]
    assert code == 1
    assert "home" in said


def test_a_signal_ends_a_daemon_in_order(outcomes: Outcomes) -> None:
    facts = outcomes["machines"].result().facts
    assert (facts["Bob left"], facts["Bob crashed"]) == (0, -signal.SIGKILL)


def test_a_server_that_is_away_disturbs_no_tunnel(outcomes: Outcomes) -> None:
    assert outcomes["server"].result().facts["undisturbed"]


def test_who_moves_at_the_same_time_keeps_the_keys(outcomes: Outcomes) -> None:
    for before, after in outcomes["moves"].result().facts["peers"]:
        assert after["last_handshake_s"] > before["last_handshake_s"]
        assert after["ice"]["generation"] > before["ice"]["generation"]
        assert after["path"]["remote"]["address"] != before["path"]["remote"]["address"]


def test_a_wrong_code_leaves_nothing_on_either_side(outcomes: Outcomes) -> None:
    outcome = outcomes["wrong code"].result()
    assert outcome.facts["codes"] == [4, 4, 1]
    assert all("wrong code" in talk for talk in outcome.facts["talk"][:2])
    assert "Nothing was written." in outcome.facts["talk"][2]
    assert outcome.facts["left"] == []
    assert outcome.times["refused"] < LIMIT
