"""One port that a gateway is asked to map: what was granted, until when, and what of it was told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from p2ptun.nat.portmap_event import (
    LossReason,
    PortMapEvent,
    PortMapped,
    PortRefused,
    PortUnmapped,
    Problem,
    Protocol,
)
from p2ptun.stun.trust import Scope, scope_of
from p2ptun.types import Endpoint, IPAddress

SHORTEST_LIFETIME: Final = 10.0
"""Seconds; our choice: a shorter lease would have to be renewed in less than the 4 s of RFC 6887 11.2.1."""

LONGEST_LIFETIME: Final = 86400.0  # seconds, RFC 6887 15: what a client believes at most
RECOVERY_PATIENCE: Final = 10.0  # seconds; our choice: what a restarted gateway has lost and doesn't give back is gone


@dataclass(slots=True)
class Lease:
    """A mapping that we want. It is granted while `expires_at` is set.

    `suggested` is what the gateway is asked for: any address and our own port at first, later what it gave before, for
    then the candidate stays good when the gateway has restarted. `due_at` is when it is asked for next; `is_asked`,
    whether a request has ever left, so that there may be a mapping even though no answer came. `told` is the address
    that the owner knows of, `problem` the last one that it was told.
    """

    port: int
    nonce: bytes
    suggested: Endpoint
    due_at: float
    is_asked: bool = False
    expires_at: float | None = None
    told: Endpoint | None = None
    problem: Problem | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the owner knows what became of it, for now."""
        return self.told is not None or self.problem is not None

    def grant(self, external: Endpoint, lifetime: float, protocol: Protocol, now: float) -> Iterator[PortMapEvent]:
        """Take in what the gateway gives; renew it at half of the time (RFC 6886 3.3, RFC 6887 11.2.1)."""
        lifetime = min(lifetime, LONGEST_LIFETIME)
        self.expires_at = now + lifetime
        self.due_at = now + lifetime / 2
        self.suggested = external
        if is_private(external.address):
            yield from self._unmap(LossReason.CHANGED)
            yield from self.report(Problem.BEHIND_ANOTHER_NAT, external)
            return
        self.problem = None
        if external != self.told:
            yield from self._unmap(LossReason.CHANGED)
            self.told = external
            yield PortMapped(self.port, external, lifetime, protocol)

    def refuse(self, problem: Problem, wait: float, now: float) -> Iterator[PortMapEvent]:
        """Note that the gateway doesn't want to, and ask it again after `wait` seconds.

        What it granted before stays until its time is over (RFC 6887 11.4).
        """
        self.due_at = now + wait
        yield from self.report(problem)

    def report(self, problem: Problem, external: Endpoint | None = None) -> Iterator[PortMapEvent]:
        """Tell the owner what is wrong, once."""
        if problem is not self.problem:
            self.problem = problem
            yield PortRefused(self.port, problem, external)

    def doubt(self, now: float) -> None:
        """Know that the gateway has lost it: ask again at once, and don't count on it for long."""
        if self.expires_at is not None:
            self.expires_at = min(self.expires_at, now + RECOVERY_PATIENCE)
            self.due_at = now

    def expire(self, now: float) -> Iterator[PortMapEvent]:
        """Give it up when its time is over."""
        if self.expires_at is not None and self.expires_at <= now:
            self.expires_at = None
            self.due_at = min(self.due_at, now)
            yield from self._unmap(LossReason.EXPIRED)

    def _unmap(self, reason: LossReason) -> Iterator[PortMapEvent]:
        if self.told is not None:
            yield PortUnmapped(self.port, self.told, reason)
            self.told = None


def nowhere(version: int) -> IPAddress:
    """Give the address that stands for any of a family (RFC 6887 5)."""
    return ip_address(0) if version == 4 else IPv6Address(0)


def is_private(address: IPAddress) -> bool:
    """Tell whether an address can't be reached from everywhere."""
    return scope_of(address) is not Scope.PUBLIC


def is_possible(external: Endpoint, version: int) -> bool:
    """Tell whether packets can come in at an address and port at all, and in the family of what they are for."""
    address = external.address
    return external.port != 0 and address.version == version and scope_of(address) is not Scope.NOWHERE
