"""What people get wrong is answered with one sentence, a remedy and the documented exit code, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.lab import Node, wait_until
from tests.e2e.program import P2PTUN, TunnelLab

pytestmark = pytest.mark.root

FAILED, USAGE, NO_PERMISSION = 1, 2, 77
NO_NAME = "stun.invalid"  # RFC 6761 6.4: nobody may have it
Done = subprocess.CompletedProcess[str]

# Somebody without rights, who may read files all the same: the checkout may lie where only root looks.
NOBODY = [
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", P2PTUN),
]


@dataclass(frozen=True, slots=True)
class Scene:
    """Two hosts, and blobs that were exchanged between them."""

    lab: TunnelLab
    alice: Node
    bob: Node
    offer: str
    answer: str


@pytest.fixture(scope="module")
def module_scene() -> Iterator[Scene]:
    with TunnelLab() as lab:
        alice, bob = lab.add_host("alice"), lab.add_host("bob")
        tunnel = lab.connect(alice, bob)
        tunnel.share.stop()
        assert (tunnel.share.exit_code(), tunnel.join.exit_code()) == (0, 0)
        yield Scene(lab, alice, bob, tunnel.offer, tunnel.answer)


@pytest.fixture
def scene(module_scene: Scene) -> Iterator[Scene]:
    yield module_scene
    module_scene.lab.kill_programs()


def expect_refusal(done: Done, code: int, sentence: str, remedy: str) -> None:
    """Check that a command ended by one sentence and a remedy, each a line of its own at the end of stderr."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert sum(line.startswith("p2ptun: ") for line in lines) == 1, done.stderr
    assert lines[-2].startswith("p2ptun: "), done.stderr
    assert lines[-1].startswith("  "), done.stderr
    assert sentence in lines[-2], done.stderr
    assert remedy in lines[-1], done.stderr


# Blobs


def mistype(blob: str) -> str:
    """Exchange two different neighbours in the middle of a blob."""
    place = next(at for at in range(40, len(blob)) if blob[at] != blob[at + 1])
    return blob[:place] + blob[place + 1] + blob[place] + blob[place + 2 :]


BAD_OFFERS: dict[str, tuple[Callable[[Scene], str], str, str]] = {
    "cut": (lambda scene: scene.offer[:-20], "The blob is cut: ", "Copy the whole line again"),
    "cut short": (lambda scene: scene.offer[:6], "The blob is cut: ", "Copy the whole line again"),
    "mistyped": (lambda scene: mistype(scene.offer), "The blob was mistyped", "Copy the whole line again"),
    "wrong letter": (lambda scene: scene.offer[:50] + "!" + scene.offer[51:], "character 51, !", "Copy the whole line"),
    "other version": (lambda scene: "p2p2" + scene.offer[4:], "The blob is of version 2", "same version"),
    "an answer": (lambda scene: scene.answer, "This blob is an answer", "p2ptun share"),
    "something else": (lambda _: "ssh-ed25519 AAAAC3Nz alice@home", "This is no p2ptun blob", "begins with p2p1"),
    "control characters": (lambda _: "\x1b]0;owned\x07\u202e", "This is no p2ptun blob", "begins with p2p1"),
    "nothing": (lambda _: "", "input ended", "Keep standard input open"),
}


@pytest.mark.parametrize("what", BAD_OFFERS)
def test_join_refuses(scene: Scene, what: str) -> None:
    make, sentence, remedy = BAD_OFFERS[what]
    text = make(scene)
    expect_refusal(scene.lab.p2ptun(scene.bob, "join", stdin=text and text + "\n"), USAGE, sentence, remedy)


def test_join_tells_programs_as_well(scene: Scene) -> None:
    done = scene.lab.p2ptun(scene.bob, "join", "--json", stdin=scene.offer[:-9] + "\n")
    expect_refusal(done, USAGE, "The blob is cut: ", "Copy the whole line again")
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["event"] == "error"
    assert event["message"].startswith("The blob is cut: ")
    assert event["remedy"].startswith("Copy the whole line again")


