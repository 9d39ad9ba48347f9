"""Nodes in random networks to which random things happen, and what must hold whatever happens.

The model knows when a path exists *without new signalling*: until issue 4 brings a rendezvous, two sides learn of each
other's new addresses through the tunnel only. So there is one

* where one side is an anchor: its address, as the other side was told it, still is its own and lets strangers in; or
* where neither side's addresses have changed since the two last talked, theory lets their networks meet, and one of
  them maps independently. (The mapped address of any other was made for a STUN server, which nobody asks any more.)

* or where a relay serves one side, which has still the relayed address that it told, over the binding that it told it
  with. The other side needs a relayed address of its own on a server where it had one when they talked, or the public
  address of then: those the first relay lets in. (It judges addresses, not ports: RFC 8656 9.)

What the servers hold is read from them. Direct paths may be cut off for long times: then relays alone count.

An address has changed when its machine moved, when a NAT that chooses ports by itself was rebooted or was left without
a packet for as long as its bindings live (a machine asleep, or its link down). It is told when packets have flowed both
ways, undisturbed, for `TOLD` seconds. More may work than the model says (a moving side that the other one's filter
still lets in); nothing less may.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.role import Role
from p2ptun.node.peer import Peer
from p2ptun.relay.config import Limits
from p2ptun.types import Endpoint, Transmit

from .meeting import LATENCY, SERVERS
from .nat import LIFETIME, Behaviour, Gateway, Nat, Ports
from .network import Network, at
from .node import description_of, ip_packet
from .relay import RelayServer
from .site import BLOCKED, FULL_CONE, PUBLIC, SITES, Site, expected_way
from .watched import WatchedHost

BOUND = 30.0
"""Seconds from the moment at which a path exists until packets flow.

