"""Codes: two people behind NATs meet by one, or don't. Two stories are timed, and play alone and far from each other,
50 ms there and back; then all others at once.

Each story is a function that plays on hosts of its own; the tests look at what it brought back.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2ptun.signal.code import Code, parse_code
from tests.e2e.delay import add_delay
from tests.e2e.lab import Node, Router
from tests.e2e.nat import LINUX
from tests.e2e.program import Program, TunnelLab
from tests.e2e.screen import Screen
from tests.e2e.serve import Serve
from tests.e2e.test_bad_input import FAILED, USAGE, expect_refusal
from tests.terminal import CTRL_C, TAB

pytestmark = pytest.mark.root

WRONG_CODE = 4
LIMIT = 10.0
"""Seconds. What is promised is 1 s for a tunnel and 2 s for a wrong code, and the times are printed; the limit is loose
for machines that do much else."""

ONE_WAY = 0.0125
"""Seconds that a frame takes on each uplink: two of them, there and back, are the 50 ms of the promise."""

WATCH = """
table inet watch {
  chain sent {
    type filter hook output priority filter
    meta l4proto { 6, 17 } counter  # TCP and UDP
  }
}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Hosts behind two NATs that only let answers in, and a server where they meet."""

    lab: TunnelLab
    alice: Node
    bob: Node
    carol: Node
    server: Serve

    def share(self, *options: str) -> tuple[Program, str]:
        """Share on Alice's host; return that and the code."""
        share = self.lab.start(self.alice, "share", "--rendezvous", self.server.url, *options)
        return share, share.expect("code")["code"]

    def join(self, *arguments: str, host: Node | None = None) -> Program:
        """Join on Bob's host, or another."""
        return self.lab.start(host or self.bob, "join", "--rendezvous", self.server.url, *arguments)

    def open(self, host: Node, verb: str, *arguments: str) -> Screen:
        """Run it in a terminal."""
        return Screen(self.lab, host, verb, "--rendezvous", self.server.url, *arguments)


@dataclass(slots=True)
class Outcome:
    """What a story brought back: exit codes, words for people, times in seconds, documents."""

    codes: tuple[int, ...] = ()
    talks: tuple[str, ...] = ()
    times: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


Story = Callable[[Place], Outcome]


def ended(*sides: Program) -> Outcome:
    """Wait for the end of both sides."""
    codes = tuple(side.exit_code() for side in sides)
    return Outcome(codes, tuple(side.talk for side in sides))


def story_of_a_tunnel(place: Place) -> Outcome:
    """It comes up, and carries; the server goes away and comes back meanwhile."""
    distance = place.lab.run(place.bob, ["ping", "-n", "-c1", str(place.server.node.ipv4)]).stdout
    share, code = place.share()
    share.expect("gathered")
    began = time.monotonic()
    join = place.join(code)
    ready = max(side.expect_timed("path")[1] for side in (share, join))
    pings = [place.lab.can_ping(place.bob, share.ipv4)]
    pinged = time.monotonic()
    facts: dict[str, Any] = {"quantum": [side.peer()["quantum_resistant"] for side in (share, join)]}
    facts["distance"] = float(distance.partition("time=")[2].split()[0]) / 1000
    told = len(share.events), len(join.events)
    place.server.kill()
    pings.append(place.lab.can_ping(place.alice, join.ipv6))
    place.server.start()
    pings.append(place.lab.can_ping(place.bob, share.ipv6))
    facts |= {"pings": pings, "news": share.events[told[0] :] + join.events[told[1] :], "events": share.events}
    share.stop()
    outcome = ended(share, join)
    outcome.times, outcome.facts = {"path": ready - began, "ping": pinged - began}, facts
    return outcome


def story_of_a_wrong_code(place: Place) -> Outcome:
    """Somebody guesses; then the right code comes, too late."""
    share, text = place.share()
    code = parse_code(text)
    began = time.monotonic()
    outcome = ended(place.join(str(Code(code.room, code.secret ^ 1))), share)
    outcome.times = {"ended": time.monotonic() - began}
    late = place.join(text)
    outcome.codes += (late.exit_code(),)
    outcome.talks += (late.talk,)
    return outcome


def story_of_a_third_party(place: Place) -> Outcome:
    """While two compare words, which are alike, somebody else comes with their code."""
    share, code = place.share("--verify")
    join = place.join("--verify", code)
    words = [side.expect("verify")["words"] for side in (share, join)]
    third = place.join(code, host=place.carol)
    refused = third.exit_code()
    told = [side.expect("error") for side in (share, join)]
    before = share.find("path") + join.find("path")
    for side in (share, join):
        side.feed("perhaps")
        side.expect("error")
        side.feed("Yes")
    for side in (share, join):
        side.expect("path")
    pinged = place.lab.can_ping(place.bob, share.ipv4)
    join.stop()
    outcome = ended(share, join)
    outcome.codes, outcome.talks = (*outcome.codes, refused), (*outcome.talks, third.talk)
    outcome.facts = {"words": words, "told": told, "before": before, "pinged": pinged}
    return outcome


