"""How a network check looks: every fact has its words, and what servers are called can't paint the terminal."""

from __future__ import annotations

import pytest

from p2ptun.cli.netcheck_view import lifetime_words, render, render_lifetime
from p2ptun.daemon.netcheck_document import (
    AddressDocument,
    NatDocument,
    NetcheckDocument,
    PortsDocument,
    RelayDocument,
    ServerDocument,
    WayDocument,
)
from p2ptun.nat.behavior import Lifetime

NAT = NatDocument(
    family="ipv4",
    local="192.168.1.10",
    interface="eth0",
    public=["198.51.100.1"],
    has_nat=True,
    mapping="endpoint-independent",
    filtering=None,
    ports=PortsDocument("random", None, is_consistent=True),
    preserves_port=False,
    hairpins=True,
    sends_fragments=True,
    receives_fragments=False,
    lifetime=None,
    meaning=["Direct paths work with most networks."],
)
UDP, TCP = (WayDocument(each, "203.0.113.2", 3478, None, None, "no answer") for each in ("udp", "tcp"))
FAST = WayDocument("udp", "203.0.113.2", 3478, 12.0, "198.51.100.1:40000", None)


def shown(capsys: pytest.CaptureFixture[str], *servers: ServerDocument, nat: NatDocument = NAT) -> str:
    render(NetcheckDocument(1, [AddressDocument("192.168.1.10", "eth0")], [nat], list(servers), [], 1.0))
    return capsys.readouterr().out


def test_a_nat_is_told_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys)
    for words in (
        "is seen as 198.51.100.1",
        "NAT for IPv4",
        "one public port, whatever the destination (endpoint-independent)",
        "filtering    unknown",
        "others than inside, at random",
        "inside reaches inside at public addresses",
        "get out, but not in",
        "Direct paths work with most networks.",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        (PortsDocument("preserving", None, is_consistent=True), "kept as inside where they are free"),
        (PortsDocument("sequential", 2, is_consistent=True), "one after the other (in steps of 2)"),
        (PortsDocument("sequential", 2, is_consistent=False), "one after the other (mostly in steps of 2)"),
        (None, "others than inside"),
    ],
)
def test_ports_are_told(capsys: pytest.CaptureFixture[str], ports: PortsDocument | None, words: str) -> None:
    fields = {name: getattr(NAT, name) for name in NAT.__struct_fields__}
    assert words in shown(capsys, nat=NatDocument(**{**fields, "ports": ports}))


def test_servers_have_a_column_for_each_transport(capsys: pytest.CaptureFixture[str]) -> None:
    works = RelayDocument(works=True, relayed=["203.0.113.2:50000"], time_ms=30.0, problem=None)
    fails = RelayDocument(works=False, relayed=[], time_ms=None, problem="no")
    said = shown(
        capsys,
        ServerDocument("stun:one.example", None, True, [FAST], None),
        ServerDocument("turn:two.example", None, None, [FAST, TCP], works),
        ServerDocument("turn:three.example", None, None, [UDP], fails),
        ServerDocument("turn:four.example", None, None, [UDP], None),
    )
    lines = {line.split()[0]: line for line in said.splitlines() if ":" in line and line.startswith("  ")}
    assert "12 ms" in lines["stun:one.example"]
    assert lines["stun:one.example"].endswith("two addresses")
    assert "no" in lines["turn:two.example"].split()
    assert "relays (30 ms)" in lines["turn:two.example"]
    assert lines["turn:three.example"].endswith("gives no address")
    assert lines["turn:four.example"].endswith("no credentials")


def test_names_cannot_paint_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, ServerDocument("stun:\x1b[31m[red]evil", "no", None, [], None))
    assert "\x1b" not in said
    assert "[red]evil" in said


@pytest.mark.parametrize(
    ("lifetime", "words"),
    [
        (None, "not known yet"),
        (Lifetime(300.0, None), "more than"),
        (Lifetime(0.0, 15.0), "less than"),
        (Lifetime(25.0, 40.0), "between"),
    ],
)
def test_lifetimes_have_words(capsys: pytest.CaptureFixture[str], lifetime: Lifetime | None, words: str) -> None:
    assert lifetime_words(lifetime).startswith(words)
    render_lifetime(lifetime)
    assert words in capsys.readouterr().out
