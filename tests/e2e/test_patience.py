"""What takes its time: dead paths, wrong keys, people who carry blobs slowly. The stories run side by side.

Each story is a function that plays on hosts of its own; the tests look at what it brought back. All of them together
take as long as the longest, which is about a minute.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from p2ptun.node.event import FailureReason
from p2ptun.node.keying import HANDSHAKE_TIMEOUT
from tests.e2e.lab import Node, Router, wait_until
from tests.e2e.nat import LINUX
from tests.e2e.program import Program, Tunnel, TunnelLab

pytestmark = pytest.mark.root

CONSENT_EXPIRY = 30.0  # RFC 7675 5.1
PATIENCE = 5.0  # seconds: what `--timeout` grants
CARRYING = 45.0
"""How long a person carries the answer: longer than a check list lives (39.5 s) and than the NATs remember (28 s)."""

BINDING_LIFETIME = 28
"""Seconds for which the NATs remember a UDP flow. Ours are kept alive every 15 to 25 s."""

TRANSFER = 4_000_000
TRANSFER_RATE = 200_000  # bytes a second: 20 s, so that the cut falls into it
TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two homes, each behind its NAT."""

    lab: TunnelLab
    name: str
    router: Router
    alice: Node
    bob: Node
    stun: str

    def connect(self, *options: str) -> Tunnel:
        return self.lab.connect(self.alice, self.bob, "--stun", self.stun, *options)


@dataclass(slots=True)
class Outcome:
    """What a story brought back: exit codes, times in seconds, documents, words."""

    codes: tuple[int, ...] = ()
    times: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


Story = Callable[[Pair, Path], Outcome]


def story_of_a_dead_path(pair: Pair, scratch: Path) -> Outcome:
    """The path is cut under traffic and stays dead, and the people have said how long to wait."""
    tunnel = pair.connect("--timeout", f"{PATIENCE:g}")
    sides = (tunnel.share, tunnel.join)
    with pinging(pair, tunnel):
        pair.lab.cut(pair.router)
        cut_at = time.monotonic()
        suspect_at = max(side.expect_timed("peer", 20, state="suspect")[1] for side in sides)
        document = tunnel.share.status()
        lost = [side.expect_timed("peer", 45, state="connecting") for side in sides]
        codes = (tunnel.share.exit_code(30), tunnel.join.exit_code(30))
    ended_at = time.monotonic()
    times = {"suspect": suspect_at - cut_at, "lost": max(at for _, at in lost) - cut_at}
    times |= {"first lost": min(at for _, at in lost) - cut_at, "ended": ended_at - max(at for _, at in lost)}
    facts = {
        "reasons": [event["reason"] for event, _ in lost],
        "state": document["peers"][0]["state"],
        "errors": tunnel.share.find("error"),
    }
    return Outcome(codes, times, facts)


def story_of_a_path_that_comes_back(pair: Pair, scratch: Path) -> Outcome:
    """The path is cut under traffic for longer than consent lasts; nobody does anything but wait."""
    tunnel = pair.connect()
    with pinging(pair, tunnel):
        pair.lab.cut(pair.router)
        for side in (tunnel.share, tunnel.join):
            side.expect("peer", 45, state="connecting")
        advice = tunnel.share.expect("error", 20)
        health = tunnel.share.status()["health"]
        pair.lab.restore(pair.router)
        restored_at = time.monotonic()
        back_at = max(side.expect_timed("peer", 45, state="connected")[1] for side in (tunnel.share, tunnel.join))
        pinged = pair.lab.can_ping(pair.alice, tunnel.join.ipv4, timeout=3)
    status = tunnel.share.status()
    facts = {"pinged": pinged, "advice": advice, "health": health, "status": status}
    tunnel.share.stop()
    return Outcome((tunnel.share.exit_code(), tunnel.join.exit_code()), {"back": back_at - restored_at}, facts)