def story_of_other_words(place: Place) -> Outcome:
    """The words are compared, and the person at one side says that they differ. Bob's code comes through a pipe."""
    share, code = place.share("--verify")
    join = place.join("--verify")
    join.feed(code)
    for side in (share, join):
        side.expect("verify")
    share.feed("no")
    outcome = ended(share, join)
    outcome.facts = {"paths": share.find("path") + join.find("path")}
    return outcome


def story_of_a_late_no(place: Place) -> Outcome:
    """One person has said yes by the time that the other one says no."""
    share, code = place.share("--verify")
    join = place.join("--verify", code)
    share.expect("verify")
    share.feed("yes")
    share.expect("interface")
    join.expect("verify")
    join.feed("no")
    outcome = ended(share, join)
    outcome.facts = {"paths": share.find("path") + join.find("path")}
    return outcome


def story_of_mistakes(place: Place) -> Outcome:
    """Codes that can't be any are refused, and nothing is sent."""
    place.lab.nft(place.carol.namespace, WATCH)
    number, first, second, third = ["42", "amber", "tiger", "lamp"]
    tries = {
        "mistyped": f"{number}-{first}-{second[:-1]}-{third}",
        "without number": f"{first}-{second}-{third}",
        "short": f"{number}-{first}",
        "paste": "",
    }
    done = {
        name: place.lab.p2ptun(place.carol, "join", "--rendezvous", place.server.url, code)
        for name, code in tries.items()
    }
    done["paste"] = place.lab.p2ptun(place.carol, "join", "42-amber-tiger-lamp")
    sent = place.lab.shell(place.carol.namespace, "nft list table inet watch")
    return Outcome(facts={"done": done, "sent": sent})


def story_of_a_person(place: Place) -> Outcome:
    """The code is read from one screen and typed at the other, with a mistake first, and with TAB."""
    share, join = place.open(place.alice, "share"), place.open(place.bob, "join")
    number, *words = read_code(share).split("-")
    join.read_until("Code: ")
    join.type(f"{number}-{words[0]}\n".encode())
    join.read_until("Code: ")
    join.type(f"{number}-{words[0][:4]}".encode() + TAB)
    join.read_until(f"-{words[0]}-")
    join.type(f"{words[1]}-{words[2]}\n".encode())
    for screen in (share, join):
        screen.read_until("connected")
    join.type(CTRL_C)
    return closed(join, share)


