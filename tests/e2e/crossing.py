"""Two machines behind any two of the nine NATs make a tunnel through the command line, and use it.

What comes of it is held against theory (`tests.sim.site.expected_way`): the words of RFC 4787 alone say which pairs
have a direct path. The others have one over a relay, or none.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from tests.e2e.command import LabError, wait_until
from tests.e2e.lab import Node, Router
from tests.e2e.nat import exact
from tests.e2e.program import Program, Tunnel, TunnelLab
from tests.sim.site import Site, expected_way

TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]
SIZE = 20_000_000
PORT = 5001
PATIENCE = 20.0  # seconds for a path that exists, and for traffic to have moved to a direct one
VAIN_SEARCH = 8.0
"""Seconds after which a pair that has found nothing is believed to have no path: twenty times what others take."""


class Kind(Enum):
    """How two sides are connected."""

    DIRECT = "direct"
    RELAY = "relay"
    NONE = "no path"


@dataclass(frozen=True, slots=True)
class Pair:
    """Who shares, who joins, and whether there is a relay."""

    sharing: Site
    joining: Site
    has_relay: bool

    def __str__(self) -> str:
        return f"{self.sharing} - {self.joining}, {'with' if self.has_relay else 'without'} a relay"

    @property
    def expected(self) -> Kind:
        """What theory says."""
        if expected_way(self.sharing, self.joining) is not None:
            return Kind.DIRECT
        return Kind.RELAY if self.has_relay else Kind.NONE


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pair. `setup` is the time from the second line's arrival to the first reply to a ping, seconds.

    `problem` says what went otherwise than it must; empty when nothing did.
    """

    pair: Pair
    kind: Kind
    setup: float
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        return self.kind.value if self.kind is Kind.NONE else f"{self.kind.value} {1000 * self.setup:.0f} ms"


class Crossing:
    """Two homes whose NATs can be anything, with a machine each, and a server between them. IPv4 only."""

    def __init__(self, lab: TunnelLab, has_relay: bool) -> None:
        self._lab = lab
        self._homes = [lab.add_router(name, exact(), ipv6=False) for name in ("home", "office")]
        self._alice, self._bob = (
            lab.add_host(name, home) for name, home in zip(("alice", "bob"), self._homes, strict=True)
        )
        server = lab.add_server("server", ipv6=False)
        if has_relay:
            serving = lab.start_serve(server)
            self._stun = ("--stun", serving.stun)
            self._relay = serving.options()
        else:
            self._stun = ("--stun", lab.start_stun(server))
            self._relay = ()

    def run(self, pair: Pair) -> Outcome:
        """Let a pair meet, carry traffic, and part."""
        self._become(pair)
        try:
            with self._introduced(pair) as (tunnel, pasted, pinging):
                if pair.expected is Kind.NONE:
                    return self._search_in_vain(pair, tunnel)
                setup = first_reply(pinging) - pasted
                kind = self._settled_kind(pair, tunnel)
                problem = "" if kind is pair.expected else f"{kind.value}, not {pair.expected.value}"
                return Outcome(pair, kind, setup, problem or self._carry(tunnel))
        except (AssertionError, LabError) as error:
            return Outcome(pair, Kind.NONE, 0.0, str(error))
        finally:
            self._lab.kill_programs()

    def _become(self, pair: Pair) -> None:
        for home, site in zip(self._homes, (pair.sharing, pair.joining), strict=True):
            self._lab.set_nat(home, exact(site.mapping, site.filtering))
            forget(home)

    @contextmanager
    def _introduced(self, pair: Pair) -> Iterator[tuple[Tunnel, float, subprocess.Popen[str]]]:
        """Carry the lines, and let a ping run; end both sides at the end, and have them say that all is well."""
        options = (*self._stun, *(self._relay if pair.has_relay else ()))
        share = self._lab.start(self._alice, "share", *options)
        join = self._lab.start(self._bob, "join", *options)
        offer = share.expect("offer")["blob"]
        join.feed(offer)
        answer = join.expect("answer")["blob"]
        pasted = share.feed(answer)
        share.expect("interface")
        pinging = self._ping(self._alice, join)
        try:
            yield Tunnel(share, join, offer, answer, 0.0), pasted, pinging
        finally:
            pinging.kill()
            pinging.wait()
        for side in (share, join):
            side.stop()
        assert [side.exit_code() for side in (share, join)] == [0, 0]

    def _ping(self, host: Node, other: Program) -> subprocess.Popen[str]:
        argv = ["ping", "-n", "-i0.01", f"-w{PATIENCE:g}", str(other.ipv4)]
        return self._lab.popen(host, argv, stdout=subprocess.PIPE)

    def _search_in_vain(self, pair: Pair, tunnel: Tunnel) -> Outcome:
        """Wait for a path that should not be there."""
        try:
            found = wait_until(lambda: tunnel.share.find("path") or tunnel.join.find("path"), VAIN_SEARCH, "a path")
        except LabError:
            return Outcome(pair, Kind.NONE, 0.0)
        return Outcome(pair, Kind(found[-1]["kind"]), 0.0, f"a path where there should be none: {found[-1]}")

    def _settled_kind(self, pair: Pair, tunnel: Tunnel) -> Kind:
        """Wait until both sides have the kind of path that is expected; give another kind after some patience."""
        try:
            wait_until(lambda: kinds(tunnel) == {pair.expected}, PATIENCE, "the expected path")
        except LabError:
            return (kinds(tunnel) - {pair.expected}).pop()
        return pair.expected

    def _carry(self, tunnel: Tunnel) -> str:
        """Carry bytes over TCP; say what went wrong, if anything did."""
        before, address = kinds(tunnel), str(tunnel.join.ipv4)
        receiver = self._lab.popen(self._bob, [*TRAFFIC, "receive", address, str(PORT)], stdout=subprocess.PIPE)
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        sent = self._lab.run(self._alice, [*TRAFFIC, "send", address, str(PORT), str(SIZE)]).stdout
        arrived = receiver.communicate(timeout=60)[0]
        if sent.split()[:1] != [str(SIZE)] or sent != arrived:
            return f"sent {sent!r}, arrived {arrived!r}"
        return "" if kinds(tunnel) == before else "the path changed its kind under traffic"


def forget(home: Router) -> None:
    """Let a NAT forget the last pair."""
    assert home.udp is not None
    home.udp.reboot()


def kinds(tunnel: Tunnel) -> set[Kind]:
    """Tell what kinds of path both sides have now."""
    return {
        Kind(path["kind"]) if path else Kind.NONE for path in (tunnel.share.peer()["path"], tunnel.join.peer()["path"])
    }


def first_reply(pinging: subprocess.Popen[str]) -> float:
    """Wait for the first reply to a ping; return when it came. Raises LabError when none does."""
    assert pinging.stdout is not None
    for line in pinging.stdout:
        if " bytes from " in line:
            return time.monotonic()
    raise LabError(f"no reply to a ping within {PATIENCE:g} s")
