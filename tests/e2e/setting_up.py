"""Two homes, a server and a slow internet, and how long it takes there to meet by a code, and by aioice."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Any

from tests.e2e.delay import add_delay
from tests.e2e.lab import Node, Router
from tests.e2e.nat import exact
from tests.e2e.program import Program, TunnelLab
from tests.e2e.serve import Serve

ROUND_TRIP = 0.05  # seconds
PATIENCE = 10.0  # seconds


class Place:
    """The laboratory, its server and its two homes, behind port-restricted NATs (EIM/APDF, RFC 4787)."""

    def __init__(self, lab: TunnelLab) -> None:
        self.lab = lab
        server = lab.add_server("server")
        home, office = (lab.add_router(name, exact(), ipv6=False) for name in ("home", "office"))
        uplinks: tuple[Node | Router, ...] = (server, home, office)
        for uplink in uplinks:
            add_delay(lab, uplink, ROUND_TRIP / 4)
        self.server: Serve = lab.start_serve(server, rooms=True)
        self.alice, self.bob = lab.add_host("alice", home), lab.add_host("bob", office)


@dataclass(frozen=True, slots=True)
class Meeting:
    """How a meeting by a code went, in seconds from the start of `p2ptun join`.

    `room` is until the room was joined, `total` until the first reply to a ping, `keys` how long the two took from
    meeting to keys.
    """

    room: float
    total: float
    keys: float
    are_quantum_resistant: bool


def meet_by_code(place: Place) -> Meeting:
    """Share, join with the code, ping, and end it again."""
    lab = place.lab
    share = lab.start(place.alice, "share", "--rendezvous", place.server.url)
    code = share.expect("code")["code"]
    share.expect("gathered")
    began = time.monotonic()
    join = lab.start(place.bob, "join", "--rendezvous", place.server.url, code)
    there = join.expect("interface")["peer_addresses"][0].split("/")[0]
    assert lab.can_ping(place.bob, there, PATIENCE)
    total = time.monotonic() - began
    keys = join.expect("path")["setup_ms"] / 1000
    are_resistant = all(side.peer()["quantum_resistant"] for side in (join, share))
    share.stop()
    assert (share.exit_code(), join.exit_code()) == (0, 0)
    return Meeting(_first(join, "gathering") - began, total, keys, are_resistant)


def meet_by_aioice(place: Place) -> float:
    """Let two sides of aioice know each other without delay; return how long the second took from its start."""
    stun = f"{place.server.node.ipv4},3478"
    left = Other(place.lab, place.alice, "controlling", stun)
    left.wait_for("ufrag")
    began = time.monotonic()
    right = Other(place.lab, place.bob, "controlled", stun)
    left.feed(right.wait_for("ufrag"))
    right.feed(left.wait_for("ufrag"))
    right.wait_for("event")
    left.wait_for("event")
    return time.monotonic() - began


class Other:
    """aioice on a host, which says and takes lines."""

    def __init__(self, lab: TunnelLab, host: Node, role: str, stun: str) -> None:
        argv = [sys.executable, "-m", "tests.interop.aioice_stdio", "--role", role, "--family", "4", "--stun", stun]
        self._process: Popen[str] = lab.popen(host, argv, stdin=PIPE, stdout=PIPE)
        self._said: dict[str, dict[str, Any]] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, key: str) -> dict[str, Any]:
        """Wait for the first line that has this key."""
        with self._news:
            assert self._news.wait_for(lambda: key in self._said, 20), f"no line with {key}"
            return self._said[key]

    def feed(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            with self._news:
                for key in line:
                    self._said.setdefault(key, line)
                self._news.notify_all()


def _first(program: Program, kind: str) -> float:
    """Tell when a program told its first event of a kind."""
    return next(at for event, at in zip(program.events, program.times, strict=False) if event["event"] == kind)
