"""What is under way between a port mapper and its gateway: one request, and mappings that are being given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final

from p2ptun.nat import natpmp, pcp
from p2ptun.nat.portmap_event import Protocol
from p2ptun.nat.portmap_lease import Lease, nowhere
from p2ptun.types import Endpoint, IPAddress, RandomBytes

LIFETIME: Final = natpmp.RECOMMENDED_LIFETIME
FIRST_INTERVAL: Final = 0.25  # seconds, RFC 6886 3.1
QUICK_REQUESTS: Final = 9  # RFC 6886 3.1
LONGEST_INTERVAL: Final = 1024.0  # seconds: MRT, RFC 6887 8.1.1
JITTER: Final = 0.1  # RAND, RFC 6887 8.1.1
SILENT_AFTER: Final = 3  # requests, 1.75 s; our choice: when the owner is told that nobody answers
MAX_TURNS: Final = 3  # our choice: new contents of one request, for a gateway may contradict itself for ever
EXTERNAL_ADDRESS_LIFETIME: Final = 60.0  # seconds; our choice: NAT-PMP's grants don't name the address
RELEASE_INTERVAL: Final = 0.06  # seconds; our choice: who closes waits 0.2 s at most
RELEASE_REQUESTS: Final = 3


class Question(Flag):
    """What a gateway is asked."""

    NOTHING = 0
    PCP = auto()  # a mapping, by PCP
    ADDRESS = auto()  # its address outside, by NAT-PMP
    MAPPING = auto()  # a mapping, by NAT-PMP


@dataclass(slots=True)
class Gateway:
    """What is known of a gateway: its clock, and what NAT-PMP calls its external address, each with when we heard."""

    endpoint: Endpoint
    protocol: Protocol | None = None
    epoch: tuple[int, float] | None = None
    external: tuple[IPAddress, float] | None = None

    def external_at(self, now: float) -> IPAddress | None:
        """Give the external address unless it may be another one by now."""
        if self.external is None or now >= self.external[1] + EXTERNAL_ADDRESS_LIFETIME:
            return None
        return self.external[0]

    def has_restarted(self, epoch: int, now: float) -> bool:
        """Take its time; tell whether it can't have come there without losing its mappings."""
        before, self.epoch = self.epoch, (epoch, now)
        if before is None:
            return False
        is_plausible = natpmp.is_epoch_plausible if self.protocol is Protocol.NAT_PMP else pcp.is_epoch_plausible
        return not is_plausible(before[0], epoch, now - before[1])


@dataclass(slots=True)
class Request:
    """A mapping that is being asked for, until there is an answer.

    `sent` counts what has left, `repeat_at` is when the next one does, `turns` counts the changes of what is asked, and
    `open` is what may still be answered.
    """

    lease: Lease
    sent: int = 0
    repeat_at: float = 0.0
    turns: int = 0
    open: Question = Question.NOTHING

    def turn(self) -> bool:
        """Begin anew, for something else is to be asked; False when that was so too often."""
        self.sent, self.open = 0, Question.NOTHING
        self.turns += 1
        return self.turns <= MAX_TURNS

    def ask(self, gateway: Gateway, local: Endpoint, random_bytes: RandomBytes, now: float) -> Iterator[bytes]:
        """Give what is to be sent, and wait until it is to be repeated."""
        if self.sent >= QUICK_REQUESTS:
            gateway.protocol = None  # it may speak another one by now
        questions = self._choose(gateway, local.address.version, now)
        self.open |= questions
        self.lease.is_asked = True
        self.sent += 1
        self.repeat_at = now + interval(self.sent, random_bytes)
        lease = self.lease
        if Question.PCP in questions:
            wanted = pcp.MapRequest(local.address, lease.nonce, lease.port, lease.suggested, LIFETIME)
            yield pcp.encode_map_request(wanted)
        if Question.ADDRESS in questions:
            yield natpmp.encode_address_request()
        if Question.MAPPING in questions:
            yield natpmp.encode_map_request(lease.port, lease.suggested.port, LIFETIME)

    def _choose(self, gateway: Gateway, version: int, now: float) -> Question:
        if gateway.protocol is Protocol.NAT_PMP:
            return Question.ADDRESS if gateway.external_at(now) is None else Question.MAPPING
        is_late = 1 <= self.sent < QUICK_REQUESTS
        may_be_old = gateway.protocol is None and version == 4
        return Question.PCP | Question.ADDRESS if is_late and may_be_old else Question.PCP


@dataclass(slots=True)
class Release:
    """A mapping that is being given back."""

    lease: Lease
    sent: int = 0
    repeat_at: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it was said often enough."""
        return self.sent >= RELEASE_REQUESTS

    def ask(self, protocol: Protocol, local: Endpoint, now: float) -> bytes:
        """Give what is to be sent: in both protocols 0 seconds, for any port outside (RFC 6886 3.4, RFC 6887 15)."""
        self.sent += 1
        self.repeat_at = now + RELEASE_INTERVAL
        lease = self.lease
        if protocol is Protocol.NAT_PMP:
            return natpmp.encode_map_request(lease.port, 0, 0)
        anything = Endpoint(nowhere(local.address.version), 0)
        return pcp.encode_map_request(pcp.MapRequest(local.address, lease.nonce, lease.port, anything, 0))


def interval(sent: int, random_bytes: RandomBytes) -> float:
    """Tell how long to wait behind so many requests: doubling, and uneven once it is no longer NAT-PMP's."""
    if sent <= QUICK_REQUESTS:
        return FIRST_INTERVAL * 2.0 ** (sent - 1)
    longest = min(FIRST_INTERVAL * 2.0 ** min(sent - 1, 32), LONGEST_INTERVAL)
    fraction = int.from_bytes(random_bytes(4), "big") / 2**32
    return longest * (1 - JITTER + 2 * JITTER * fraction)
