"""The laboratory is what the other tests stand on: each promise of it is shown here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, LabError, Node, wait_until
from tests.e2e.nat import FIREWALL, LINUX, SYMMETRIC, Nat

pytestmark = pytest.mark.root

UDP_ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 7000))
print("ready", flush=True)
while True:
    data, source = server.recvfrom(100)
    server.sendto(str(source[1]).encode(), source)
"""

UDP_ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("0.0.0.0", 6000))
client.settimeout(5)
for address in sys.argv[1:]:
    client.sendto(b"who am I", (address, 7000))
    print(client.recv(100).decode())
"""


def namespaces() -> str:
    """List every namespace of this machine, by name."""
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process anyway")
def test_the_laboratory_stays_in_two_processes(request: pytest.FixtureRequest) -> None:
    groups = {item.nodeid.rpartition("@")[2] for item in request.session.items if "tests/e2e/" in item.nodeid}
    assert request.node.nodeid.endswith("@patience"), "pytest-xdist doesn't know of the groups"
    assert groups <= {"patience", "laboratory"}


def test_hosts_on_the_net_reach_each_other_in_both_families() -> None:
    with Lab() as lab:
        alice, bob = lab.add_host("alice"), lab.add_host("bob")
        assert lab.can_ping(alice, bob.ipv4)
        assert lab.can_ping(bob, alice.ipv4)
        assert lab.can_ping(alice, bob.ipv6)
        assert lab.can_ping(bob, alice.ipv6)


@pytest.mark.parametrize("nat", [LINUX, SYMMETRIC, FIREWALL])
def test_a_router_lets_out_and_does_not_let_in(nat: Nat) -> None:
    with Lab() as lab:
        router = lab.add_router("home", nat)
        inside, outside = lab.add_host("inside", router), lab.add_host("outside")
        assert lab.can_ping(inside, outside.ipv4)
        assert lab.can_ping(inside, outside.ipv6)
        assert lab.can_ping(outside, router.node.ipv4)
        assert not lab.can_ping(outside, inside.ipv4, timeout=0.3)
        assert not lab.can_ping(outside, inside.ipv6, timeout=0.3)


def test_a_host_may_have_one_family_only() -> None:
    with Lab() as lab:
        router = lab.add_router("home", LINUX, ipv6=False)
        only4 = lab.add_host("only4", router)
        only6 = lab.add_host("only6", lab.add_router("office", FIREWALL), ipv4=False)
        server = lab.add_server("server")
        assert (only4.ipv6, only6.ipv4) == (None, None)
        assert lab.can_ping(only4, server.ipv4)
        assert not lab.can_ping(only4, server.ipv6, timeout=0.3)
        assert lab.can_ping(only6, server.ipv6)
        assert not lab.can_ping(only6, server.ipv4, timeout=0.3)


@pytest.mark.parametrize(("nat", "ports"), [(LINUX, 1), (SYMMETRIC, 3), (FIREWALL, 1)])
def test_mapping(nat: Nat, ports: int) -> None:
    """One socket asks three servers how they see it: one port, or one for each (three random ports may not meet)."""
    with Lab() as lab:
        inside = lab.add_host("inside", lab.add_router("home", nat))
        servers = [lab.add_server(name) for name in ("one", "two", "three")]
        for server in servers:
            start_echo(lab, server)
        asked = lab.run(inside, [sys.executable, "-c", UDP_ASK, *(str(server.ipv4) for server in servers)])
        assert len(set(asked.stdout.split())) == ports, asked


def start_echo(lab: Lab, server: Node) -> None:
    echo = lab.popen(server, [sys.executable, "-c", UDP_ECHO], stdout=subprocess.PIPE)
    assert echo.stdout is not None
    assert echo.stdout.readline() == "ready\n"


def test_cut_is_silent_and_restore_mends_it() -> None:
    with Lab() as lab:
        router = lab.add_router("home", LINUX)
        alice, bob = lab.add_host("alice", router), lab.add_host("bob")
        for victim in (alice, router, bob):
            assert lab.can_ping(alice, bob.ipv4)
            assert lab.can_ping(alice, bob.ipv6)
            lab.cut(victim)
            for address in (bob.ipv4, bob.ipv6):
                silent = lab.run(alice, ["ping", "-n", "-c1", "-W0.3", str(address)])
                assert silent.returncode == 1
                assert "0 received" in silent.stdout
                assert "nreachable" not in silent.stdout
            lab.restore(victim)
        assert lab.can_ping(alice, bob.ipv4)


def test_two_labs_do_not_know_each_other() -> None:
    with Lab() as one, Lab() as two:
        one.add_host("a")
        a, b = two.add_host("a"), two.add_host("b")
        assert two.can_ping(a, b.ipv4)
        one.close()
        assert two.can_ping(a, b.ipv4)


def test_nothing_is_left_after_a_failure() -> None:
    lab = Lab()
    with pytest.raises(LabError, match="exit code 3: gone wrong"):
        fail_inside(lab)
    assert lab.prefix not in namespaces()
    assert not processes_named("1000.125")


def fail_inside(lab: Lab) -> None:
    """Leave a program behind that doesn't want to end, and its child, and fail."""
    with lab:
        alice = lab.add_host("alice", lab.add_router("home", LINUX))
        lab.popen(alice, ["sh", "-c", "trap '' TERM; sleep 1000.125 & sleep 1000.125"])
        assert lab.prefix in namespaces()
        wait_until(lambda: len(processes_named("1000.125")) >= 2, 5, "both sleepers run")
        lab.shell(alice.namespace, "echo gone wrong >&2; exit 3")


def processes_named(word: str) -> list[str]:
    """List the pids of `sleep` with this argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().split(b"\0")[:2] == [b"sleep", word.encode()]:
                found.append(entry.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(number: signal.Signals) -> None:
    script = (
        "from tests.e2e.lab import Lab\nimport time\n"
        "with Lab() as lab:\n"
        "    host = lab.add_host('alice')\n"
        "    lab.popen(host, ['sleep', '1000'])\n"
        "    print(lab.prefix, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        prefix = child.stdout.readline().strip()
        assert prefix in namespaces()
        os.kill(child.pid, number)
        child.communicate(timeout=20)
    assert child.returncode != 0
    assert prefix not in namespaces()


def test_wait_until_gives_up() -> None:
    with pytest.raises(LabError, match="the cows come home"):
        wait_until(lambda: False, 0.1, "the cows come home")


STUN_ASK = """
import os, socket, sys
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import Message, MessageClass, Method, decode_message, encode_message, new_transaction_id
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("", 6000))
client.settimeout(5)
request = Message(Method.BINDING, MessageClass.REQUEST, new_transaction_id(os.urandom), ())
client.sendto(b"noise", (sys.argv[1], 3478))
client.sendto(encode_message(request), (sys.argv[1], 3478))
print(decode_message(client.recv(2048)).get(XOR_MAPPED_ADDRESS))
"""


def test_the_stun_server_tells_the_address_outside_the_nat() -> None:
    with Lab() as lab:
        server = lab.add_server("stun")
        assert lab.start_stun(server) == f"stun:{server.ipv4}:3478"
        router = lab.add_router("home", LINUX)
        inside = lab.add_host("inside", router)
        asked = lab.run(inside, [sys.executable, "-c", STUN_ASK, str(server.ipv4)])
        assert asked.stdout == f"{router.node.ipv4}:6000\n", asked
        asked = lab.run(inside, [sys.executable, "-c", STUN_ASK, str(server.ipv6)])
        assert asked.stdout == f"[{inside.ipv6}]:6000\n", asked
