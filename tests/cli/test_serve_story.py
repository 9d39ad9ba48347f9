"""What `p2ptun serve` shows."""

from __future__ import annotations

import json

import pytest

from p2ptun.cli.serve_story import ServeView
from p2ptun.server.event import (
    AllocationEvent,
    ClosedEvent,
    ErrorEvent,
    Event,
    ListeningEvent,
    ReadyEvent,
    RefusedEvent,
    ReloadedEvent,
    RoomsEvent,
    SkippedEvent,
)

RELAYED = ["192.0.2.9:50000"]
LINES: list[tuple[Event, str]] = [
    (ListeningEvent("udp", "192.0.2.1", 3478), "udp        192.0.2.1:3478"),
    (ListeningEvent("tls", "2001:db8::1", 443), "tls        [2001:db8::1]:443"),
    (ReadyEvent(False, [], 1, 2), "serving    STUN"),
    (
        ReadyEvent(True, ["192.0.2.9"], 50000, 50999),
        "serving    STUN with the behaviour of NATs (RFC 5780); TURN from 192.0.2.9, ports 50000-50999",
    ),
    (
        AllocationEvent("made", "udp", "192.0.2.3:4", RELAYED, "al"),
        "allocated  192.0.2.9:50000 for 192.0.2.3:4 (al, udp)",
    ),
    (
        AllocationEvent("ended", "udp", "192.0.2.3:4", RELAYED, "al", "expired", 3, 2048),
        "released   192.0.2.9:50000 of 192.0.2.3:4: expired; relayed 2.0 KiB",
    ),
    (
        RefusedEvent("tcp", "192.0.2.3:4", "allocate", 401, "Unauthenticated", ""),
        "refused    192.0.2.3:4 (unknown, tcp): allocate: 401 Unauthenticated",
    ),
    (ListeningEvent("http", "127.0.0.1", 8080), "http       127.0.0.1:8080"),
    (ReadyEvent(False, [], 1, 2, has_stun=False, store="sqlite"), "serving    rooms, kept in SQLite"),
    (ReadyEvent(False, [], 1, 2, store="redis"), "serving    rooms, kept in Redis; STUN"),
    (RoomsEvent(1, 2, 3, 4, {}), "rooms      1 with numbers, 2 with names; 3 polls, 4 messages"),
    (
        RoomsEvent(0, 0, 0, 0, {"not-found": 2, "full": 1}),
        "rooms      0 with numbers, 0 with names; 0 polls, 0 messages; refused full: 1, not-found: 2",
    ),
    (SkippedEvent(7), "skipped    7 more of these"),
    (ReloadedEvent(), "reloaded   the certificate"),
    (ErrorEvent("It failed.", "Mend it."), "note       It failed. Mend it."),
    (ClosedEvent(62, 1, 2048, {}), "closed     after 1m2s; relayed 2.0 KiB"),
]


@pytest.mark.parametrize(("event", "line"), LINES)
def test_people_read_lines(event: Event, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    ServeView(False).show(event)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"{line}\n"


def test_the_most_frequent_drops_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    ServeView(False).show(ClosedEvent(1, 0, 0, {f"reason {number}": number for number in range(9)}))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "dropped    reason 8: 8, reason 7: 7, reason 6: 6, reason 5: 5, reason 4: 4"


def test_text_from_afar_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    ServeView(False).show(AllocationEvent("made", "udp", "192.0.2.3:4", RELAYED, "\x1b[2J[red]al\u202e\n"))
    printed = capsys.readouterr().err
    assert printed.endswith("([2J[red]al, udp)\n")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("event", [event for event, _ in LINES])
def test_programs_read_objects(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    ServeView(True).show(event)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["event"]
    assert printed.err == ""


def test_what_clients_ask_for_in_vain_is_no_news_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    ServeView(is_json=False).show(RefusedEvent("udp", "192.0.2.3:4", "create_permission", 403, "Forbidden", "bob"))
    assert capsys.readouterr() == ("", "")
