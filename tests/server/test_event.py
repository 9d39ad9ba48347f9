"""What a running server tells programs."""

from __future__ import annotations

import json

from p2ptun.server.event import AllocationEvent, ClosedEvent, ListeningEvent, encode_event


def test_an_event_is_one_line_with_its_kind() -> None:
    line = encode_event(ListeningEvent("udp", "192.0.2.1", 3478))
    assert json.loads(line) == {"event": "listening", "transport": "udp", "address": "192.0.2.1", "port": 3478}
    assert "\n" not in line


def test_text_from_afar_breaks_no_line() -> None:
    event = AllocationEvent("made", "udp", "192.0.2.1:1", ["192.0.2.2:2"], 'a"\n\x1b')
    assert json.loads(encode_event(event))["user"] == 'a"\n\x1b'
    assert "\n" not in encode_event(event)


def test_counts_are_numbers() -> None:
    closed = json.loads(encode_event(ClosedEvent(1.5, 2, 3, {"malformed": 4})))
    assert closed == {"event": "closed", "uptime_s": 1.5, "packets": 2, "bytes": 3, "drops": {"malformed": 4}}
