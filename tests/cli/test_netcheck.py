"""`p2ptun netcheck` on the loopback interface, before a server that runs for real: for people and for programs."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from p2ptun.cli.netcheck_view import lifetime_words, render
from p2ptun.daemon.netcheck_document import (
    AddressDocument,
    LifetimeDocument,
    NatDocument,
    NetcheckDocument,
    PortsDocument,
    RelayDocument,
    ServerDocument,
    WayDocument,
)
from p2ptun.daemon.status import Health
from p2ptun.nat.behavior import Lifetime
from tests.e2e.coturn import make_certificate
from tests.free_port import free_port

from .material import MAIN, ROOT, p2ptun

SCHEMA = json.loads(files("p2ptun.cli").joinpath("netcheck.schema.json").read_text("utf-8"))
NETCHECK_SECONDS = 5.0
STARTING = 3.0  # seconds for two interpreters on a busy machine


class Serving:
    """`p2ptun serve` with two addresses, TLS and a relay."""

    def __init__(self, scratch: Path) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.certificate, key, secret = scratch / "cert.pem", scratch / "key.pem", scratch / "secret"
        self.credentials = scratch / "credentials.toml"
        for path, text in ((secret, "quince"), (self.credentials, 'secret = "quince"')):
            path.touch(0o600)
            path.write_text(text)
        make_certificate(self.certificate, key, "127.0.0.1")
        listen = [f"--stun-listen=127.0.0.{host}:{self.port}" for host in (1, 2)]
        tls = [f"--tls-listen=127.0.0.1:{self.tls_port}", f"--tls-cert={self.certificate}", f"--tls-key={key}"]
        relay = ["--relay", "--relay-address=127.0.0.1", f"--secret-file={secret}"]
        command = [sys.executable, "-c", MAIN, "serve", "--json", *listen, *tls, *relay]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        assert any(json.loads(line)["event"] == "ready" for line in self.process.stdout)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=10)

    @property
    def stun(self) -> str:
        """Its URI."""
        return f"stun:127.0.0.1:{self.port}"

    @property
    def turn(self) -> list[str]:
        """The options that use it as a relay."""
        return [f"--turn=turn:127.0.0.1:{self.port}", f"--turn-credentials={self.credentials}"]

    @property
    def turns(self) -> str:
        """Its URI over TLS."""
        return f"turns:127.0.0.1:{self.tls_port}"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("serve"))
    try:
        yield serving
    finally:
        serving.close()


def checked(*arguments: str) -> dict[str, Any]:
    """Take the document as a program gets it, held to the schema, and in time."""
    began_at = time.monotonic()
    done = p2ptun("netcheck", "--json", *arguments)
    assert time.monotonic() - began_at < NETCHECK_SECONDS + STARTING
    assert done.stderr == b""
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)
    assert document["took_ms"] < NETCHECK_SECONDS * 1000
    assert done.returncode == (0 if any(way["time_ms"] for each in document["servers"] for way in each["ways"]) else 1)
    return document


def test_no_server_is_a_mistake_with_a_remedy() -> None:
    done = p2ptun("netcheck", P2PTUN_STUN="", P2PTUN_TURN="")
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"there is no server to ask" in done.stderr
    assert b"P2PTUN_STUN" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stun", "example.net"], b"has no scheme"),
        (["--stun", "http://example.net"], b"stun:HOST"),
        (["--stun", "turn:example.net"], b"--turn turn:example.net"),
        (["--turn", "stun:example.net"], b"names no relay"),
        (["--stun", "stun:example.net", "--ca-file", "/nonexistent"], b"--ca-file"),
        (["--stun", "stun:example.net", "--turn-credentials", "/nonexistent"], b"no relay to give them to"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(arguments: list[str], words: bytes) -> None:
    done = p2ptun("netcheck", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_server_with_two_addresses(serving: Serving) -> None:
    document = checked("--stun", serving.stun)
    [nat] = document["nat"]
    assert (nat["local"], nat["public"], nat["has_nat"]) == ("127.0.0.1", ["127.0.0.1"], False)
    assert nat["mapping"] == nat["filtering"] == "endpoint-independent"
    assert nat["sends_fragments"] is None  # the loopback interface takes everything in one piece
    [server] = document["servers"]
    assert server["has_second_address"] is True
    assert {way["transport"]: way["problem"] for way in server["ways"]} == {"udp": None, "tcp": None}
    assert all(0 < way["time_ms"] < 2000 and way["mapped"] for way in server["ways"])
    assert document["warnings"] == []


def test_a_relay_over_everything(serving: Serving) -> None:
    document = checked(*serving.turn, "--turn", serving.turns, "--ca-file", str(serving.certificate))
    plain, secure = document["servers"]
    for server in (plain, secure):
        assert server["relay"]["works"], document
        assert server["relay"]["relayed"][0].startswith("127.0.0.1:")
        assert server["relay"]["time_ms"] > 0
    [tls] = secure["ways"]
    assert (tls["transport"], tls["problem"]) == ("tls", None)


def test_without_credentials_a_relay_is_only_reached(serving: Serving) -> None:
    document = checked("--turn", f"turn:127.0.0.1:{serving.port}")
    [server] = document["servers"]
    assert server["relay"] is None
    assert all(way["problem"] is None for way in server["ways"])


def test_a_certificate_that_nobody_vouches_for(serving: Serving) -> None:
    document = checked("--turn", serving.turns, "--stun", serving.stun)
    _, secure = document["servers"]
    [tls] = secure["ways"]
    assert tls["time_ms"] is None
    assert "self-signed" in tls["problem"]
    [warning] = document["warnings"]
    assert warning["id"] == "certificate-refused"
    assert "captive portal" in warning["remedy"]


def test_wrong_credentials(serving: Serving, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.touch(0o600)
    wrong.write_text('secret = "medlar"')
    document = checked("--turn", f"turn:127.0.0.1:{serving.port}", "--turn-credentials", str(wrong))
    [server] = document["servers"]
    assert server["relay"]["works"] is False
    [warning] = [each for each in document["warnings"] if each["id"] == "relay-refused"]
    assert "medlar" not in warning["message"] + warning["remedy"]


def test_nobody_there() -> None:
    document = checked("--stun", f"stun:127.0.0.1:{free_port()}")
    assert [each["id"] for each in document["warnings"]] == ["no-answer"]
    [server] = document["servers"]
    assert {way["transport"]: way["time_ms"] for way in server["ways"]} == {"udp": None, "tcp": None}


def test_a_name_that_nobody_knows(serving: Serving) -> None:
    """What works is checked all the same."""
    document = checked("--stun", "stun:host.invalid:3478", "--stun", serving.stun)
    unknown, known = document["servers"]
    assert unknown["problem"]
    assert unknown["ways"] == []
    assert known["ways"]
    assert [each["id"] for each in document["warnings"]] == ["server-unknown"]


def test_servers_come_from_the_environment(serving: Serving) -> None:
    done = p2ptun("netcheck", "--json", P2PTUN_STUN=f"{serving.stun} {serving.stun}")
    assert [each["uri"] for each in json.loads(done.stdout)["servers"]] == [serving.stun]


def test_what_people_see(serving: Serving) -> None:
    done = p2ptun("netcheck", "--stun", serving.stun, COLUMNS="80")
    text = done.stdout.decode()
    assert done.stderr == b""
    assert "Firewall for IPv4" in text
    assert "lets everybody in through an open port (endpoint-independent)" in text
    assert "Everybody reaches this machine directly." in text
    assert re.search(rf"{re.escape(serving.stun)} IPv4 +[\d.]+ ms +[\d.]+ ms +- +two addresses", text)
    assert "\x1b" not in text
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())


def test_ctrl_c_ends_a_measurement_and_keeps_what_is_known(serving: Serving) -> None:
    command = [sys.executable, "-c", MAIN, "netcheck", "--lifetime", "--stun", serving.stun]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    assert process.stderr.readline() == "  A binding lives more than 15 s.\n"
    process.send_signal(2)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out.endswith("Lifetime of an idle binding: more than 15 s\n")
    assert "Traceback" not in err


def test_ctrl_c_ends_a_check() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(10)
        command = [sys.executable, "-c", MAIN, "netcheck", "--stun", f"stun:127.0.0.1:{silent.getsockname()[1]}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        silent.recv(2000)
        process.send_signal(2)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert out == ""
    assert "Traceback" not in err


def test_without_an_answer_there_is_no_lifetime() -> None:
    done = p2ptun("netcheck", "--lifetime", "--stun", f"stun:127.0.0.1:{free_port()}")
    assert b"A binding's lifetime can't be measured: no STUN server answered over UDP." in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("lifetime", "words"),
    [
        (None, "not known yet"),
        (Lifetime(300.0, None), "more than 5m0s"),
        (Lifetime(0.0, 15.0), "less than 15 s"),
        (Lifetime(25.0, 30.0), "between 25 s and 30 s"),
    ],
)
def test_lifetimes_have_words(lifetime: Lifetime | None, words: str) -> None:
    assert lifetime_words(lifetime) == words


def nat(**fields: Any) -> NatDocument:  # noqa: ANN401 (whatever the field takes)
    known: dict[str, Any] = {
        "family": "ipv4",
        "local": "192.168.1.10",
        "interface": "eth0",
        "public": ["198.51.100.1"],
        "has_nat": True,
        "mapping": None,
        "filtering": None,
        "ports": None,
        "preserves_port": None,
        "hairpins": None,
        "sends_fragments": None,
        "receives_fragments": None,
        "lifetime": None,
        "meaning": [],
    }
    return NatDocument(**known | fields)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (nat(), "mapping      unknown"),
        (nat(mapping="dependent"), "other public ports for other destinations (dependent)"),
        (nat(preserves_port=True), "ports        kept as inside where they are free"),
        (nat(preserves_port=False), "ports        others than inside"),
        (nat(ports=PortsDocument("preserving", None, True)), "kept as inside where they are free"),
        (nat(ports=PortsDocument("random", None, True)), "others than inside, at random"),
        (nat(ports=PortsDocument("sequential", 2, True)), "one after the other (in steps of 2)"),
        (nat(ports=PortsDocument("sequential", 1, False)), "one after the other (mostly in steps of 1)"),
        (nat(hairpins=True), "hairpinning  inside reaches inside at public addresses"),
        (nat(hairpins=False), "hairpinning  no"),
        (nat(sends_fragments=True), "get out; inwards unknown"),
        (nat(sends_fragments=True, receives_fragments=False), "get out, but not in"),
        (nat(sends_fragments=True, receives_fragments=True), "pass both ways"),
        (nat(sends_fragments=False), "don't get out"),
        (nat(lifetime=LifetimeDocument(25.0, 30.0)), "lifetime     between 25 s and 30 s"),
        (nat(public=[]), "no server saw it"),
        (nat(), "192.168.1.10  eth0  is seen as 198.51.100.1"),
        (nat(has_nat=False), "192.168.1.10  eth0  is its public address"),
    ],
)
def test_every_finding_has_words(found: NatDocument, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    render(NetcheckDocument(1, [AddressDocument("192.168.1.10", "eth0")], [found], [], [], 1.0))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("relay", "remark"),
    [
        (None, "no credentials"),
        (RelayDocument(works=True, relayed=["192.0.2.1:1"], time_ms=12.0, problem=None), "relays (12 ms)"),
        (RelayDocument(works=False, relayed=[], time_ms=None, problem="doesn't answer"), "gives no address"),
    ],
)
def test_relays_have_remarks(relay: RelayDocument | None, remark: str, capsys: pytest.CaptureFixture[str]) -> None:
    ways = [
        WayDocument("udp", "192.0.2.1", 3478, 1.5, None, None),
        WayDocument("tls", "2001:db8::1", 1, None, None, ""),
    ]
    warning = Health("x", "A [name]\x1b[0m is odd.", "Ask [whoever] runs it.")
    server = ServerDocument("turn:relay.example.net", None, None, ways, relay)
    render(NetcheckDocument(1, [], [], [server], [warning], 1.0))
    lines = capsys.readouterr().out.splitlines()
    four = next(line for line in lines if "IPv4" in line)
    six = next(line for line in lines if "IPv6" in line)
    assert four.split()[:4] == ["turn:relay.example.net", "IPv4", "1.5", "ms"]
    assert six.split()[:5] == ["turn:relay.example.net", "IPv6", "-", "-", "no"]
    assert four.endswith(remark)
    assert lines[-2:] == ["A [name][0m is odd.", "  Ask [whoever] runs it."]
