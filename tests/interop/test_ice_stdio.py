"""`examples/ice_stdio.py` against itself, aioice and libnice, in network namespaces: our agent among its own kind."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.role import Role
from tests.e2e.lab import STUN_PORT, Lab, Node
from tests.e2e.nat import LINUX

from .speaker import AIOICE, LIBNICE, OURS, PATIENCE, Line, Speaker, introduce, missing_libnice, talk

pytestmark = pytest.mark.root

FAMILIES = (4, 6)
needs_libnice = pytest.mark.skipif(bool(missing_libnice()), reason=missing_libnice() or "libnice is there")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def here(lab: Lab) -> Node:
    """Where our side runs: on the net, with a public address of either family."""
    return lab.add_host("here")


@pytest.fixture(scope="module")
def there(lab: Lab) -> Node:
    return lab.add_host("there")


@pytest.fixture(scope="module")
def server(lab: Lab) -> Node:
    server = lab.add_server("stun")
    lab.start_stun(server)
    return server


def ours(lab: Lab, node: Node, role: Role = Role.CONTROLLING, *arguments: str) -> Speaker:
    return Speaker(lab, node, OURS, "--role", role.value, *arguments)


def aioice(lab: Lab, node: Node, role: Role, *arguments: str) -> Speaker:
    return Speaker(lab, node, AIOICE, "--role", role.value, *arguments)


def libnice(lab: Lab, node: Node, role: Role, *arguments: str) -> Speaker:
    return Speaker(lab, node, LIBNICE, "--role", role.value, *arguments)


def part(*speakers: Speaker) -> None:
    """End all of them; what ours complained about is nothing."""
    assert [speaker.finish() for speaker in speakers] == [0] * len(speakers)
    assert not [line for line in speakers[0].lines if line.get("event") == "error"]


def address(node: Node, family: int) -> str:
    return str(node.ipv4 if family == 4 else node.ipv6)


# -- aioice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("we_offer", [True, False], ids=["we offer", "we answer"])
def test_meets_aioice(lab: Lab, here: Node, there: Node, role: Role, family: int, we_offer: bool) -> None:
    left = ours(lab, here, role)
    right = aioice(lab, there, role.opposite, "--family", str(family))
    introduce(*((left, right) if we_offer else (right, left)))
    talk(left, right)
    connected = left.wait_for_event("connected")
    assert connected["local"]["address"] == address(here, family)
    assert connected["remote"]["address"] == address(there, family)
    assert 0 < connected["ms"] < PATIENCE * 1000
    assert not [line for line in left.lines if line.get("event") == "role"]
    part(left, right)


@pytest.mark.parametrize("role", Role)
def test_settles_a_role_conflict_with_aioice(lab: Lab, here: Node, there: Node, role: Role) -> None:
    left, right = ours(lab, here, role), aioice(lab, there, role)
    introduce(left, right)
    talk(left, right)
    theirs = Role(right.wait_for_event("connected")["role"])
    mine = next((Role(line["role"]) for line in reversed(left.lines) if line.get("event") == "role"), role)
    assert mine is theirs.opposite
    part(left, right)


@pytest.mark.parametrize("role", Role)
def test_meets_aioice_across_two_nats(lab: Lab, server: Node, role: Role) -> None:
    """Both know their public addresses from a STUN server only, and punch holes with checks."""
    left_home, right_home = (lab.add_router(f"{name}-{role.value}", LINUX, ipv6=False) for name in ("one", "two"))
    left = ours(lab, lab.add_host(f"a-{role.value}", left_home), role, "--stun", f"stun:{server.ipv4}:{STUN_PORT}")
    right_node = lab.add_host(f"b-{role.value}", right_home)
    right = aioice(lab, right_node, role.opposite, "--family", "4", "--stun", f"{server.ipv4},{STUN_PORT}")
    introduce(left, right)
    talk(left, right)
    connected = left.wait_for_event("connected")
    assert connected["local"]["address"] == str(left_home.node.ipv4)
    assert connected["remote"]["address"] == str(right_home.node.ipv4)
    part(left, right)


# -- libnice -----------------------------------------------------------------------------------------------------------


@needs_libnice
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("role", Role)
def test_meets_libnice(lab: Lab, here: Node, there: Node, role: Role, family: int) -> None:
    left = ours(lab, here, role)
    right = libnice(lab, there, role.opposite, "--address", address(there, family))
    introduce(left, right)
    talk(left, right)
    part(left, right)


@needs_libnice
@pytest.mark.parametrize("role", Role)
def test_meets_a_lite_peer(lab: Lab, here: Node, there: Node, role: Role) -> None:
    """A lite peer never checks, so we are the controlling side, whatever we were told to be (RFC 8445 6.1.1)."""
    left = ours(lab, here, role)
    right = libnice(lab, there, Role.CONTROLLED, "--lite", "--address", address(there, 4))
    introduce(right, left)
    talk(left, right)
    left.wait_for(lambda line: line.get("event") == "path" and line["nominated"], "a nominated path")
    part(left, right)


@needs_libnice
@pytest.mark.parametrize("role", Role)
def test_restarts_with_libnice(lab: Lab, here: Node, there: Node, role: Role) -> None:
    left = ours(lab, here, role, "--restart-after", "0.2")
    right = libnice(lab, there, role.opposite, "--address", address(there, 4))
    introduce(left, right)
    talk_through_a_restart(left, right)
    part(left, right)


@needs_libnice
@pytest.mark.parametrize("role", Role)
def test_follows_a_restart_of_libnice(lab: Lab, here: Node, there: Node, role: Role) -> None:
    left = ours(lab, here, role)
    right = libnice(lab, there, role.opposite, "--address", address(there, 4))
    introduce(left, right)
    talk(left, right)
    right.write(restart=True)
    talk_through_a_restart(left, right)
    part(left, right)


# -- two of ours -------------------------------------------------------------------------------------------------------


def test_two_of_ours_restart_while_data_flows(lab: Lab, here: Node, there: Node) -> None:
    left, right = ours(lab, here, Role.CONTROLLING, "--restart-after", "0.2"), ours(lab, there, Role.CONTROLLED)
    introduce(left, right)
    talk_through_a_restart(left, right)
    assert [len(speaker.of("ufrag")) for speaker in (left, right)] == [2, 2]
    first, second = left.of("ufrag")
    assert first["ufrag"] != second["ufrag"]
    assert first["pwd"] != second["pwd"]
    ends = [line["usernameFragment"] for line in left.of("candidate") if not line["candidate"]]
    assert ends == [first["ufrag"], second["ufrag"]], "each generation has an end of its own"
    part(left, right)


def test_both_of_ours_restart_at_once(lab: Lab, here: Node, there: Node) -> None:
    left = ours(lab, here, Role.CONTROLLING, "--restart-after", "0.2")
    right = ours(lab, there, Role.CONTROLLED, "--restart-after", "0.2")
    introduce(left, right)
    talk_through_a_restart(left, right)
    part(left, right)


def talk_through_a_restart(left: Speaker, right: Speaker) -> None:
    """Send text after text, each answered, until ours has nominated a path of its second generation: none is lost."""
    for speaker in (left, right):
        speaker.wait_for_event("connected")
    number = 0
    while not is_restarted(left):
        number += 1
        for here, there in ((left, right), (right, left)):
            text = f"during the restart {number} {here.process.pid}"
            here.write(send=text)
            there.wait_for_text(text)
    assert number > 0
    talk(left, right)


def is_restarted(speaker: Speaker) -> bool:
    lines = list(speaker.lines)
    told = [place for place, line in enumerate(lines) if "ufrag" in line]
    return len(told) > 1 and any(line.get("event") == "path" and line["nominated"] for line in lines[told[1] :])


@pytest.mark.parametrize("end", [{"candidate": ""}, {"candidate": None}, {"end_of_candidates": True}])
def test_candidates_may_come_one_by_one(lab: Lab, here: Node, there: Node, end: Line) -> None:
    """Descriptions without candidates first: nothing to check, and no reason to fail. Then a candidate each."""
    left, right = ours(lab, here), ours(lab, there, Role.CONTROLLED)
    for teller, listener in ((left, right), (right, left)):
        teller.tell(listener, lambda line: {**line, "candidates": []} if "ufrag" in line else None)
    for teller, listener in ((left, right), (right, left)):
        listener.wait_for(lambda line: line.get("state") == "checking", "that it checks")
        for candidate in teller.of("ufrag")[0]["candidates"]:
            listener.write(candidate=candidate)
        listener.write(**end)
    talk(left, right)
    part(left, right)


def test_the_end_of_another_generation_is_no_end(lab: Lab, here: Node, there: Node) -> None:
    left, right = ours(lab, here), ours(lab, there, Role.CONTROLLED)
    left.write(candidate="", usernameFragment="elder")
    introduce(left, right)
    talk(left, right)
    left.write(candidate="", usernameFragment="elder")
    part(left, right)


def test_a_text_waits_for_the_path(lab: Lab, here: Node, there: Node) -> None:
    left, right = ours(lab, here), ours(lab, there, Role.CONTROLLED)
    left.write(send="early")
    introduce(left, right)
    right.wait_for_text("early")
    part(left, right)


def test_the_description_is_what_the_rfc_says(lab: Lab, here: Node) -> None:
    speaker = ours(lab, here)
    line = speaker.wait_for(lambda line: "ufrag" in line, "who it is")
    candidates = [Candidate.from_sdp(text) for text in line["candidates"]]
    assert {str(each.endpoint.address) for each in candidates} == {address(here, family) for family in FAMILIES}
    assert line["role"] == "controlling"
    assert {"ice2", "trickle"} <= set(line["ice-options"])
    speaker.wait_for(lambda line: line.get("candidate") == "", "that there are no more")
    part(speaker)


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        "[" * 10_000,
        '{"ufrag": 5}',
        '{"ufrag": "abcd", "pwd": "short"}',
        '{"candidate": "candidate:1 1 UDP 1 name.example 5 typ host"}',
        '{"sned": "hello"}',
        '{"send": ""}',
        '{"send": "\\u0001 is how STUN begins"}',
    ],
)
def test_a_bad_line_is_told_and_passed_over(lab: Lab, here: Node, there: Node, text: str) -> None:
    left, right = ours(lab, here), ours(lab, there, Role.CONTROLLED)
    left.write_text(text)
    error = left.wait_for_event("error")
    assert error["message"].endswith(".")
    assert error["remedy"].endswith(".")
    introduce(left, right)
    talk(left, right, 1)
    assert len([line for line in left.lines if line.get("event") == "error"]) == 1
    part(right, left)


def test_what_the_other_side_says_of_itself_is_skipped(lab: Lab, here: Node) -> None:
    speaker = ours(lab, here)
    speaker.write(event="connected", ms=5)
    speaker.write(received="hello")
    speaker.write_text("\r")
    part(speaker)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(lab: Lab, here: Node, number: int) -> None:
    speaker = ours(lab, here)
    speaker.wait_for(lambda line: "ufrag" in line, "who it is")
    speaker.process.send_signal(number)
    assert speaker.process.wait(PATIENCE) == 0
    assert speaker.finish() == 0


@pytest.mark.parametrize("arguments", [("--stun", "nowhere"), ("--role", "boss"), ("--restart-after", "soon")])
def test_a_wrong_call_is_refused(lab: Lab, here: Node, arguments: tuple[str, str]) -> None:
    done = lab.run(here, [*OURS, *arguments])
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[0] in done.stderr


def test_a_server_without_an_address_is_told(lab: Lab, here: Node) -> None:
    speaker = ours(lab, here, Role.CONTROLLING, "--stun", "stun:nowhere.invalid")
    assert "nowhere.invalid" in speaker.wait_for_event("error")["message"]
    speaker.wait_for(lambda line: line.get("candidate") == "", "that there are no more")
    assert speaker.finish() == 0


def test_a_machine_without_addresses_is_told(lab: Lab) -> None:
    """A namespace that nothing is plugged into."""
    node = lab.add_host("lonely")
    lab.shell(node.namespace, f"ip link delete {node.device}")
    done = lab.run(node, list(OURS))
    assert done.returncode == 1
    assert "no network address" in done.stdout
