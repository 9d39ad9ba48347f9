"""Tunnels over relays: where nothing else works, while something better is sought, and when relays fail.

The relays are coturn's and ours. Each story plays on hosts of its own, all of them at once; the tests look at what they
brought back. The longest takes 80 s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.program import TunnelLab
from tests.e2e.relay_stories import STORIES, TRANSFER, Outcome, build_scene
from tests.e2e.test_lab import namespaces

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs coturn"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]

Outcomes = Mapping[str, Future[Outcome]]

AT_ONCE = 5  # stories: most of their time they wait, but each begins with four programs


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Play the stories, AT_ONCE of them at a time."""
    scratch = tmp_path_factory.mktemp("relays")
    with ThreadPoolExecutor(AT_ONCE) as pool, TunnelLab() as lab:
        stun = lab.start_stun(lab.add_server("stun"))
        scenes = {name: build_scene(lab, number, name, stun, scratch) for number, name in enumerate(STORIES)}
        yield {name: pool.submit(story, scenes[name]) for name, story in STORIES.items()}
    assert lab.prefix not in namespaces()


def kinds(outcome: Outcome, side: int = 0) -> list[str]:
    """List the kinds of path that a side took, one after the other."""
    return [path["kind"] for path in outcome.told[side]["path"]]


def errors(outcome: Outcome, side: int = 0) -> str:
    """Join the sentences that a side was told."""
    return " ".join(f"{error['message']} {error['remedy']}" for error in outcome.told[side]["error"])


# Coming up

RELAYED = {
    "one relay": ("udp", None),
    "a relay at both ends": ("udp", "udp"),
    "no UDP at one end": (None, "tcp"),
    "only TCP 443 at both ends": ("tls", "tls"),
    "printed credentials": ("udp", None),
    "one relay of ours": ("udp", None),
    "only TCP 443 to ours": ("tls", "tls"),
}


