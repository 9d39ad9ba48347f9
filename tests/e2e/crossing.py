"""Two machines behind any two of the nine NATs make a tunnel through the command line, and use it.

What comes of it is held against theory (`tests.sim.site.expected_way`): the words of RFC 4787 alone say which pairs
have a direct path. The others have one over a relay, or none; but where only one side's mappings depend on the
destination, a search for ports may find a direct path after some seconds, by chance.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from tests.e2e.command import LabError, wait_until
from tests.e2e.lab import STUN_PORT, Node, Router
from tests.e2e.nat import exact
from tests.e2e.program import Program, Tunnel, TunnelLab
from tests.sim.nat import Behaviour
from tests.sim.site import Site, expected_way

TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]
SIZE = 20_000_000
PORT = 5001
PATIENCE = 20.0  # seconds for a path that exists, and for traffic to have moved to it
SEARCH_TIME = 15.0  # seconds for a path that has to be searched for: two to begin, ten for 2000 packets
VAIN_SEARCH = 8.0
"""Seconds after which a pair that has found nothing is believed to have no path: twenty times what others take."""


class Kind(Enum):
    """How two sides are connected."""

    DIRECT = "direct"
    RELAY = "relay"
    NONE = "no path"


BEST_FIRST = list(Kind)


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

    @property
    def is_searched(self) -> bool:
        """Whether there is a direct path only if a search for ports finds it: one side's mappings are known."""
        independent = [site.seen_mapping is Behaviour.ENDPOINT_INDEPENDENT for site in (self.sharing, self.joining)]
        return self.expected is not Kind.DIRECT and any(independent)

    @property
    def allowed(self) -> frozenset[Kind]:
        """How the pair may be connected."""
        return frozenset({self.expected, Kind.DIRECT} if self.is_searched else {self.expected})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pair.

    Attributes:
        first: The kind of path that was there first, and `kind` the one that traffic stayed with.
        setup: From the second line's arrival to the first reply to a ping, in seconds.
        problem: What else went otherwise than it must; empty when nothing did.
    """

    pair: Pair
    first: Kind
    kind: Kind
    setup: float = 0.0
    problem: str = ""

    @property
    def is_right(self) -> bool:
        """Whether all went as it must."""
        return not self.problem and self.kind in self.pair.allowed

    def __str__(self) -> str:
        if not self.is_right:
            return f"FAILED: {self.problem or self.kind.value}"
        if self.kind is Kind.NONE:
            return str(self.kind.value)
        later = "" if self.first is self.kind else f", then {self.kind.value}"
        return f"{self.first.value} {round(1000 * self.setup)} ms{later}"


class Crossing:
    """Two homes whose NATs can be anything, with a machine each, and a server between them. IPv4 only."""

    def __init__(self, lab: TunnelLab, has_relay: bool) -> None:
        self._lab = lab
        self._homes = [lab.add_router(name, exact(), ipv6=False) for name in ("home", "office")]
        self._alice, self._bob = (
            lab.add_host(name, home) for name, home in zip(("alice", "bob"), self._homes, strict=True)
        )
        server = lab.add_server("server", ipv6=False)
        self._relay = lab.start_serve(server).options() if has_relay else ()
        if not has_relay:
            lab.start_stun(server)
        # two addresses of a server show what a NAT's mappings depend on
        self._stun = tuple(f"--stun=stun:{address}:{STUN_PORT}" for address in (server.ipv4, *server.alternates))

    def run(self, pair: Pair) -> Outcome:
        """Let a pair meet, carry traffic, and part."""
        self._become(pair)
        try:
            with self._introduced(pair) as (tunnel, pasted, pinging):
                kind = settled_kind(pair, tunnel)
                if kind is Kind.NONE:
                    problem = "" if kind in pair.allowed else described(tunnel)
                    return Outcome(pair, kind, kind, problem=problem)
                setup = first_reply(pinging) - pasted
                first = Kind(wait_until(lambda: tunnel.share.find("path"), PATIENCE, "a path is told")[0]["kind"])
                problem = self._carry(pair, tunnel) if kind in pair.allowed else ""
                return Outcome(pair, first, kind, setup, problem or other_ends(pair, tunnel))
        except (AssertionError, LabError) as error:
            return Outcome(pair, Kind.NONE, Kind.NONE, problem=str(error) or repr(error))
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
        pasted = time.time()
        share.feed(answer)
        share.expect("interface")
        pinging = self._ping(self._alice, join)
        tunnel = Tunnel(share, join, offer, answer, 0.0)
        try:
            yield tunnel, pasted, pinging
        finally:
            pinging.kill()
            pinging.wait()
        if tunnel.part() != (0, 0):
            raise LabError(f"they did not end well\n{described(tunnel)}")

    def _ping(self, host: Node, other: Program) -> subprocess.Popen[str]:
        argv = ["ping", "-n", "-D", "-i0.01", f"-w{PATIENCE:g}", str(other.ipv4)]
        return self._lab.popen(host, argv, stdout=subprocess.PIPE)

    def _carry(self, pair: Pair, tunnel: Tunnel) -> str:
        """Carry bytes over TCP; say what went wrong, if anything did."""
        address = str(tunnel.join.ipv4)
        receiver = self._lab.popen(self._bob, [*TRAFFIC, "receive", address, str(PORT)], stdout=subprocess.PIPE)
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        sent = self._lab.run(self._alice, [*TRAFFIC, "send", address, str(PORT), str(SIZE)]).stdout
        arrived = receiver.communicate(timeout=60)[0]
        if sent.split()[:1] != [str(SIZE)] or sent != arrived:
            return f"sent {sent!r}, arrived {arrived!r}"
        return "" if kinds(tunnel) <= pair.allowed else f"under traffic the path became {kinds(tunnel)}"


def forget(home: Router) -> None:
    """Let a NAT forget the last pair."""
    assert home.udp is not None
    home.udp.reboot()


def kinds(tunnel: Tunnel) -> set[Kind]:
    """Tell what kinds of path both sides have now."""
    return {
        Kind(path["kind"]) if path else Kind.NONE for path in (tunnel.share.peer()["path"], tunnel.join.peer()["path"])
    }


def described(tunnel: Tunnel) -> str:
    """Show what both sides have done."""
    return "\n".join(f"{side.name}: {side.describe()}" for side in (tunnel.share, tunnel.join))


def other_ends(pair: Pair, tunnel: Tunnel) -> str:
    """Say which candidates a direct path has, if not those that theory says; an empty string for any other path."""
    way = expected_way(pair.sharing, pair.joining)
    paths = [side.peer()["path"] for side in (tunnel.share, tunnel.join)]
    if way is None or not all(paths):
        return ""
    found = [(path["local"]["type"], path["local"]["transport"]) for path in paths]
    wanted = [(end.value, way.transport.value) for end in (way.left, way.right)]
    return "" if found == wanted else f"the ends are {found}, not {wanted}"


def settled_kind(pair: Pair, tunnel: Tunnel) -> Kind:
    """Give both sides time for the best kind of path that the pair may have; tell which one they have then."""
    best = min(pair.allowed, key=BEST_FIRST.index)
    patience = SEARCH_TIME if pair.is_searched else VAIN_SEARCH if best is Kind.NONE else PATIENCE
    with suppress(LabError):
        wait_until(lambda: (kinds(tunnel) == {best}) is not (best is Kind.NONE), patience, "the best path")
    return max(kinds(tunnel), key=BEST_FIRST.index)


def first_reply(pinging: subprocess.Popen[str]) -> float:
    """Tell when the first reply to a ping came, by the clock on the wall. Raises LabError when none does."""
    assert pinging.stdout is not None
    for line in pinging.stdout:
        if " bytes from " in line:
            return float(line[1:].partition("]")[0])
    raise LabError(f"no reply to a ping within {PATIENCE:g} s")
