"""The ICE agent: finds a path to one peer and watches over it, without touching a socket or a clock.

An owner uses it so, besides the five doors of every machine (`p2ptun.types.Machine`):

1. `add_local_address` for each bound socket, `add_stun_server` for each server, then `end_of_servers`. Tell the peer
   `local_credentials` and every `CandidateGathered`; after `GatheringCompleted` that there are no more.
2. `set_remote_credentials`, `add_remote_candidate`, `end_of_remote_candidates`, in any order, as the peer tells them.
3. `record_sent` and `record_authenticated` for tunnel traffic, `record_send_error` for what the kernel refused,
   `request_consent` when a packet waits because `may_send(now)` is False; CONNECTED ends the wait.
4. `restart` when the network has changed or the machine was asleep. After `Restarted` tell the peer the new
   `local_credentials` and all candidates. Where both sides have told each other `next_credentials`
   (`set_next_remote_credentials`) that isn't needed, and the agent restarts by itself when a path goes silent.

Data may flow as soon as `PairSelected` came and while `may_send(now)`. CONNECTED, IDLE and SUSPECT tell how the
selected path fares; CHECKING after them that it is lost and another is looked for. FAILED lasts until `restart`.
"""

from __future__ import annotations

import logging
from collections import Counter, deque

from p2ptun.deadlines import earliest
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.check import read_binding
from p2ptun.ice.config import AgentConfig, RemoteOptions
from p2ptun.ice.connection import Connection, Timer
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import (
    AgentState,
    DropReason,
    Event,
    PairSelected,
    RestartReason,
)
from p2ptun.ice.gatherer import Gatherer
from p2ptun.ice.hard_nat import HardNat
from p2ptun.ice.lineage import Lineage
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.pair import SEND_PROBLEMS, PairSnapshot, is_fatal
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.scope import destination_from, is_refused
from p2ptun.stun.message import Message
from p2ptun.types import Endpoint, IPAddress, IPNetwork, RandomBytes, SendError, Transmit

logger = logging.getLogger(__name__)


