"""Stories of relays, told through the command line: see `tests.e2e.test_relay`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.e2e.coturn import TCP, TLS_443, UDP, Coturn
from tests.e2e.disturbance import add_uplink, block, unblock
from tests.e2e.lab import Node, Router, wait_until
from tests.e2e.nat import LINUX, SYMMETRIC, Outbound
from tests.e2e.program import Program, Tunnel, TunnelLab
from tests.e2e.serve import Serve

TRAFFIC = [sys.executable, "-m", "tests.e2e.traffic"]
TRANSFER = 3_000_000
PASSWORD, SECRET = "open sesame", "hush-hush"
SETTLED = 4.0  # seconds: what stands by is found by then
NO_UDP = replace(SYMMETRIC, outbound=Outbound.NO_UDP)
ONLY_443 = replace(SYMMETRIC, outbound=Outbound.ONLY_TCP_443)
SHORT_TTL = 60
"""Seconds: after half of it another allocation is made with a new one, and 30 s later the old allocation ends."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice and Bob, each behind a NAT, without IPv6; relays; and a STUN server."""

    lab: TunnelLab
    homes: tuple[Router, Router]
    alice: Node
    bob: Node
    stun: str
    relays: tuple[Coturn | Serve, ...]

    @property
    def coturns(self) -> list[Coturn]:
        """Those of the relays that are coturn's."""
        return [relay for relay in self.relays if isinstance(relay, Coturn)]

    def start(self, ours: tuple[str, ...] = (), theirs: tuple[str, ...] = ()) -> Tunnel:
        """Start a tunnel with these options."""
        lab = self.lab
        return lab.introduce(lab.start(self.alice, "share", *ours), lab.start(self.bob, "join", *theirs))

    def beat(self, tunnel: Tunnel, seconds: float) -> list[subprocess.Popen[str]]:
        """Let both ends send a datagram every 10 ms."""
        alice, bob = str(tunnel.share.ipv4), str(tunnel.join.ipv4)
        return [
            self.lab.popen(host, [*TRAFFIC, "beat", own, peer, "5002", f"{seconds:g}"], stdout=subprocess.PIPE)
            for host, own, peer in ((self.alice, alice, bob), (self.bob, bob, alice))
        ]


@dataclass(slots=True)
class Outcome:
    """What a story brought back: what was transferred, silences in milliseconds, and what was told on both sides."""

    sent: str = ""
    arrived: str = ""
    silences: list[int] = field(default_factory=list)
    setup: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    codes: tuple[int, ...] = ()


Story = Callable[[Scene], Outcome]