OWN_BLOB = ("This is the blob that this side printed itself.", "p2ptun join")
BAD_ANSWERS: dict[str, tuple[Callable[[str, Scene], str], str, str]] = {
    "its own": (lambda own, _: own, *OWN_BLOB),
    "another offer": (lambda _, scene: scene.offer, "an offer too", "p2ptun join"),
    "an older answer": (lambda _, scene: scene.answer, "answers another offer", "the newest offer"),
    "cut": (lambda _, scene: scene.answer[:-1], "The blob is cut: ", "Copy the whole line again"),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_share_refuses(scene: Scene, what: str) -> None:
    make, sentence, remedy = BAD_ANSWERS[what]
    share = scene.lab.start(scene.alice, "share")
    share.feed(make(share.expect("offer")["blob"], scene))
    code = share.exit_code()
    expect_refusal(Done([], code, "", share.talk), USAGE, sentence, remedy)


# Privilege and device


def test_without_root(scene: Scene) -> None:
    done = scene.lab.run(scene.alice, [*NOBODY, "share"], env=scene.lab.environment(scene.alice))
    expect_refusal(done, NO_PERMISSION, "needs root or CAP_NET_ADMIN", "sudo")


def test_as_root_without_the_capability(scene: Scene) -> None:
    """As in a container: uid 0, but not the right to make interfaces."""
    argv = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", P2PTUN, "share"]
    done = scene.lab.run(scene.alice, argv, env=scene.lab.environment(scene.alice))
    expect_refusal(done, NO_PERMISSION, "needs root or CAP_NET_ADMIN", "sudo")


def test_without_a_tun_device(scene: Scene) -> None:
    script = f"mount -t tmpfs none /dev/net && exec {P2PTUN} share"
    argv = ["unshare", "--mount", "sh", "-c", script]
    done = scene.lab.run(scene.alice, argv, env=scene.lab.environment(scene.alice))
    expect_refusal(done, FAILED, "no TUN device (/dev/net/tun)", "modprobe tun")


def test_status_of_another_users_tunnel(scene: Scene) -> None:
    share = scene.lab.start(scene.alice, "share", "--name", "private0")
    share.expect("waiting")
    scene.lab.runtime(scene.alice).parent.chmod(0o755)
    done = scene.lab.run(scene.alice, [*NOBODY, "status", "private0"], env=scene.lab.environment(scene.alice))
    expect_refusal(done, NO_PERMISSION, "may not be opened by this user", "sudo")
    share.stop()
    assert share.exit_code() == 0


# Names, addresses, routes


def test_an_interface_name_that_is_taken(scene: Scene) -> None:
    scene.lab.shell(scene.alice.namespace, "ip link add taken type bridge")
    done = scene.lab.p2ptun(scene.alice, "share", "--name", "taken")
    expect_refusal(done, FAILED, "The interface name taken is already taken.", "--name")
    assert "taken" in scene.lab.shell(scene.alice.namespace, "ip -brief link"), "what was there stays there"
    scene.lab.shell(scene.alice.namespace, "ip link delete taken")


def test_an_offered_network_that_nobody_is_let_through_to(scene: Scene) -> None:
    scene.lab.shell(scene.alice.namespace, "echo 0 > /proc/sys/net/ipv4/ip_forward")
    share = scene.lab.start(scene.alice, "share", "--route", "192.168.77.0/24")
    note = share.expect("error")
    assert note["message"] == (
        "This machine doesn't forward, so the other side can't reach 192.168.77.0/24 through it."
    )
    assert note["remedy"] == "Run: sysctl -w net.ipv4.ip_forward=1"
    share.stop()
    assert share.exit_code() == 0


@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a/b", "a b", ".."])
def test_an_interface_name_that_cannot_be(scene: Scene, name: str) -> None:
    done = scene.lab.p2ptun(scene.alice, "share", "--name", name)
    expect_refusal(done, FAILED, "interface", "--name")


def test_a_name_whose_tunnel_runs_already(scene: Scene) -> None:
    share = scene.lab.start(scene.alice, "share", "--name", "twice0")
    share.expect("offer")
    done = scene.lab.p2ptun(scene.alice, "share", "--name", "twice0")
    expect_refusal(done, FAILED, "twice0 is already taken", "--name")
    share.stop()
    assert share.exit_code() == 0


def test_an_address_in_use_on_another_interface(scene: Scene) -> None:
    address = f"{scene.alice.ipv4}/24"
    done = scene.lab.p2ptun(scene.alice, "share", "--address", address)
    expect_refusal(done, FAILED, f"{scene.alice.ipv4}", "--address")
    assert "p2p1" not in done.stdout, "it is said before anybody has copied anything"


@pytest.mark.parametrize(
    ("option", "text", "sentence", "remedy"),
    [
        ("--address", "10.77.0.300/24", "--address", "10.77.0.1/24"),
        ("--route", "192.168.1.1/24", "--route", "192.168.1.0/24"),
        ("--stun", "http://stun.example.net", "http", "stun:"),
        ("--stun", "stun:stun.example.net:port", "has the port", "1 to 65535"),
        ("--rendezvous", "pigeon:loft", "--rendezvous", "Check the spelling"),
        ("--psk-file", "/nonexistent", "/nonexistent", "genpsk"),
    ],
)
def test_an_option_that_makes_no_sense(scene: Scene, option: str, text: str, sentence: str, remedy: str) -> None:
    expect_refusal(scene.lab.p2ptun(scene.alice, "share", option, text), USAGE, sentence, remedy)


@pytest.mark.parametrize("verb", [["share"], ["join", "42-abacus-abbey-column"]])
def test_a_rendezvous_that_does_not_answer_in_time(scene: Scene, verb: list[str]) -> None:
    done = scene.lab.p2ptun(scene.alice, *verb, "--rendezvous", "http://127.0.0.1:9", "--timeout", "0.5")
    assert done.returncode == FAILED, done
    assert "Traceback" not in done.stderr
    assert "Not connected after 0.5 s." in done.stderr
    assert "The rendezvous hasn't answered" in done.stderr


UNKNOWN = [["share", "--nonsense"], ["nonsense"], ["share", "--mtu", "12"], ["join", "a", "b"]]


@pytest.mark.parametrize("arguments", UNKNOWN)
def test_an_unknown_word_is_a_usage_error(scene: Scene, arguments: list[str]) -> None:
    done = scene.lab.p2ptun(scene.alice, *arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "Traceback" not in done.stderr
    assert "--help" in done.stderr


# Secrets


def test_a_psk_file_that_others_can_read(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "psk"
    file.write_text(scene.lab.p2ptun(scene.alice, "genpsk").stdout)
    file.chmod(0o640)
    done = scene.lab.p2ptun(scene.alice, "share", "--psk-file", str(file))
    expect_refusal(done, USAGE, "others can read", f"chmod 600 {file}")


def test_a_psk_file_without_a_key(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "psk"
    file.write_text("correct horse battery staple\n")
    file.chmod(0o600)
    done = scene.lab.p2ptun(scene.alice, "share", "--psk-file", str(file))
    expect_refusal(done, USAGE, "--psk-file", "genpsk")
    assert "horse" not in done.stdout + done.stderr, "a secret is never shown"


# Things that aren't errors


def test_an_offered_network_in_use_here_is_refused_with_a_note(scene: Scene) -> None:
    """Bob offers the network that Alice lives in: she keeps hers, and the tunnel comes up without it."""
    scene.lab.shell(scene.alice.namespace, "ip address add 172.20.0.1/24 dev eth0")
    join = scene.lab.start(scene.bob, "join", "--route", "172.20.0.0/16", "--route", "172.21.0.0/16")
    tunnel = scene.lab.introduce(scene.lab.start(scene.alice, "share"), join)
    (note,) = tunnel.share.find("error")
    assert "172.20.0.0/16" in note["message"]
    assert "--route" in note["remedy"]
    assert [health["message"] for health in tunnel.share.status()["health"]] == [note["message"]]
    routes = scene.lab.shell(scene.alice.namespace, "ip route")
    assert "172.20.0.0/16" not in routes
    assert "172.21.0.0/16 dev p2ptun0" in routes
    assert scene.lab.can_ping(scene.alice, tunnel.join.ipv4)
    tunnel.share.stop()
    assert (tunnel.share.exit_code(), tunnel.join.exit_code()) == (0, 0)
    scene.lab.shell(scene.alice.namespace, "ip address delete 172.20.0.1/24 dev eth0")


def test_a_small_mtu_is_refused_before_anything_is_carried(scene: Scene) -> None:
    done = scene.lab.p2ptun(scene.alice, "share", "--mtu", "1000")
    expect_refusal(done, FAILED, "too small for IPv6", "--mtu 1280")
    assert done.stdout == ""


def test_it_works_without_the_stun_servers(scene: Scene) -> None:
    """One swallows everything, one has no name, and one refuses: hosts that reach each other need none of them."""
    servers = ("--stun", "stun:203.0.113.99", "--stun", f"stun:{NO_NAME}", "--stun", f"stun:{scene.alice.ipv4}:9")
    tunnel = scene.lab.connect(scene.alice, scene.bob, *servers)
    assert scene.lab.can_ping(scene.bob, tunnel.share.ipv4)
    assert any("No STUN server has answered" in note["message"] for note in tunnel.share.find("error"))
    about_name = wait_until(
        lambda: [each for each in tunnel.share.find("error") if NO_NAME in each["message"]], 30, "DNS"
    )
    assert about_name[0]["remedy"]
    tunnel.join.stop(signal.SIGTERM)
    assert (tunnel.share.exit_code(), tunnel.join.exit_code()) == (0, 0)


def test_addresses_of_ones_own_choice(scene: Scene) -> None:
    share = scene.lab.start(scene.alice, "share", "--address", "10.9.8.1/24", "--address", "fd98::1/64")
    join = scene.lab.start(scene.bob, "join", "--address", "10.9.8.2/24", "--address", "fd98::2/64")
    tunnel = scene.lab.introduce(share, join)
    assert tunnel.share.find("interface")[0]["addresses"] == ["10.9.8.1/24", "fd98::1/64"]
    assert scene.lab.can_ping(scene.alice, "10.9.8.2")
    assert scene.lab.can_ping(scene.bob, "fd98::1")
    tunnel.share.stop()
    assert (tunnel.share.exit_code(), tunnel.join.exit_code()) == (0, 0)


def test_both_sides_want_the_same_address(scene: Scene) -> None:
    share = scene.lab.start(scene.alice, "share", "--address", "10.9.8.1/24")
    done = scene.lab.p2ptun(scene.bob, "join", "--address", "10.9.8.1/24", stdin=share.expect("offer")["blob"] + "\n")
    expect_refusal(done, USAGE, "Both sides want the address 10.9.8.1", "--address")
    share.stop()
    assert share.exit_code() == 0


def test_a_closed_stdout_is_an_error_not_a_traceback(scene: Scene) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = scene.lab.popen(
        scene.alice, [P2PTUN, "share"], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE,
        env=scene.lab.environment(scene.alice),
    )  # fmt: skip
    os.close(writer)
    _, talk = process.communicate(timeout=20)
    expect_refusal(Done([], process.returncode, "", talk), FAILED, "can't be written", "Leave it open")