class Agent:
    """One side of ICE, towards one peer. `is_checked` tells that the peer checks us: it knows us by now."""

    def __init__(
        self,
        config: AgentConfig,
        credentials: Credentials,
        role: Role,
        tie_breaker: int,
        random_bytes: RandomBytes,
        pacer: Pacer | None = None,
    ) -> None:
        """Begin as `role`; a `pacer` is shared by all agents of one machine (RFC 8445 14.2)."""
        pacer = pacer or Pacer()
        self.drops: Counter[DropReason] = Counter()
        self.is_checked = False
        self._config = config
        self._refused = config.refused_networks
        self._stance = Stance(role, tie_breaker)
        self._events: deque[Event] = deque()
        self._gatherer = Gatherer(config, credentials, random_bytes, pacer, self._events)
        self._local = self._gatherer.candidates
        self._lineage = Lineage(config, credentials, self._stance, self._local, random_bytes, pacer)
        hard_nat = HardNat(config, self._stance, self._gatherer, self._lineage, random_bytes, pacer, self._events)
        self._connection = Connection(config, self._stance, self._lineage, hard_nat, random_bytes, self._events)

    @property
    def state(self) -> AgentState:
        """Where it stands."""
        return self._connection.state

    @property
    def role(self) -> Role:
        """Our role now."""
        return self._stance.role

    @property
    def generation(self) -> int:
        """How many restarts there were."""
        return self._lineage.newest.local.generation

    @property
    def local_credentials(self) -> Credentials:
        """What the peer needs in order to check us."""
        return self._lineage.newest.local

    @property
    def next_credentials(self) -> Credentials:
        """What the peer will need after our next restart: to be told sealed only."""
        return self._lineage.next_local

    @property
    def remote_credentials(self) -> Credentials | None:
        """What the peer told for this generation; None until it did."""
        return self._lineage.newest.remote

    @property
    def local_ufrags(self) -> tuple[str, ...]:
        """Every user name fragment by which the peer may call us: of this, the last and the next generation."""
        return self._lineage.local_ufrags

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """What to tell the peer."""
        return tuple(self._local)

    @property
    def public_addresses(self) -> frozenset[IPAddress]:
        """Addresses of ours that servers see as they are."""
        return self._gatherer.public_addresses

    @property
    def nat_hint(self) -> NatHint:
        """What to tell the peer of the NAT before us; it gets better as servers answer."""
        return self._connection.hard_nat.hint

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """What the peer told, and what its checks came from."""
        return tuple(self._lineage.newest.remote_candidates)

    @property
    def pairs(self) -> tuple[PairSnapshot, ...]:
        """The check list, highest priority first."""
        return tuple(pair.snapshot() for pair in self._lineage.newest.checklist.pairs)

    @property
    def selected(self) -> PairSelected | None:
        """The path that carries data; None while there is none."""
        return self._connection.path.selected

    @property
    def standby(self) -> PairSelected | None:
        """The path that takes over when the selected one goes silent; None while there is none."""
        return self._connection.path.standby

    @property
    def checks(self) -> tuple[int, int]:
        """How many pairs have a result, and how many there are."""
        return self._lineage.newest.checklist.progress

    @property
    def bindings(self) -> tuple[int, int]:
        """How many questions to STUN servers have a result, and how many were asked."""
        return self._gatherer.bindings.progress

    def may_send(self, now: float) -> bool:
        """Tell whether data may go out on the selected pair now (RFC 7675 5.1)."""
        return self._connection.path.may_send(now)

    def add_local_address(self, base: Endpoint, now: float, tcp_type: TcpType | None = None) -> None:
        """Make the host candidate of a socket and ask the servers from it. Harmless when it is known.

        `tcp_type` says what a TCP base is for: the discard port means active, any other one passive unless it says so.
        """
        self._pair(self._gatherer.add_socket(base, tcp_type, now), now)

    def add_relayed_address(self, relayed: Endpoint, server: Endpoint, mapped: Endpoint | None, now: float) -> None:
        """Make the candidate of an address that `server` relays for us, which sees us as `mapped`.

        It is a base like any other (RFC 8445 5.1.1.2): source of what is to be relayed, local end of what was.
        """
        self._pair(self._gatherer.add_relayed(relayed, server, mapped), now)

    def add_spare_address(self, base: Endpoint, now: float) -> None:
        """Take a socket that `SparesWanted` asked for; `SparesReleased` comes when it is of no use."""
        self._connection.hard_nat.add_spare(base, now)
        self._settle(now)

    def remove_local_address(self, base: Endpoint, now: float) -> None:
        """Forget a base, socket or relayed, with its candidates and pairs, at once. Harmless when it isn't known."""
        if self._gatherer.remove_base(base):
            self._connection.lose_base(base)
            self._connection.be_patient(now)
            self._settle(now)

    def add_mapped_address(self, base: Endpoint, external: Endpoint, gateway: Endpoint, now: float) -> None:
        """Know that `gateway` forwards `external` to a socket, as it was asked to (RFC 6886, RFC 6887)."""
        self._gatherer.add_mapping(base, external, gateway)
        self._settle(now)

    def remove_mapped_address(self, base: Endpoint, gateway: Endpoint, now: float) -> None:
        """Know that it forwards nothing to that socket any more."""
        self._gatherer.remove_mapping(base, gateway)
        self._settle(now)

    def add_stun_server(self, server: Endpoint, now: float) -> None:
        """Ask one more server from every socket."""
        self._gatherer.bindings.add_server(server, now)
        self._settle(now)

    def end_of_servers(self, now: float) -> None:
        """Know that no more servers come: gathering is complete when all have answered or were given up."""
        self._gatherer.bindings.end_of_servers()
        self._settle(now)

    def refuse_networks(self, networks: tuple[IPNetwork, ...]) -> None:
        """Refuse remote candidates inside these from now on, besides those of the config: they lie in a tunnel."""
        self._refused = tuple(dict.fromkeys((*self._config.refused_networks, *networks)))
        self._lineage.refuse(self._refused)

    def set_remote_options(self, options: RemoteOptions, now: float) -> None:
        """Know what the peer is capable of. Towards a lite one we are controlling (RFC 8445 6.1.1)."""
        self._connection.options = options
        self._connection.hard_nat.remote = options.nat
        if options.is_lite and self.role is Role.CONTROLLED:
            self._lineage.switch_role()
        self._settle(now)

    def set_remote_credentials(self, credentials: Credentials, now: float) -> None:
        """Begin to check. Credentials that are new after others were known say that the peer has restarted.

        So we restart too, if we haven't yet (RFC 8445 9); those of a generation that is over are ignored.
        """
        newest = self._lineage.newest
        if newest.remote is not None and not self._lineage.is_stale(credentials):
            self._connection.restart(RestartReason.PEER, now)
        if self._lineage.newest.remote is None and not self._lineage.is_stale(credentials):
            for reason in self._lineage.newest.set_remote_credentials(credentials):
                self._drop(reason)
            self._connection.be_patient(now)
        self._settle(now)

    def set_next_remote_credentials(self, credentials: Credentials, now: float) -> None:
        """Know with which credentials to check after the next restart. Begins to check if that is what we wait for."""
        if not self._lineage.is_stale(credentials):
            self._lineage.prepare(credentials)
            self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take in a candidate from signalling. One that is refused is counted in `drops`."""
        reason = self._lineage.add_remote_candidate(candidate)
        if reason is None:
            self._connection.be_patient(now)
            self._settle(now)
        else:
            self._drop(reason)

    def remove_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Forget a candidate that the peer has withdrawn; a valid pair stays for as long as it answers."""
        self._lineage.newest.remove_remote_candidate(candidate)
        self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """Know that the peer has no more candidates in this generation (RFC 8838 14)."""
        self._lineage.newest.has_all_remote = True
        self._settle(now)

    def restart(self, now: float, reason: RestartReason = RestartReason.REQUESTED) -> None:
        """Begin a new generation; the old one carries data until the new one can (RFC 8445 9).

        One that has just begun is hastened instead, and one too many waits: a flapping network restarts once a second.
        """
        if self._connection.restart(reason, now):
            self._gatherer.renew(now)
        self._settle(now)

    def record_sent(self, now: float) -> None:
        """Note that tunnel traffic went out on the selected pair: an answer of some kind is expected."""
        self._connection.path.record_sent(now)
        if self.state is not AgentState.CONNECTED:
            self._settle(now)

    def record_authenticated(self, now: float) -> None:
        """Note that an authentic tunnel packet came in on the selected pair: it is alive."""
        self._connection.path.record_authenticated(now)
        if self.state is not AgentState.CONNECTED:
            self._settle(now)

    def vouch(self, base: Endpoint, source: Endpoint, now: float) -> None:
        """Note that an authentic tunnel packet came from `source` to `base`, another pair: the true peer is there."""
        for pair in self._lineage.find(base, source):
            pair.is_vouched = True
        self._settle(now)

    def request_consent(self, now: float) -> None:
        """Ask for consent at once, because a packet waits for it; look for a lost peer at once, too."""
        self._connection.request_consent(now)
        self._settle(now)

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        """Note what the kernel said about a datagram from `base` to `remote`. It concerns this pair only.

        No route and a local firewall end a running check; a valid pair becomes suspect. The rest are hints, but over
        TCP, where any of them is the end of the connection: a passive base can't open another.
        """
        problem = SEND_PROBLEMS[error]
        if problem is None:
            return
        if is_fatal(problem, base):
            self._gatherer.bindings.record_send_error(base, remote, now)
        self._connection.blame(base, remote, problem, now)
        self._settle(now)

    def close(self, now: float) -> None:
        """Stop: nothing is sent or answered any more."""
        self._connection.close()

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take in a datagram that came from `source` to the socket bound to `local`. Never raises."""
        reason = self._receive(data, source, local, now)
        if reason is None:
            self._settle(now)
        else:
            self._drop(reason)

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due."""
        if self._connection.is_over:
            return
        self._gatherer.bindings.handle_timeout(now)
        self._connection.handle_timeout(now)
        self._settle(now)

    def next_transmit(self) -> Transmit | None:
        """Give a datagram to send."""
        if self._connection.is_over:
            return None
        ours = self._lineage.next_transmit() or self._gatherer.bindings.next_transmit()
        return ours or self._connection.hard_nat.next_transmit()

    def next_event(self) -> Event | None:
        """Give what happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        if self._connection.is_over:
            return None
        times = (self._connection.next_timeout(), self._gatherer.bindings.next_timeout())
        return earliest(times)

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` waits for."""
        if self._connection.is_over:
            return None
        times = {**self._connection.timeouts(), Timer.GATHERING: self._gatherer.bindings.next_timeout()}
        known = {timer: at for timer, at in times.items() if at is not None}
        return min(known, key=known.__getitem__, default=None)

    def _receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        """Sort a datagram to where it belongs; give the reason when it belongs nowhere."""
        if self._connection.is_over:
            return DropReason.CLOSED
        if self._local.at(local) is None:
            return DropReason.UNKNOWN_SOCKET
        peer = destination_from(local, source)
        if peer is None:
            return DropReason.REFUSED_SOURCE
        message = read_binding(data)
        if isinstance(message, DropReason):
            return message
        if not message.is_response:
            return self._receive_request(message, peer, local, now)
        receiver = self._gatherer.bindings if self._gatherer.bindings.has_asked(message) else self._lineage
        return receiver.receive_response(message, peer, local, now)

    def _receive_request(self, request: Message, peer: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        if is_refused(peer, self._refused):
            return DropReason.REFUSED_SOURCE
        if self._lineage.announces_restart(request, now):
            self._connection.restart(RestartReason.PEER, now)
        reason = self._lineage.receive_request(request, peer, local)
        self.is_checked |= reason is None
        return reason

    def _pair(self, candidate: Candidate | None, now: float) -> None:
        """Make pairs of a new base, if there is one."""
        if candidate is None:
            return
        for generation in self._lineage.active:
            generation.add_local_candidate(candidate)
        self._connection.be_patient(now)
        self._settle(now)

    def _drop(self, reason: DropReason) -> None:
        self.drops[reason] += 1
        logger.debug("dropped: %s", reason.value)

    def _settle(self, now: float) -> None:
        if self._connection.is_over:
            return
        self._gatherer.collect()
        may_grow = not (self._gatherer.is_complete and self._lineage.newest.has_all_remote)
        self._connection.settle(may_grow, now)
        self._gatherer.follow(self.generation, now)
        if self._lineage.is_settled:
            self._gatherer.bindings.rest()