def transfer(scene: Scene, tunnel: Tunnel) -> Outcome:
    """Ping, send a file through the tunnel, ask for the status, and end it."""
    lab, address = scene.lab, str(tunnel.join.ipv4)
    outcome = Outcome(setup=tunnel.setup)
    outcome.facts["ping"] = lab.can_ping(scene.alice, address, timeout=3)
    receiver = lab.popen(scene.bob, [*TRAFFIC, "receive", address, "5001"], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sender = lab.popen(scene.alice, [*TRAFFIC, "send", address, "5001", str(TRANSFER)], stdout=subprocess.PIPE)
    outcome.sent = sender.communicate(timeout=60)[0]
    outcome.arrived = receiver.communicate(timeout=30)[0]
    return end(scene, tunnel, outcome)


def end(scene: Scene, tunnel: Tunnel, outcome: Outcome) -> Outcome:
    """Ask both sides for their status, end them, and bring back what they told."""
    sides = (tunnel.share, tunnel.join)
    outcome.facts["status"] = [side.status() for side in sides]
    outcome.facts["text"] = [scene.lab.p2ptun(side.host, "status").stdout for side in sides]
    tunnel.share.stop()
    outcome.codes = (tunnel.share.exit_code(), tunnel.join.exit_code())
    outcome.told = [told(side) for side in sides]
    return outcome


def told(side: Program) -> dict[str, Any]:
    """Sum up what a side has told."""
    kinds = ("gathering", "gathered", "relay", "candidate", "path", "peer", "error")
    return {kind: side.find(kind) for kind in kinds}


# Stories of coming up


def one_relay(scene: Scene) -> Outcome:
    """One side has a relay; it lets the other side in by its public address."""
    [relay] = scene.relays
    return transfer(scene, scene.start(relay.options(UDP), ("--stun", scene.stun)))


def two_ends(scene: Scene) -> Outcome:
    """Both sides have a relay, of which either would do."""
    [relay] = scene.relays
    return transfer(scene, scene.start(relay.options(UDP), relay.options(UDP)))


def one_side_without_udp(scene: Scene) -> Outcome:
    """Bob's network lets no UDP out: he reaches the relay over TCP."""
    [relay] = scene.relays
    scene.lab.set_nat(scene.homes[1], NO_UDP)
    return transfer(scene, scene.start(("--stun", scene.stun), relay.options(TCP)))


def only_port_443(scene: Scene) -> Outcome:
    """Neither network lets anything out but TCP to port 443: both reach the relay over TLS there."""
    [relay] = scene.relays
    for home in scene.homes:
        scene.lab.set_nat(home, ONLY_443)
    options = relay.options(UDP, TCP, TLS_443)
    return transfer(scene, scene.start(options, options))


def relayed_paths_only(scene: Scene) -> Outcome:
    """Alice shows her addresses to nobody but the relay, though a direct path would work."""
    [relay] = scene.relays
    tunnel = scene.start((*relay.options(UDP), "--path", "relay", "--stun", scene.stun), ("--stun", scene.stun))
    time.sleep(SETTLED)  # the time in which a direct path would be found
    return end(scene, tunnel, Outcome())


def direct_paths_only(scene: Scene) -> Outcome:
    """Alice wants no relay, though she has one: between these NATs there is nothing else."""
    [relay] = scene.relays
    share = scene.lab.start(scene.alice, "share", *relay.options(UDP), "--path", "direct", "--timeout", "8")
    join = scene.lab.start(scene.bob, "join", "--timeout", "8")
    join.feed(share.expect("offer")["blob"])
    share.feed(join.expect("answer")["blob"])
    codes = (share.exit_code(60), join.exit_code(60))
    return Outcome(codes=codes, told=[told(share), told(join)])


# Stories of relays that refuse


def wrong_password(scene: Scene) -> Outcome:
    """Alice's password is wrong; a direct path works all the same."""
    [relay] = scene.coturns
    wrong = relay.write("wrong", 'username = "alice"\npassword = "sesame, please"')
    options = ("--turn", relay.uri(UDP), "--turn-credentials", str(wrong), "--stun", scene.stun)
    return transfer(scene, scene.start(options, ("--stun", scene.stun)))


def expired_credentials(scene: Scene) -> Outcome:
    """Alice's user name was good until long ago."""
    [relay] = scene.coturns
    made = scene.lab.p2ptun(scene.alice, "genturn", "--label", "alice", stdin=SECRET + "\n").stdout
    now = f"{time.time() - 3600:.0f}"
    old = relay.write("old", "\n".join([f'username = "{now}:alice"', made.splitlines()[1]]))
    options = ("--turn", relay.uri(UDP), "--turn-credentials", str(old), "--stun", scene.stun)
    return transfer(scene, scene.start(options, ("--stun", scene.stun)))


def unknown_certificate(scene: Scene) -> Outcome:
    """Alice doesn't know who signed the relay's certificate."""
    [relay] = scene.coturns
    credentials = ("--turn-credentials", str(relay.credentials))
    options = ("--turn", relay.uri(TLS_443), *credentials, "--stun", scene.stun)
    return transfer(scene, scene.start(options, ("--stun", scene.stun)))


def printed_credentials(scene: Scene) -> Outcome:
    """Alice uses what `p2ptun genturn` has printed, and the relay takes it."""
    [relay] = scene.coturns
    made = scene.lab.p2ptun(scene.alice, "genturn", "--label", "alice", stdin=SECRET + "\n").stdout
    credentials = ("--turn-credentials", str(relay.write("made", made)))
    return transfer(scene, scene.start(("--turn", relay.uri(UDP), *credentials), ("--stun", scene.stun)))


# Stories of relays and paths that go


def restarted_relay(scene: Scene) -> Outcome:
    """The only relay is restarted under traffic, and knows nobody then.

    Bob is on the net, where Alice's new address on the relay can find him; it is never told to him.
    """
    return restarted(scene, scene.start((*scene.relays[0].options(UDP), "--path", "relay")))


def restarted_between_hard_nats(scene: Scene) -> Outcome:
    """The only relay is restarted, and nobody can reach anybody without it: both get their old addresses there."""
    options = scene.relays[0].options(UDP)
    return restarted(scene, scene.start(options, options))


def restarted(scene: Scene, tunnel: Tunnel) -> Outcome:
    """Restart the relay under traffic."""
    [relay] = scene.relays
    beats = scene.beat(tunnel, 20)
    time.sleep(SETTLED)  # the traffic before
    killed_at = time.monotonic()
    relay.kill()
    relay.start()
    down = time.monotonic() - killed_at
    outcome = silent(scene, tunnel, beats)
    outcome.facts["down"] = round(1000 * down)
    return outcome


def killed_relay(scene: Scene) -> Outcome:
    """The relay in use is killed under traffic; there is another."""
    tunnel = scene.start(with_all(scene.coturns), ("--stun", scene.stun))
    beats = scene.beat(tunnel, 20)
    time.sleep(SETTLED)  # the traffic before
    used = tunnel.share.peer()["path"]["server"]
    [relay] = [each for each in scene.coturns if used == f"{each.node.ipv4}:3478"]
    relay.kill()
    outcome = silent(scene, tunnel, beats)
    outcome.facts["killed"] = used
    return outcome


def blackholed_path(scene: Scene) -> Outcome:
    """A direct path dies under traffic, silently; the relay stands by. Then the path heals."""
    [relay] = scene.relays
    tunnel = scene.start((*relay.options(UDP), "--stun", scene.stun), ("--stun", scene.stun))
    wait_until(lambda: tunnel.share.peer()["path"]["kind"] == "direct", 15, "a direct path")
    wait_until(lambda: tunnel.share.peer()["standby_path"], 15, "a standby")
    beats = scene.beat(tunnel, 30)
    time.sleep(SETTLED)  # the traffic before
    facts: dict[str, Any] = {"standby": tunnel.share.peer()["standby_path"]}
    block(scene.lab, *scene.homes)
    cut_at = time.monotonic()
    relayed = max(side.expect_timed("path", 15, kind="relay")[1] for side in (tunnel.share, tunnel.join))
    facts["switch"] = relayed - cut_at
    time.sleep(SETTLED)  # the traffic over the relay
    unblock(scene.lab, *scene.homes)
    healed_at = time.monotonic()
    back = max(side.expect_timed("path", 150, kind="direct")[1] for side in (tunnel.share, tunnel.join))
    facts["back"] = back - healed_at
    outcome = silent(scene, tunnel, beats)
    outcome.facts |= facts
    return outcome


def renewed_credentials(scene: Scene) -> Outcome:
    """The credentials are renewed under traffic."""
    [relay] = scene.coturns
    short = relay.write("short", f'secret = "{SECRET}"\nttl = {SHORT_TTL}')
    tunnel = scene.start(("--turn", relay.uri(UDP), "--turn-credentials", str(short)), ("--stun", scene.stun))
    beats = scene.beat(tunnel, 75)
    return silent(scene, tunnel, beats)


def moved_side(scene: Scene) -> Outcome:
    """Alice takes her machine to the cafe, under traffic. Both sides have an address on the relay."""
    [relay] = scene.relays
    cafe = scene.lab.add_router(f"cafe{scene.alice.name}", SYMMETRIC, ipv6=False)
    uplink = add_uplink(scene.lab, scene.alice, cafe)
    tunnel = scene.start(relay.options(UDP), relay.options(UDP))
    beats = scene.beat(tunnel, 20)
    time.sleep(SETTLED)  # the traffic before
    scene.lab.shell(scene.alice.namespace, "ip link set eth0 down; " + uplink.up(100))
    return silent(scene, tunnel, beats)


def silent(scene: Scene, tunnel: Tunnel, beats: list[subprocess.Popen[str]]) -> Outcome:
    """Wait for the end of the beats, and tell for how long there were none."""
    silences = [int(beat.communicate(timeout=120)[0].split()[1]) for beat in beats]
    return end(scene, tunnel, Outcome(silences=silences))


def with_all(relays: list[Coturn]) -> tuple[str, ...]:
    """Write the options for several relays with the same credentials."""
    named = [word for relay in relays for word in ("--turn", relay.uri(UDP))]
    return (*named, "--turn-credentials", str(relays[0].credentials))


PLAIN: Mapping[str, Story] = {
    "one relay": one_relay,
    "a relay at both ends": two_ends,
    "no UDP at one end": one_side_without_udp,
    "only TCP 443 at both ends": only_port_443,
    "direct only": direct_paths_only,
    "restarted relay": restarted_relay,
    "moved side": moved_side,
}
BETWEEN_FRIENDLY_NATS: Mapping[str, Story] = {
    "blackholed path": blackholed_path,
    "relay only": relayed_paths_only,
    "wrong password": wrong_password,
    "unknown certificate": unknown_certificate,
}
WITH_A_SECRET: Mapping[str, Story] = {
    "renewed credentials": renewed_credentials,
    "expired credentials": expired_credentials,
    "printed credentials": printed_credentials,
}
OVER_OURS: Mapping[str, Story] = {
    "one relay of ours": one_relay,
    "only TCP 443 to ours": only_port_443,
    "restarted relay of ours": restarted_relay,
    "restarted relay of ours between hard NATs": restarted_between_hard_nats,
    "moved side with ours": moved_side,
}
"""The relay is `p2ptun serve`."""

WITH_TWO: Mapping[str, Story] = {"killed relay": killed_relay}
ON_THE_NET = {"restarted relay", "restarted relay of ours"}
STORIES: Mapping[str, Story] = {**WITH_A_SECRET, **BETWEEN_FRIENDLY_NATS, **WITH_TWO, **OVER_OURS, **PLAIN}
"""The longest begin first, so that none is left alone at the end."""


def build_scene(lab: TunnelLab, number: int, name: str, stun: str, scratch: Path) -> Scene:
    """Build the scene for one story."""
    nat = LINUX if name in BETWEEN_FRIENDLY_NATS or name == "expired credentials" else SYMMETRIC
    homes = [lab.add_router(f"{home}{number}", nat, ipv6=False) for home in ("home", "office")]
    alice = lab.add_host(f"alice{number}", homes[0])
    bob = lab.add_host(f"bob{number}", None if name in ON_THE_NET else homes[1], ipv6=False)
    relays = build_relays(lab, number, name, scratch)
    return Scene(lab, (homes[0], homes[1]), alice, bob, stun, relays)


def build_relays(lab: TunnelLab, number: int, name: str, scratch: Path) -> tuple[Coturn | Serve, ...]:
    """Start the relays for one story."""
    nodes = [lab.add_server(f"relay{number}-{n}", ipv6=False) for n in range(2 if name in WITH_TWO else 1)]
    if name in OVER_OURS:
        return tuple(lab.start_serve(node) for node in nodes)
    secrets = {"secret": SECRET} if name in WITH_A_SECRET else {"password": PASSWORD}
    relays = tuple(Coturn(lab, node, scratch, **secrets) for node in nodes)
    for relay in relays:
        relay.start()
    return relays