20 s until the next check at the latest (`AgentConfig.retry_interval`), and 10 s for the checks themselves, for new keys
and for one try at them that got lost.
"""

TOLD = 5.0  # seconds of undisturbed traffic after which each side knows all addresses of the other
CHECKS_PER_SECOND, CHECKS_AT_ONCE = 200, 100
"""What one machine may send, repetitions included: RFC 8445 14.2 lets 200 new checks begin in a second."""

RELAYS = ("203.0.113.11", "203.0.113.12")
INFRASTRUCTURE = (*SERVERS, *(f"{relay}:3478" for relay in RELAYS))
MAX_ALLOCATIONS = 64
"""How many a server may hold: those of machines that vanished in the last ten minutes among them."""

SEARCHING = 0.3  # part of the worlds in which ports are searched for: they take ten times as long
LIMITS = Limits(user_allocations=4 * MAX_ALLOCATIONS)
LONGEST_LIFETIME = 3600.0  # seconds, of an allocation whose client is gone

TICK = 0.5  # seconds between two packets of everybody to everybody
OPEN_SITES = [PUBLIC, FULL_CONE]  # where the first machine begins, so that all can meet it
USUAL_SITES = [site for site in SITES if site is not BLOCKED]  # TCP has patience of its own: see test_nat_table


@dataclass(frozen=True, slots=True)
class Known:
    """What one side knows of another."""

    epoch: int
    moves: int
    relayed: frozenset[Endpoint]


@dataclass(eq=False)
class Machine:
    """One machine: where it is, and what the model knows of that.

    Attributes:
        relays: The servers that it uses.
        epoch: How often its addresses have changed.
        moves: How often its public IP address has.
    """

    number: int
    host: WatchedHost
    site: Site
    address: str
    gateways: list[Gateway]
    relays: list[RelayServer]
    epoch: int = 0
    moves: int = 0
    is_asleep: bool = False
    silent_since: float | None = None
    got: set[tuple[str, bytes]] = field(default_factory=set)
    looked: int = 0
    counted: int = 0
    counted_at: float = 0.0

    @property
    def ip(self) -> str:
        """Its address in the tunnels."""
        return f"10.77.0.{self.number}"

    @property
    def keeps_ports(self) -> bool:
        """Whether its public address is the same after its NATs have forgotten everything."""
        return self.site.ports is Ports.PRESERVED or not any(isinstance(each, Nat) for each in self.gateways)

    @property
    def lets_strangers_in(self) -> bool:
        """Whether it can be reached at its told address by whoever has never heard of it."""
        return self.site.seen_filtering is self.site.seen_mapping is Behaviour.ENDPOINT_INDEPENDENT

    @property
    def relayed(self) -> frozenset[Endpoint]:
        """Its relayed addresses that a server holds for it."""
        held = {address for relay in self.relays for address in relay.relayed}
        return frozenset(address for address in held if self.host.node.relays.owns(address))

    @property
    def known(self) -> Known:
        """What can be told of it now."""
        return Known(self.epoch, self.moves, self.relayed)

    def begin_silence(self, now: float) -> None:
        """Know that nothing goes out any more."""
        if self.silent_since is None:
            self.silent_since = now

    def end_silence(self, now: float) -> None:
        """Know that it does again; NATs may have forgotten it meanwhile."""
        if self.silent_since is not None and now - self.silent_since > LIFETIME / 2 and not self.keeps_ports:
            self.epoch += 1
        self.silent_since = None


class Model:
    """Some machines, tunnels between all that can meet, and the truth about them."""

    def __init__(self, seed: int, size: int = 3) -> None:
        self.chance = random.Random(seed)
        self.network = Network(seed, latency=LATENCY)
        self.network.has_log = False
        self.steps = 0
        self.history: list[str] = []
        self.told: dict[tuple[Machine, Machine], tuple[Known, Known]] = {}
        self.is_cut = False
        self.is_direct_cut = False
        self._places = 0
        self._number = 0
        self.network.is_cut = self._swallows
        for server in SERVERS:
            self.network.add_stun_server(server)
        addresses = RELAYS[: self.chance.choice([0, 1, 1, 2, 2, 2, 2])]
        self.relays = [RelayServer(self.network, address, limits=LIMITS) for address in addresses]
        self.config = AgentConfig(hard_nat=self.chance.random() < SEARCHING)
        self.machines = [self._boot(number) for number in range(1, size + 1)]
        pairs = combinations(self.machines, 2)
        self.pairs = [(left, right) for left, right in pairs if _can_begin(left, right)]
        self.network.run(1.0)
        for left, right in self.pairs:
            self._introduce(left, right)

    # What holds

    def has_path(self, left: Machine, right: Machine) -> bool:
        """Tell whether the two can meet now with what they know."""
        told = self.told.get((left, right))
        if told is None or left.is_asleep or right.is_asleep:
            return False
        if _is_relayed(left, right, *told) or _is_relayed(right, left, *reversed(told)):
            return True
        is_left_same, is_right_same = left.epoch == told[0].epoch, right.epoch == told[1].epoch
        if self.is_direct_cut:
            return False
        if (is_left_same and left.lets_strangers_in) or (is_right_same and right.lets_strangers_in):
            return True
        has_lasting_address = Behaviour.ENDPOINT_INDEPENDENT in (left.site.seen_mapping, right.site.seen_mapping)
        can_meet = has_lasting_address and expected_way(left.site, right.site) is not None
        return is_left_same and is_right_same and can_meet

    def note(self, event: str) -> None:
        """Remember what happened, for whoever reads a failure."""
        self.steps += 1
        self.history.append(f"{self.network.now:.2f} {event}")

    def talk(self, seconds: float) -> None:
        """Let everybody that is awake send to everybody, once a tick."""
        end = self.network.now + seconds
        while self.network.now < end - 1e-9:
            self._say()
            self.network.run(min(TICK, end - self.network.now))
            self.look()

    def rest(self, seconds: float) -> None:
        """Let nobody say anything."""
        self.network.run(seconds)
        self.look()

    def look(self) -> None:
        """Hold everything against the invariants."""
        self.steps += 1
        for machine in self.machines:
            for packet in machine.host.received[machine.looked :]:
                self._look_at(machine, packet)
            machine.looked = len(machine.host.received)
            self._look_at_checks(machine)
            for peer in machine.host.node.peers:
                self._look_at_size(peer)
        for relay in self.relays:
            assert len(relay.relayed) <= MAX_ALLOCATIONS, f"seed {self.network.seed}: {relay.relayed}"

    def reconnect(self) -> None:
        """Let every pair that has a path talk again within the bound; then everybody has told where he is."""
        self.network.run(0.0)
        wanted = [pair for pair in self.pairs if self.has_path(*pair)]
        began_at, before = self.network.now, self._number
        missing = list(wanted)
        while missing and self.network.now < began_at + BOUND:
            self.talk(TICK)
            missing = [pair for pair in wanted if not self._talks(*pair, since=before)]
        missing = [pair for pair in missing if self.has_path(*pair)]  # a relay may have been given up meanwhile
        assert not missing, self.describe(missing)
        relayed = {machine: machine.relayed for machine in self.machines}
        self.talk(TOLD + 2 * TICK)
        since = self._number - int(TOLD / TICK)
        for left, right in self.pairs:
            if self._talks(left, right, since=since):
                both = (replace(each.known, relayed=each.relayed & relayed[each]) for each in (left, right))
                self.told[left, right] = next(both), next(both)

    def describe(self, missing: list[tuple[Machine, Machine]]) -> str:
        """Say what led to a failure."""
        lines = [f"seed {self.network.seed}: no traffic after {BOUND:.0f} s though there is a path"]
        for left, right in missing:
            for here, there in ((left, right), (right, left)):
                peer = here.host.peer(there.host.name)
                lines.append(
                    f"{here.host.name} ({here.site}, epoch {here.epoch}) to {there.host.name}: {peer.state.value}, "
                    f"{peer.reason}, generation {peer.agent.generation}, {peer.path}, checks {peer.agent.checks}, "
                    f"pairs {[(str(each.base), str(each.destination), each.state.value) for each in peer.agent.pairs]}"
                )
        return "\n".join([*lines, f"lost {dict(self.network.lost)}", *self.history[-25:]])

    # Places

    def settle_down(self, sites: list[Site]) -> tuple[Site, str, list[Gateway]]:
        """Build a new place of one of these kinds; give its address and gateways."""
        self._places += 1
        site = self.chance.choice(sites)
        before = list(self.network.gateways)
        address = site.build(self.network, self._places)
        return site, address, [each for each in self.network.gateways if each not in before]

    def _boot(self, number: int) -> Machine:
        site, address, gateways = self.settle_down(OPEN_SITES if number == 1 else USUAL_SITES)
        host = WatchedHost(self.network, f"m{number}", f"{address}:{5000 + number}", config=self.config)
        for server in SERVERS:
            host.node.add_stun_server(at(server), host.now)
        relays = [relay for relay in self.relays if self.chance.random() < 0.8]
        for relay in relays:
            host.use_relay(relay)
        host.node.end_of_servers(host.now)
        return Machine(number, host, site, address, gateways, relays)

    def _introduce(self, left: Machine, right: Machine) -> None:
        to_right = left.host.add_peer(right.host.name, Role.CONTROLLING)
        to_left = right.host.add_peer(left.host.name, Role.CONTROLLED)
        self.network.run(1.0)
        offer, answer = description_of(to_right), description_of(to_left)
        right.host.learn(left.host.name, left.host, offer, [f"{left.ip}/32"])
        left.host.learn(right.host.name, right.host, answer, [f"{right.ip}/32"])
        self.told[left, right] = left.known, right.known

    def _swallows(self, packet: Transmit) -> bool:
        """Tell whether the network loses a datagram, of everybody or of those that need no relay."""
        if not self.is_direct_cut:
            return self.is_cut
        ends = (packet.source.address, packet.destination.address)
        return self.is_cut or not any(at(server).address in ends for server in INFRASTRUCTURE)

    # Traffic

    def _say(self) -> None:
        self._number += 1
        for left, right in self.pairs:
            for here, there in ((left, right), (right, left)):
                if not here.is_asleep:
                    here.host.send(ip_packet(here.ip, there.ip, self._number.to_bytes(8, "big")))

    def _look_at(self, machine: Machine, packet: bytes) -> None:
        source, destination = (".".join(str(byte) for byte in packet[at : at + 4]) for at in (12, 16))
        assert destination == machine.ip, f"seed {self.network.seed}: {machine.host.name} got a packet to {destination}"
        is_new = (source, packet) not in machine.got
        assert is_new, f"seed {self.network.seed}: {machine.host.name} got a packet of {source} twice"
        machine.got.add((source, packet))

    def _look_at_checks(self, machine: Machine) -> None:
        """Hold a machine to the pace of its checks: two agents that never find rest must not flood the network."""
        checks, now = self.network.counts[machine.host].checks, self.network.now
        most = CHECKS_AT_ONCE + CHECKS_PER_SECOND * (now - machine.counted_at)
        sent, machine.counted, machine.counted_at = checks - machine.counted, checks, now
        assert sent < most, f"seed {self.network.seed}: {machine.host.name} sent {sent} checks by {now:.2f}"

    def _talks(self, left: Machine, right: Machine, since: int) -> bool:
        """Tell whether each side got a packet that was sent after number `since`."""
        return all(
            any(
                (here.ip, ip_packet(here.ip, there.ip, number.to_bytes(8, "big"))) in there.got
                for number in range(since + 1, self._number + 1)
            )
            for here, there in ((left, right), (right, left))
        )

    def _look_at_size(self, peer: Peer) -> None:
        config = AgentConfig()
        assert len(peer.agent.pairs) <= config.max_pairs
        told, learnt, own = 32, 32, config.max_candidates
        assert len(peer.agent.remote_candidates) <= told + learnt
        assert len(peer.agent.local_candidates) <= own * (1 + len(SERVERS))

    def end(self) -> None:
        """Close everything: servers get back at once what is in use, and lose in time what somebody left behind."""
        self.rest(60.0)  # by then everybody has noticed what a rebooted NAT has done to an allocation
        used = frozenset[Endpoint]().union(*(machine.relayed for machine in self.machines))
        for machine in self.machines:
            machine.host.node.close(machine.host.now)
        self.network.run(5.0)
        for relay in self.relays:
            assert not relay.relayed & used, f"seed {self.network.seed}: {relay.relayed & used} wasn't given back"
        self.network.run(LONGEST_LIFETIME + 60.0)
        for relay in self.relays:
            assert not relay.relayed, f"seed {self.network.seed}: {relay} still relays from {relay.relayed}"
            assert relay.core is None or relay.core.allocation_count == 0
        for machine in self.machines:
            assert not machine.host.ordered.tokens
            assert not machine.host.ordered.spares

    def counts(self) -> Counter[str]:
        """Sum up what was sent."""
        counts = [self.network.counts[machine.host] for machine in self.machines]
        return Counter(datagrams=sum(each.datagrams for each in counts), checks=sum(each.checks for each in counts))


def _can_begin(left: Machine, right: Machine) -> bool:
    """Tell whether two machines meet at first."""
    return expected_way(left.site, right.site) is not None or bool(left.relays or right.relays)


def _is_relayed(left: Machine, right: Machine, here: Known, there: Known) -> bool:
    """Tell whether a relay of the left one brings the right one's datagrams."""
    if left.epoch != here.epoch or not (left.relayed & here.relayed):
        return False
    known = {address.address for address in there.relayed}
    return right.moves == there.moves or any(address.address in known for address in right.relayed)
