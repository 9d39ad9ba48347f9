"""coturn's clients (Debian: coturn) use `p2ptun serve`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.free_port import free_port
from tests.server.serving import ADDRESS, Serving
from tests.server.turn_client import USERS

SECOND_ADDRESS = "127.0.0.2"
MESSAGES = 20
LOGIN = ("-u", "alice", "-w", USERS["alice"])
LOOPBACK = ("--allow-peer", "127.0.0.0/8")

pytestmark = pytest.mark.skipif(shutil.which("turnutils_uclient") is None, reason="needs coturn")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path, *LOOPBACK, has_tls=True) as serving:
        yield serving


def run(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return finished.stdout + finished.stderr


def lost(talk: str) -> int:
    found = re.search(r"Total lost packets (\d+)", talk)
    assert found, talk
    return int(found[1])


@pytest.mark.parametrize("options", [(), ("-s",), ("-D",), ("-t",), ("-t", "-S")], ids=" ".join)
def test_uclient_gets_all_its_messages_back(server: Serving, options: tuple[str, ...]) -> None:
    """Client to client (-y); -s sends indications, -D pads channel data, -t is TCP, -S TLS."""
    port = server.tls_port if "-S" in options else server.port
    counts = ("-n", str(MESSAGES), "-m", "2", "-z", "5", "-c")
    talk = run("turnutils_uclient", "-y", *options, *counts, *LOGIN, "-p", str(port), ADDRESS)
    assert lost(talk) == 0
    transport = "tls" if "-S" in options else "tcp" if "-t" in options else "udp"
    assert server.expect("allocation", state="made", transport=transport, user="alice")
    assert server.stop()["packets"] >= MESSAGES


def test_uclient_reaches_an_echo_server(server: Serving) -> None:
    port = str(free_port())
    peer = subprocess.Popen(
        ["turnutils_peer", "-L", ADDRESS, "-p", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        counts = ("-n", str(MESSAGES), "-z", "5", "-c")
        talk = run("turnutils_uclient", "-e", ADDRESS, "-r", port, *counts, *LOGIN, "-p", str(server.port), ADDRESS)
    finally:
        peer.kill()
        peer.wait()
    assert lost(talk) == 0


def test_uclient_with_a_wrong_password_gets_nothing(server: Serving) -> None:
    login = ("-u", "alice", "-w", "wrong")
    run("timeout", "3", "turnutils_uclient", "-y", "-n", "1", "-c", *login, "-p", str(server.port), ADDRESS)
    assert server.expect("refused", code=401, user="")
    assert not [event for event in server.events if event["event"] == "allocation"]


def test_stunclient_learns_its_address(server: Serving) -> None:
    talk = run("turnutils_stunclient", "-p", str(server.port), ADDRESS)
    assert re.search(rf"UDP reflexive addr: {re.escape(ADDRESS)}:\d+", talk), talk


def test_natdiscovery_finds_that_there_is_no_nat(tmp_path: Path) -> None:
    port = free_port()
    with Serving(tmp_path, "--stun-listen", f"{SECOND_ADDRESS}:{port}") as server:
        assert server.expect("ready")["has_behaviour"]
        talk = run("turnutils_natdiscovery", "-m", "-f", "-p", str(server.port), "-L", ADDRESS, ADDRESS)
    assert "Endpoint Independent Mapping" in talk or "No NAT" in talk, talk
    assert "Endpoint Independent Filtering" in talk, talk