def story_of_interruptions(place: Place) -> Outcome:
    """Ctrl-C at the prompt, and while nobody comes; then the other side comes, too late."""
    asked = place.open(place.bob, "join")
    asked.read_until("Code: ")
    asked.type(b"42-am" + CTRL_C)
    waiting = place.open(place.alice, "share")
    code = read_code(waiting)
    waiting.type(CTRL_C)
    outcome = closed(asked, waiting)
    late = place.join(code)
    outcome.codes += (late.exit_code(),)
    outcome.talks += (late.talk,)
    return outcome


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What moves the cursor and clears lines (ECMA-48 5.4): the code comes where a spinner was."""


def read_code(screen: Screen) -> str:
    """Wait for the line that is the code alone."""
    return CONTROL.sub("", screen.read_until("\r\nOn the other side")).split()[-5]


def closed(*screens: Screen) -> Outcome:
    """Wait for the end of programs in terminals, which must be as they were."""
    outcome = Outcome(tuple(each.exit_code() for each in screens), tuple(each.shown for each in screens))
    for each in screens:
        each.close()
    return outcome


TIMED: Mapping[str, Story] = {"tunnel": story_of_a_tunnel, "wrong": story_of_a_wrong_code}
STORIES: Mapping[str, Story] = {
    "third": story_of_a_third_party,
    "words": story_of_other_words,
    "late": story_of_a_late_no,
    "mistakes": story_of_mistakes,
    "person": story_of_a_person,
    "interrupted": story_of_interruptions,
}
Outcomes = Mapping[str, Future[Outcome]]


@dataclass(frozen=True, slots=True)
class Land:
    """Two NATs and a server, with room for many hosts."""

    lab: TunnelLab
    home: Router
    office: Router
    server: Serve

    def settle(self, name: str) -> Place:
        """Give a story its hosts."""
        alice = self.lab.add_host(f"{name}-alice", self.home)
        bob, carol = (self.lab.add_host(f"{name}-{who}", self.office) for who in ("bob", "carol"))
        return Place(self.lab, alice, bob, carol, self.server)


def build_land(lab: TunnelLab, name: str, one_way: float) -> Land:
    """Build it, with uplinks on which frames take that long."""
    home, office = (lab.add_router(f"{name}-{place}", LINUX, ipv6=False) for place in ("home", "office"))
    server = lab.add_server(f"{name}-server")
    uplinks: list[Node | Router] = [server, home, office] if one_way else []
    for uplink in uplinks:
        add_delay(lab, uplink, one_way)
    return Land(lab, home, office, lab.start_serve(server, relay=False, rooms=True))


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Outcomes]:
    """Play what is timed, then all others at once. The laboratory closes first, so that none plays on."""
    with ThreadPoolExecutor(len(STORIES)) as pool, TunnelLab() as lab:
        far, near = build_land(lab, "far", ONE_WAY), build_land(lab, "near", 0)
        played: dict[str, Future[Outcome]] = {}
        for name, story in TIMED.items():
            played[name] = pool.submit(story, far.settle(name))
            played[name].exception()  # when it has ended
        for name, story in STORIES.items():
            played[name] = pool.submit(story, near.settle(name))
        yield played


def test_a_tunnel_comes_up_by_a_code(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes["tunnel"].result()
    with capsys.disabled():
        path, ping = (outcome.times[name] * 1000 for name in ("path", "ping"))
        print(f"\n  by a code at 50 ms: path {path:.0f} ms, pong {ping:.0f} ms after `p2ptun join` was started")
    assert outcome.facts["distance"] >= 4 * ONE_WAY
    assert outcome.codes == (0, 0)
    assert outcome.facts["quantum"] == [True, True]
    assert outcome.times["ping"] < LIMIT
    assert [event["event"] for event in outcome.facts["events"]].count("meeting") == 1


def test_a_server_that_goes_away_is_nothing_to_a_tunnel(outcomes: Outcomes) -> None:
    facts = outcomes["tunnel"].result().facts
    assert facts["pings"] == [True, True, True]
    assert facts["news"] == []


def test_a_wrong_code_ends_both_sides_at_once(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes["wrong"].result()
    with capsys.disabled():
        print(
            f"\n  wrong code: both sides ended {outcome.times['ended'] * 1000:.0f} ms after `p2ptun join` was started"
        )
    assert outcome.codes == (WRONG_CODE, WRONG_CODE, WRONG_CODE), (
        "the last one had the right code, but the room is burnt"
    )
    for talk, code, word in zip(outcome.talks, outcome.codes, ("code", "code", "code"), strict=True):
        refused(talk, code, word)
    assert outcome.times["ended"] < LIMIT


def refused(talk: str, code: int, word: str) -> None:
    """Check that one sentence and a remedy were the last that was said."""
    expect_refusal(subprocess.CompletedProcess([], code, "", talk), code, word, "")


def test_a_third_party_is_refused_and_both_are_told(outcomes: Outcomes) -> None:
    outcome = outcomes["third"].result()
    assert outcome.codes == (0, 0, FAILED)
    refused(outcome.talks[2], FAILED, "room")
    for event in outcome.facts["told"]:
        assert "Somebody else tried to join" in event["message"]
        assert event["remedy"]


def test_words_are_compared_before_anything_is_carried(outcomes: Outcomes) -> None:
    facts = outcomes["third"].result().facts
    share, join = facts["words"]
    assert share == join
    assert len(share) == 6
    assert facts["before"] == []
    assert facts["pinged"]


@pytest.mark.parametrize("name", ["words", "late"])
def test_other_words_end_both_sides(outcomes: Outcomes, name: str) -> None:
    outcome = outcomes[name].result()
    assert outcome.codes == (WRONG_CODE, WRONG_CODE)
    assert outcome.facts["paths"] == []
    for talk in outcome.talks:
        refused(talk, WRONG_CODE, "the words weren't confirmed" if "At the" in talk else "The words weren't confirmed")


def test_what_is_no_code_is_refused_and_nothing_is_sent(outcomes: Outcomes) -> None:
    facts = outcomes["mistakes"].result().facts
    done = facts["done"]
    expect_refusal(done["mistyped"], USAGE, "tige is in no code; tiger", "type it again")
    expect_refusal(done["without number"], USAGE, "doesn't begin with its number", "42-amber-tiger-lamp")
    expect_refusal(done["short"], USAGE, "1 word instead of three", "42-amber-tiger-lamp")
    expect_refusal(done["paste"], USAGE, "CODE", "--rendezvous https://")
    assert "counter packets 0 bytes 0" in facts["sent"]


def test_a_code_is_read_from_one_screen_and_typed_at_another(outcomes: Outcomes) -> None:
    outcome = outcomes["person"].result()
    assert outcome.codes == (0, 0), outcome.talks
    join, share = outcome.talks
    assert "1 word instead of three" in join
    assert "somebody has come; checking the code" in share
    assert "the other side closed the tunnel" in share
    assert "Traceback" not in join + share


def test_ctrl_c_is_no_error_and_the_other_side_hears_of_it(outcomes: Outcomes) -> None:
    outcome = outcomes["interrupted"].result()
    assert outcome.codes == (0, 0, FAILED), outcome.talks
    assert "Traceback" not in "".join(outcome.talks)
    refused(outcome.talks[2], FAILED, "given up")
