"""Begins, replaces and ends allocations: what `Pool` does behind its doors, but for the hot path."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from p2ptun.stun.error import Code
from p2ptun.turn.allocation import Ended, Failed, Grant, Redirected, Refused
from p2ptun.turn.client import Client
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import (
    CredentialWanted,
    DataReceived,
    DropReason,
    Event,
    LossReason,
    PeerRefused,
    Problem,
    RelayGained,
    RelayLost,
)
from p2ptun.turn.host import CREDENTIAL_PROBLEMS, Goal, Host, rank
from p2ptun.turn.lease import FORGIVEN_REFUSALS, MAX_FRESH_PORTS, PROBLEMS, Lease, Stage
from p2ptun.turn.server import Server
from p2ptun.turn.sockets import Sockets, is_stream
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit

RESOLUTION_DELAY: Final = 0.05  # seconds, RFC 8305 3: what comes first from DNS needn't be the best

_REASONS = {int(code): code.reason for code in Code}


class Broker:
    """All hosts and all leases.

    Attributes:
        leases: By token.
        relays: The same by relayed address.
        peers: Who is let in by every allocation.
        own: Where sockets of ours are bound: what leaves from there is never led to a server, whatever that says.
        farewells: What sockets that are about to be closed still have to send.
    """

    def __init__(self, random_bytes: RandomBytes, config: PoolConfig, drops: Counter[DropReason]) -> None:
        self.hosts: dict[str, Host] = {}
        self.leases: dict[Endpoint, Lease] = {}
        self.relays: dict[Endpoint, Lease] = {}
        self.peers: dict[Endpoint, None] = {}
        self.own: set[Endpoint] = set()
        self.sockets = Sockets()
        self.farewells: deque[Transmit] = deque()
        self.events: deque[Event] = deque()
        self._random_bytes = random_bytes
        self._config = config
        self._drops = drops
        self._stagger_at = float("-inf")
        self._held_until = float("-inf")

    # Getters

    @property
    def is_enough(self) -> bool:
        """Whether as many servers serve as shall."""
        return self._count_serving() >= min(self._config.max_allocations, len(self.hosts))

    def serving(self, host: Host) -> Lease | None:
        """Give the lease by which a host serves."""
        return next((lease for lease in self._leases_of(host) if lease.stage is Stage.SERVING), None)

    def origin(self, host: Host) -> Server | None:
        """Give the address of the host that serves."""
        lease = self.serving(host)
        return lease.origin if lease else None

    # Commands

    def hold(self, now: float) -> None:
        """Let the first attempt wait a moment: a server of a better transport may be named yet."""
        self._held_until = now + RESOLUTION_DELAY

    def go(self) -> None:
        """Wait for nobody any longer."""
        self._held_until = float("-inf")

    def renew(self, host: Host, now: float) -> None:
        """Replace what serves, or try anew: the credential has changed, and attempts with the old one are void."""
        host.renew()
        self._give_up_trying(host, now)

    def restart(self, now: float) -> None:
        """Begin anew with everything."""
        for lease in list(self.leases.values()):
            self.end(lease, LossReason.NETWORK_CHANGED, now)
        for host in self.hosts.values():
            host.restart()
        self._stagger_at = now

    def end(self, lease: Lease, reason: LossReason, now: float) -> None:
        """Give an allocation back."""
        self._dismiss(lease, now)
        self._report_loss(lease, reason)

    def occupy(self, base: Endpoint, now: float) -> None:
        """Know that a socket of ours is bound there; a relay that said so before is believed no more."""
        self.own.add(base)
        lease = self.relays.get(base)
        if lease is not None:
            self._dismiss(lease, now)
            self._lose(lease, LossReason.TAKEN, now)

    # Inputs

    def record_error(self, lease: Lease, error: SendError, now: float) -> None:
        """Take in an error that concerns the way to a server.

        For a stream it is the end, and for an attempt; an allocation over UDP is worth a question to the server. One
        ICMP error is forgiven even to an attempt, but others needn't wait for it any longer.
        """
        is_datagram = not is_stream(lease.client.token)
        if lease.stage is not Stage.TRYING:
            if is_datagram and error is not SendError.SOURCE_GONE:
                if lease.take_hint(now):
                    lease.client.probe(now)
            else:
                self._release(lease)
                self._lose(lease, LossReason.CONNECTION_LOST, now)
        elif is_datagram and error is SendError.REFUSED and lease.refusals < FORGIVEN_REFUSALS:
            lease.refusals += 1
            self._stagger_at = now
        else:
            self._release(lease)
            self._fail(lease, PROBLEMS.get(error, Problem.UNREACHABLE), None, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for lease in list(self.leases.values()):
            lease.client.handle_timeout(now)
            if lease.stage_ends_at is not None and lease.stage_ends_at <= now:
                self._retire(lease, now)

    def advance(self, now: float) -> None:
        """Draw the conclusions from whatever happened: the last thing that every door does."""
        for lease in list(self.leases.values()):
            self._collect(lease, now)
        for host in self.hosts.values():
            self._plan(host, now)
        next_host = self._next_host()
        if next_host is not None and self._next_start <= now:
            self._start(next_host, next_host.untried.pop(0), now)
            self._stagger_at = now + self._config.stagger

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give a message to send. What is for a socket that isn't open yet waits."""
        if self.farewells:
            return self.farewells.popleft()
        for token, lease in self.leases.items():
            transmit = lease.client.next_transmit() if self.sockets.is_open(token) else None
            if transmit is not None:
                return transmit
        return None

    def timers(self) -> Iterator[tuple[float | None, str]]:
        """Give all that is waited for, with a name."""
        for lease in self.leases.values():
            yield lease.client.next_timeout(), "relay request"
            yield lease.stage_ends_at, "end of a replaced relay"
        is_needed = not self.is_enough
        for host in self.hosts.values():
            yield host.next_timeout(self.origin(host), is_needed), "relay attempt"
        if self._next_host() is not None:
            yield self._next_start, "relay attempt"

    # Beginnings

    @property
    def _next_start(self) -> float:
        return max(self._stagger_at, self._held_until)

    def _plan(self, host: Host, now: float) -> None:
        if host.supply.take_wanted(now):
            self.events.append(CredentialWanted(host.name))
        if host.goal is not None and not host.untried and not self._trying(host):
            failure = host.fail(now)
            if failure is not None:
                self.events.append(failure)
        serving = self.origin(host)
        goal = host.due_goal(serving, not self.is_enough, now)
        if goal is not None:
            host.begin(goal, serving)

    def _next_host(self) -> Host | None:
        """Choose whose address is tried next: the one with the best transport, the earlier host among equals."""
        waiting = (host for host in self.hosts.values() if host.untried)
        return min(waiting, key=lambda host: rank(host.untried[0]), default=None)

    def _start(
        self,
        host: Host,
        origin: Server,
        now: float,
        server: Server | None = None,
        trail: tuple[Endpoint, ...] = (),
        fresh_ports: int = 0,
    ) -> None:
        """Try `origin`, or the `server` that it sent us to."""
        target = server or origin
        token = self.sockets.open(target)
        credential = host.supply.credential
        client = Client(target, token, credential, self._random_bytes, self._config, self._drops, now)
        self.leases[token] = Lease(client, host, origin, trail, fresh_ports)

    # What clients tell

    def _collect(self, lease: Lease, now: float) -> None:
        client = lease.client
        while client.token in self.leases and (event := client.next_event()) is not None:
            match event:
                case Grant():
                    self._welcome(lease, event, now)
                case Failed(problem, code):
                    self._dismiss(lease, now)
                    self._fail(lease, problem, code, now)
                case Redirected(server, domain):
                    self._release(lease)
                    self._redirect(lease, Server(server, domain or client.server.name), now)
                case Ended(reason):
                    self._release(lease)
                    self._lose(lease, reason, now)
                case Refused(peer, code):
                    self.events.append(PeerRefused(_relayed(lease, peer), peer, code, _reason(code)))
                case _:
                    self.events.append(DataReceived(event.payload, event.peer, _relayed(lease, event.peer)))

    def _welcome(self, lease: Lease, grant: Grant, now: float) -> None:
        """Let an allocation serve, unless another server has its address, or we have it ourselves."""
        holders = [self.relays[relayed] for relayed in grant.relayed if relayed in self.relays]
        current = self.serving(lease.host)
        if not self.own.isdisjoint(grant.relayed) or any(holder.host is not lease.host for holder in holders):
            self._dismiss(lease, now)
            self._fail(lease, Problem.UNUSABLE, None, now)
            return
        for holder in dict.fromkeys(holders):  # a server that gives its address anew has forgotten the old allocation
            self._release(holder)
            self._report_loss(holder, LossReason.FORGOTTEN)
        if current is not None and current not in holders:
            current.stage, current.stage_ends_at = Stage.RETIRING, now + self._config.grace
        lease.stage, lease.serves_since = Stage.SERVING, now
        lease.host.succeed(lease.origin, now)
        for relayed in grant.relayed:
            self.relays[relayed] = lease
            self.events.append(RelayGained(relayed, lease.client.server, grant.mapped))
        lease.client.permit(self.peers, now)
        self._stop_spare_rounds(lease.host, now)

    def _stop_spare_rounds(self, host: Host, now: float) -> None:
        """Drop the other attempts at a host that serves, and with enough of these all first ones."""
        self._give_up_trying(host, now)
        self._stagger_at = min(self._stagger_at, now)
        for other in self.hosts.values():
            if other.goal is Goal.FIRST and self.is_enough:
                other.stop()
                self._give_up_trying(other, now)

    def _redirect(self, lease: Lease, server: Server, now: float) -> None:
        if lease.leads_in_circles(server.endpoint):
            self._fail(lease, Problem.LOOP, int(Code.TRY_ALTERNATE), now)
        else:
            trail = (*lease.trail, lease.client.server.endpoint)
            self._start(lease.host, lease.origin, now, server, trail)

    def _fail(self, lease: Lease, problem: Problem, code: int | None, now: float) -> None:
        """Go on without an attempt whose socket is closed already."""
        host = lease.host
        if code == Code.ALLOCATION_MISMATCH and lease.fresh_ports < MAX_FRESH_PORTS:
            self._start(host, lease.origin, now, lease.client.server, lease.trail, lease.fresh_ports + 1)
            return
        host.note(lease.origin, problem, code)
        self._stagger_at = now
        if problem in CREDENTIAL_PROBLEMS:
            self._give_up_trying(host, now)

    # Ends

    def _lose(self, lease: Lease, reason: LossReason, now: float) -> None:
        """Replace an allocation whose socket is closed already."""
        self._report_loss(lease, reason)
        if lease.stage is Stage.SERVING:
            is_stable = now - lease.serves_since >= self._config.stable_after
            lease.host.lose(lease.origin, reason, is_stable, now)
            self._stagger_at = now

    def _report_loss(self, lease: Lease, reason: LossReason) -> None:
        for relayed in lease.relayed if lease.stage is not Stage.LEFT else ():
            self.events.append(RelayLost(relayed, reason))

    def _retire(self, lease: Lease, now: float) -> None:
        """Let nobody use an allocation that was replaced, then end it: peers may send to it for a moment yet."""
        if lease.stage is Stage.RETIRING:
            self._report_loss(lease, LossReason.REPLACED)
            lease.stage, lease.stage_ends_at = Stage.LEFT, now + self._config.linger
        else:
            self._dismiss(lease, now)

    def _give_up_trying(self, host: Host, now: float) -> None:
        for lease in self._trying(host):
            self._dismiss(lease, now)

    def _dismiss(self, lease: Lease, now: float) -> None:
        """Give back what the server may have made for us, then close the socket."""
        lease.client.close(now)
        while (transmit := lease.client.next_transmit()) is not None:
            self.farewells.append(transmit)
        self._release(lease)

    def _release(self, lease: Lease) -> None:
        """Close a socket and forget what came over it."""
        del self.leases[lease.client.token]
        self.sockets.close(lease.client.token)
        for relayed in lease.relayed:
            if self.relays.get(relayed) is lease:
                del self.relays[relayed]

    # Who is who

    def _leases_of(self, host: Host) -> Iterator[Lease]:
        return (lease for lease in self.leases.values() if lease.host is host)

    def _trying(self, host: Host) -> list[Lease]:
        return [lease for lease in self._leases_of(host) if lease.stage is Stage.TRYING]

    def _count_serving(self) -> int:
        return sum(lease.stage is Stage.SERVING for lease in self.leases.values())


def _relayed(lease: Lease, peer: Endpoint) -> Endpoint:
    """Give our address that a peer's news came to: there is one, or the client would not know the peer."""
    return lease.client.relayed_for(peer) or lease.relayed[0]


def _reason(code: int) -> str:
    """Put a code into the RFC's words; never into the server's, which could hold anything."""
    return _REASONS.get(code, f"error {code}")