def story_of_an_interruption(pair: Pair, scratch: Path) -> Outcome:
    """The path is cut in the middle of a TCP transfer, and comes back before consent expires."""
    tunnel = pair.connect()
    address = str(tunnel.join.ipv4)
    receiver = pair.lab.popen(pair.bob, [*TRAFFIC, "receive", address, "5001"], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    arguments = ["send", address, "5001", str(TRANSFER), str(TRANSFER_RATE)]
    sender = pair.lab.popen(pair.alice, [*TRAFFIC, *arguments], stdout=subprocess.PIPE)
    wait_until(lambda: tunnel.share.peer()["tx_bytes"] > 500_000, 20, "the transfer runs")
    pair.lab.cut(pair.router)
    tunnel.share.expect("peer", 20, state="suspect")
    time.sleep(5)  # the interruption itself
    pair.lab.restore(pair.router)
    restored_at = time.monotonic()
    recovered_at = tunnel.share.expect_timed("peer", 20, state="connected")[1]
    facts = {
        "ping": pair.lab.can_ping(pair.alice, address, timeout=3),
        "sent": sender.communicate(timeout=60)[0],
        "arrived": receiver.communicate(timeout=30)[0],
        "failed": tunnel.share.find("peer", state="failed"),
    }
    tunnel.share.stop()
    codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    return Outcome(codes, {"recovered": recovered_at - restored_at}, facts)


def story_of_silence(pair: Pair, scratch: Path) -> Outcome:
    """Nobody sends anything for longer than consent and the NATs' memory last; then a ping goes through."""
    tunnel = pair.connect()
    time.sleep(CONSENT_EXPIRY + 8)  # the silence itself
    states = [side.peer()["state"] for side in (tunnel.share, tunnel.join)]
    pings = [
        pair.lab.can_ping(pair.alice, tunnel.join.ipv4, timeout=3),
        pair.lab.can_ping(pair.bob, tunnel.share.ipv6, timeout=3),
    ]
    tunnel.join.stop()
    codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    return Outcome(codes, facts={"states": states, "pings": pings})


def story_of_two_secrets(pair: Pair, scratch: Path) -> Outcome:
    """Both sides have a pre-shared key, but not the same one."""
    began = time.monotonic()
    sides = [
        pair.lab.start(host, verb, "--stun", pair.stun, "--psk-file", make_psk(pair, scratch / f"{verb}.psk"))
        for host, verb in ((pair.alice, "share"), (pair.bob, "join"))
    ]
    share, join = sides
    join.feed(share.expect("offer")["blob"])
    share.feed(join.expect("answer")["blob"])
    reasons = [side.expect("peer", HANDSHAKE_TIMEOUT + 15, state="failed")["reason"] for side in sides]
    codes = (share.exit_code(), join.exit_code())
    return Outcome(codes, {"failed": time.monotonic() - began}, {"reasons": reasons, "advice": advice(share)})


def story_of_one_secret(pair: Pair, scratch: Path) -> Outcome:
    """Both sides have the same pre-shared key."""
    tunnel = pair.connect("--psk-file", make_psk(pair, scratch / "both.psk"))
    pinged = pair.lab.can_ping(pair.alice, tunnel.join.ipv4, timeout=3)
    tunnel.share.stop()
    return Outcome((tunnel.share.exit_code(), tunnel.join.exit_code()), facts={"pinged": pinged})


def story_of_a_slow_carrier(pair: Pair, scratch: Path) -> Outcome:
    """The answer arrives after 45 s, behind NATs which forget what isn't kept alive."""
    share = pair.lab.start(pair.alice, "share", "--stun", pair.stun)
    join = pair.lab.start(pair.bob, "join", "--stun", pair.stun)
    join.feed(share.expect("offer")["blob"])
    answer = join.expect("answer")["blob"]
    time.sleep(CARRYING)  # the carrying itself
    pasted = share.feed(answer)
    ready = max(side.expect_timed("path")[1] for side in (share, join))
    notes = share.find("error") + join.find("error")
    pinged = pair.lab.can_ping(pair.bob, share.ipv4, timeout=3)
    join.stop()
    codes = (share.exit_code(), join.exit_code())
    return Outcome(codes, {"setup": ready - pasted}, {"notes": notes, "pinged": pinged})


def story_of_a_new_address(pair: Pair, scratch: Path) -> Outcome:
    """The home gets another public address before the offer was carried: share prints a new one, and that works."""
    share = pair.lab.start(pair.alice, "share", "--stun", pair.stun)
    first = share.expect("offer")["blob"]
    address = renumber(pair)
    note = share.expect("error", 40)["message"]
    second = share.expect("offer")["blob"]
    join = pair.lab.start(pair.bob, "join", "--stun", pair.stun)
    join.feed(second)
    share.feed(join.expect("answer")["blob"])
    path = join.expect("path")
    share.stop()
    facts = {"changed": first != second, "note": note, "address": address, "remote": path["remote"]}
    return Outcome((share.exit_code(), join.exit_code()), facts=facts)


def renumber(pair: Pair) -> str:
    """Give the home's router the next public address in place of its own; return the new one."""
    old = pair.router.node.ipv4
    assert old is not None
    new = f"{old + 1}"
    script = f"""
echo 1 > /proc/sys/net/ipv4/conf/wan/promote_secondaries
length=$(ip -oneline -4 address show dev wan | sed 's/.*\\/\\([0-9]*\\) .*/\\1/')
ip address add {new}/$length dev wan
ip address delete {old}/$length dev wan"""
    pair.lab.shell(pair.router.node.namespace, script)
    return new


def story_of_nobody(pair: Pair, scratch: Path) -> Outcome:
    """The other side's description comes, the other side doesn't: share gives up with the reason."""
    share = pair.lab.start(pair.alice, "share", "--stun", pair.stun)
    join = pair.lab.start(pair.bob, "join", "--stun", pair.stun)
    join.feed(share.expect("offer")["blob"])
    answer = join.expect("answer")["blob"]
    join.stop()
    codes = [join.exit_code()]
    pasted = share.feed(answer)
    event, at = share.expect_timed("peer", 55, state="failed")
    codes.insert(0, share.exit_code())
    return Outcome(tuple(codes), {"failed": at - pasted}, {"reason": event["reason"], "advice": advice(share)})


def story_of_a_limit(pair: Pair, scratch: Path) -> Outcome:
    """`--timeout` ends the waiting for an answer that never comes."""
    began = time.monotonic()
    done = pair.lab.start(pair.alice, "share", "--timeout", "3")
    return Outcome((done.exit_code(20),), {"ended": time.monotonic() - began}, {"errors": done.find("error")})


STORIES: Mapping[str, Story] = {
    "dead": story_of_a_dead_path,
    "mended": story_of_a_path_that_comes_back,
    "interrupted": story_of_an_interruption,
    "silent": story_of_silence,
    "secrets": story_of_two_secrets,
    "secret": story_of_one_secret,
    "slow": story_of_a_slow_carrier,
    "renumbered": story_of_a_new_address,
    "nobody": story_of_nobody,
    "limit": story_of_a_limit,
}


@contextmanager
def pinging(pair: Pair, tunnel: Tunnel) -> Iterator[None]:
    """Keep pings going through a tunnel, for a path without traffic is never suspected."""
    pings = [
        pair.lab.popen(host, ["ping", "-n", "-q", "-i0.2", str(side.ipv4)])
        for host, side in ((pair.alice, tunnel.join), (pair.bob, tunnel.share))
    ]
    yield
    for ping in pings:
        ping.kill()
        ping.wait()


def advice(side: Program) -> str:
    """Return the remedy of the one error that a side has told, whose message must be the reason of its failure."""
    (error,) = side.find("error")
    (failure,) = side.find("peer", state="failed")
    assert failure["reason"].lower() in error["message"].lower()
    return str(error["remedy"])


def make_psk(pair: Pair, path: Path) -> str:
    """Make a pre-shared key as a person would: `umask 077; p2ptun genpsk > FILE`."""
    path.touch(mode=0o600)
    path.write_text(pair.lab.p2ptun(pair.alice, "genpsk").stdout)
    return str(path)


def build_pair(lab: TunnelLab, name: str, stun: str) -> Pair:
    """Build two homes whose NATs forget soon."""
    routers = [lab.add_router(f"{name}-{place}", LINUX, ipv6=False) for place in ("home", "office")]
    for router in routers:
        for kind in ("udp_timeout", "udp_timeout_stream"):
            path = f"/proc/sys/net/netfilter/nf_conntrack_{kind}"
            lab.shell(router.node.namespace, f"echo {BINDING_LIFETIME} > {path}")
    alice, bob = (lab.add_host(f"{name}-{who}", at) for who, at in zip(("alice", "bob"), routers, strict=True))
    return Pair(lab, name, routers[0], alice, bob, stun)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Play all stories at once. The laboratory closes first, so that after Ctrl-C none of them plays on."""
    with ThreadPoolExecutor(len(STORIES)) as pool, TunnelLab() as lab:
        stun = lab.start_stun(lab.add_server("stun"))
        pairs = {name: build_pair(lab, name, stun) for name in STORIES}
        yield {name: pool.submit(story, pairs[name], tmp_path_factory.mktemp(name)) for name, story in STORIES.items()}


Outcomes = Mapping[str, Future[Outcome]]


def test_a_dead_path_is_suspect_then_lost_then_given_up_when_the_person_said_so(outcomes: Outcomes) -> None:
    outcome = outcomes["dead"].result()
    assert outcome.facts["reasons"] == [FailureReason.CONSENT_EXPIRED.value] * 2
    assert outcome.facts["state"] == "suspect"
    assert outcome.times["suspect"] < 6
    assert CONSENT_EXPIRY - 8 <= outcome.times["first lost"] <= outcome.times["lost"] <= CONSENT_EXPIRY + 8
    assert outcome.times["ended"] < PATIENCE + 8
    assert outcome.codes == (1, 1)
    assert outcome.facts["errors"][-1]["message"] == f"Not connected again after {PATIENCE:g} s."
    assert "--timeout" in outcome.facts["errors"][-1]["remedy"]


def test_a_path_that_comes_back_is_found_again(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes["mended"].result()
    with capsys.disabled():
        print(f"\n  dead for longer than consent lasts: back {outcome.times['back']:.1f} s after the path was")
    assert "network" in outcome.facts["advice"]["remedy"]
    assert [each["message"] for each in outcome.facts["health"]] == [outcome.facts["advice"]["message"]]
    assert outcome.facts["status"]["health"] == []
    assert outcome.facts["status"]["peers"][0]["ice"]["generation"] > 0
    assert outcome.facts["pinged"]
    assert outcome.times["back"] < 30
    assert outcome.codes == (0, 0)


def test_an_interrupted_path_goes_on(outcomes: Outcomes) -> None:
    outcome = outcomes["interrupted"].result()
    assert outcome.times["recovered"] < 5
    assert outcome.facts["ping"]
    assert outcome.facts["sent"] == outcome.facts["arrived"]
    assert str(outcome.facts["sent"]).startswith(f"{TRANSFER} ")
    assert outcome.facts["failed"] == []
    assert outcome.codes == (0, 0)


def test_an_idle_tunnel_stays_and_wakes(outcomes: Outcomes) -> None:
    outcome = outcomes["silent"].result()
    assert set(outcome.facts["states"]) <= {"idle", "connected"}
    assert outcome.facts["pings"] == [True, True]
    assert outcome.codes == (0, 0)


def test_different_pre_shared_keys_fail_and_say_so(outcomes: Outcomes) -> None:
    outcome = outcomes["secrets"].result()
    assert outcome.facts["reasons"] == [FailureReason.HANDSHAKE_FAILED.value] * 2
    assert "--psk-file" in outcome.facts["advice"]
    assert outcome.codes == (1, 1)
    assert outcome.times["failed"] < HANDSHAKE_TIMEOUT + 15


def test_the_same_pre_shared_key_works(outcomes: Outcomes) -> None:
    outcome = outcomes["secret"].result()
    assert (outcome.facts["pinged"], outcome.codes) == (True, (0, 0))


def test_a_slowly_carried_answer_still_works(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes["slow"].result()
    with capsys.disabled():
        print(f"\n  answer carried for {CARRYING:g} s: tunnel up {outcome.times['setup'] * 1000:.0f} ms after it")
    assert outcome.times["setup"] < 5
    assert outcome.facts["notes"] == [], "no public address changed meanwhile"
    assert (outcome.facts["pinged"], outcome.codes) == (True, (0, 0))


def test_a_public_address_that_changes_is_told_and_a_new_offer_works(outcomes: Outcomes) -> None:
    outcome = outcomes["renumbered"].result()
    assert outcome.facts["changed"]
    assert f" to {outcome.facts['address']}:" in outcome.facts["note"]
    assert outcome.facts["remote"]["address"] == outcome.facts["address"]
    assert outcome.codes == (0, 0)


def test_a_side_that_nobody_joins_gives_up(outcomes: Outcomes) -> None:
    outcome = outcomes["nobody"].result()
    assert outcome.facts["reason"] == FailureReason.NO_PATH.value
    assert "--stun" in outcome.facts["advice"]
    assert outcome.codes == (1, 0)
    assert 30 < outcome.times["failed"] < 55


def test_the_time_limit_is_kept(outcomes: Outcomes) -> None:
    outcome = outcomes["limit"].result()
    assert outcome.codes == (1,)
    assert 3 <= outcome.times["ended"] < 10
    (error,) = outcome.facts["errors"]
    assert error["message"] == "Not connected after 3 s."
    assert "--timeout" in error["remedy"]
