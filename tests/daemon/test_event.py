"""Events as programs read them: the fields that interface.md promises, with their names and types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2ptun.daemon.event import (
    AddressPlace,
    ClosedEvent,
    ErrorEvent,
    Event,
    GatheredEvent,
    GatheringEvent,
    InterfaceEvent,
    NetworkEvent,
    PeerEvent,
    ProgressEvent,
    RestartEvent,
    ResumedEvent,
    WaitingEvent,
    candidate_event,
    encode_event,
    milliseconds,
    path_event,
    relay_event,
)
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.node.path import Path
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, Transport
from tests.sim.network import at


def candidate(kind: CandidateType, endpoint: str) -> Candidate:
    return Candidate(kind, at(endpoint), 1, "1", at(endpoint))


LOCAL = candidate(CandidateType.SERVER_REFLEXIVE, "203.0.113.7:41641")
REMOTE = candidate(CandidateType.HOST, "[2001:db8::1]:5")
RELAY = Server(Endpoint.of("192.0.2.9", 443, Transport.TLS), "turn.example.net")
PATH = Path(at("192.168.1.2:1"), at("[2001:db8::1]:6"), LOCAL, REMOTE, 0.0041)


@pytest.mark.parametrize(
    ("event", "promised"),
    [
        (
            InterfaceEvent("p2ptun0", ["10.77.3.0/31", "fd5c::2/127"], 1420),
            {"event": "interface", "name": "p2ptun0", "addresses": ["10.77.3.0/31", "fd5c::2/127"], "mtu": 1420},
        ),
        (
            candidate_event("local", LOCAL),
            {
                "event": "candidate",
                "side": "local",
                "type": "srflx",
                "transport": "udp",
                "address": "203.0.113.7",
                "port": 41641,
            },
        ),
        (
            PeerEvent("nas", "connecting", None),
            {"event": "peer", "peer": "nas", "state": "connecting", "reason": None},
        ),
        (
            path_event("nas", PATH, 1420, 0.312),
            {
                "event": "path",
                "peer": "nas",
                "kind": "direct",
                "local": {"type": "srflx", "transport": "udp", "address": "203.0.113.7", "port": 41641},
                "remote": {"type": "host", "transport": "udp", "address": "2001:db8::1", "port": 6},
                "rtt_ms": 4.1,
                "mtu": 1420,
                "setup_ms": 312.0,
            },
        ),
        (
            NetworkEvent([AddressPlace("wlan0", "192.168.7.3")], [], [], ["wlan0 by 192.168.7.1"]),
            {
                "event": "network",
                "gained": [{"interface": "wlan0", "address": "192.168.7.3"}],
                "lost": [],
                "interrupted": [],
                "default_routes": ["wlan0 by 192.168.7.1"],
            },
        ),
        (ResumedEvent(41.5), {"event": "resumed", "seconds": 41.5}),
        (
            RestartEvent("nas", 2, "the network changed"),
            {"event": "restart", "peer": "nas", "generation": 2, "reason": "the network changed"},
        ),
        (
            relay_event(RELAY, at("192.0.2.9:50000"), "lost", "It is gone."),
            {
                "event": "relay",
                "server": "turn.example.net:443",
                "transport": "tls",
                "address": "192.0.2.9",
                "port": 50000,
                "state": "lost",
                "reason": "It is gone.",
            },
        ),
        (
            path_event("nas", PATH, 1420, 0.312, RELAY),
            {"server": "turn.example.net:443", "server_transport": "tls", "setup_ms": 312.0},
        ),
        (relay_event(RELAY, None, "refused"), {"address": None, "port": None, "reason": None}),
        (GatheringEvent(1, 2), {"event": "gathering", "servers": 1, "relays": 2}),
        (
            GatheredEvent(2, [], 1, ["turn.example.net:443 (tls)"], 2),
            {"relays": ["turn.example.net:443 (tls)"], "relay_servers": 2},
        ),
        (ErrorEvent("no", "do"), {"event": "error", "message": "no", "remedy": "do"}),
        (WaitingEvent("offer"), {"event": "waiting", "kind": "offer"}),
        (GatheringEvent(1), {"event": "gathering", "servers": 1}),
        (GatheredEvent(2, ["203.0.113.7:1"]), {"event": "gathered", "hosts": 2, "reflexive": ["203.0.113.7:1"]}),
        (ProgressEvent(3, 9), {"event": "progress", "done": 3, "total": 9, "heard": True}),
        (ClosedEvent(1.5, 10, 20), {"event": "closed", "uptime_s": 1.5, "tx_bytes": 10, "rx_bytes": 20}),
    ],
)
def test_every_event_keeps_its_promise(event: Event, promised: dict[str, Any]) -> None:
    line = encode_event(event)
    assert "\n" not in line
    document = json.loads(line)
    assert {key: document[key] for key in promised} == promised
    assert next(iter(document)) == "event"


def test_a_line_stays_one_whatever_a_text_holds() -> None:
    line = encode_event(ErrorEvent("two\nlines \u2028 \x1b[31m", ""))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line)["message"] == "two\nlines \u2028 \x1b[31m"


def test_what_is_not_known_is_null() -> None:
    unmeasured = path_event("nas", Path(PATH.base, PATH.destination, LOCAL, REMOTE, None), 1, None)
    document = json.loads(encode_event(unmeasured))
    assert document["rtt_ms"] is document["setup_ms"] is document["server"] is None
    assert milliseconds(None) is None
    assert milliseconds(0.0123456) == 12.346


def test_an_end_reads_as_an_endpoint() -> None:
    path = path_event("nas", PATH, 1, None)
    assert [str(path.local), str(path.remote)] == ["203.0.113.7:41641", "[2001:db8::1]:6"]