@pytest.mark.parametrize("name", list(RELAYED))
def test_a_relay_carries_what_nothing_else_does(
    outcomes: Outcomes, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = outcomes[name].result()
    with capsys.disabled():
        print(f"\n  {name}: set up in {1000 * outcome.setup:.0f} ms")
    assert outcome.facts["ping"]
    assert outcome.sent == outcome.arrived
    assert outcome.sent.startswith(f"{TRANSFER} ")
    assert outcome.codes == (0, 0)
    for side, transport in enumerate(RELAYED[name]):
        assert set(kinds(outcome, side)) == {"relay"}
        status = outcome.facts["status"][side]
        transports = [each["transport"] for each in status["relays"] if each["addresses"]]
        assert transports == [transport] * bool(transport)
        ready = [each for each in outcome.told[side]["relay"] if each["state"] == "ready"]
        assert [each["transport"] for each in ready] == transports
        [peer] = status["peers"]
        assert peer["path"]["server_transport"] in (transport, None)
    # by its name where it is this side's own, by the other side's address there where it isn't
    places = [(status["relays"][0]["server"].rpartition(":")[0], text) for status, text in documents(outcome)]
    assert all(f"; relay {place}:" in text for place, text in places)


def documents(outcome: Outcome) -> list[tuple[dict[str, Any], str]]:
    """Pair the status documents that know a relay with their texts."""
    pairs = zip(outcome.facts["status"], outcome.facts["text"], strict=True)
    return [(status, text) for status, text in pairs if status["relays"]]


def test_what_is_said_of_a_relay_that_works(outcomes: Outcomes) -> None:
    outcome = outcomes["one relay"].result()
    [gathered] = outcome.told[0]["gathered"]
    assert gathered["relay_servers"] == 1
    assert gathered["relays"] == [f"{outcome.told[0]['relay'][0]['server']} (udp)"]
    assert gathered["reflexive"], "it tells what this side looks like, too"
    assert errors(outcome) == ""
    assert "relay" in {each["type"] for each in outcome.told[0]["candidate"] if each["side"] == "local"}
    assert "relay" in {each["type"] for each in outcome.told[1]["candidate"] if each["side"] == "remote"}


def test_only_relayed_paths_are_taken_when_asked_for(outcomes: Outcomes) -> None:
    outcome = outcomes["relay only"].result()
    local = {each["type"] for each in outcome.told[0]["candidate"] if each["side"] == "local"}
    assert local == {"relay"}
    assert set(kinds(outcome, 0)) == set(kinds(outcome, 1)) == {"relay"}
    assert outcome.codes == (0, 0)


def test_no_relay_is_asked_when_direct_paths_are_wanted(outcomes: Outcomes) -> None:
    outcome = outcomes["direct only"].result()
    assert outcome.told[0]["relay"] == []
    assert "relay" not in {each["type"] for each in outcome.told[0]["candidate"]}
    assert outcome.codes[0] == 1
    assert kinds(outcome) == []


# Refused


@pytest.mark.parametrize(
    ("name", "sentence", "remedy"),
    [
        ("wrong password", "doesn't accept the user name and password", "--turn-credentials"),
        ("expired credentials", "it was good until", "p2ptun genturn"),
        ("unknown certificate", "self-signed certificate", "--ca-file"),
    ],
)
def test_a_relay_that_refuses_is_told_and_everything_else_works(
    outcomes: Outcomes, name: str, sentence: str, remedy: str
) -> None:
    outcome = outcomes[name].result()
    assert sentence in errors(outcome)
    assert remedy in errors(outcome)
    assert errors(outcome).count("The relay ") == 1, "said once"
    assert {each["state"] for each in outcome.told[0]["relay"]} == {"refused"}
    assert next(each["id"] for each in outcome.facts["status"][0]["health"]).startswith("relay-")
    assert kinds(outcome)[-1] == "direct"
    assert outcome.sent == outcome.arrived
    assert outcome.codes == (0, 0)


# Gone

LIMITS = {
    "restarted relay": 5000,
    "restarted relay of ours": 5000,
    "restarted relay of ours between hard NATs": 5000,
    "killed relay": 3000,
    "renewed credentials": 1000,
    "moved side": 8000,
    "moved side with ours": 8000,
}
"""Milliseconds without a beat, besides those in which there was no relay: it takes its time to start."""

SUSPICION = 2.0  # seconds without an answer at most, before a path counts as suspect


@pytest.mark.parametrize("name", list(LIMITS))
def test_traffic_goes_on_without_the_relay_that_it_took(
    outcomes: Outcomes, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = outcomes[name].result()
    down = outcome.facts.get("down", 0)
    with capsys.disabled():
        print(f"\n  {name}: silent for {' and '.join(map(str, outcome.silences))} ms, {down} without a relay")
    assert max(outcome.silences) - down < LIMITS[name], outcome.told
    assert outcome.codes == (0, 0)
    assert {event["state"] for event in outcome.told[0]["peer"]} <= {"connecting", "connected", "idle", "suspect"}


def test_a_relay_that_is_lost_is_told(outcomes: Outcomes) -> None:
    outcome = outcomes["killed relay"].result()
    [lost] = [each for each in outcome.told[0]["relay"] if each["state"] == "lost"]
    assert lost["server"] == outcome.facts["killed"]
    assert lost["reason"]
    states = {each["server"]: each["state"] for each in outcome.told[0]["relay"]}
    assert len(states) == 2
    again = outcomes["restarted relay"].result()
    assert [each["state"] for each in again.told[0]["relay"] if each["state"] != "refused"] == [
        "ready",
        "lost",
        "ready",
    ]


def test_credentials_are_renewed_by_another_allocation(outcomes: Outcomes) -> None:
    outcome = outcomes["renewed credentials"].result()
    states = [each["state"] for each in outcome.told[0]["relay"]]
    assert states.count("ready") >= 2
    assert "refused" not in states
    assert errors(outcome) == ""


def test_a_relay_stands_in_for_a_path_that_died(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcomes["blackholed path"].result()
    facts = outcome.facts
    with capsys.disabled():
        print(
            f"\n  blackholed path: on the relay after {facts['switch']:.2f} s, back {facts['back']:.1f} s after it "
            f"healed; silent for {max(outcome.silences)} ms"
        )
    assert facts["standby"]["kind"] == "relay"
    assert facts["switch"] < SUSPICION + 1
    assert max(outcome.silences) < 1000 * (SUSPICION + 1)
    for side in (0, 1):
        taken = kinds(outcome, side)
        began_on_relay = taken[0] == "relay"  # its candidate may answer first
        assert taken == ["relay"] * began_on_relay + ["direct", "relay", "direct"]
    assert outcome.codes == (0, 0)
