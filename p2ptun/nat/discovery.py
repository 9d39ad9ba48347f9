"""The machine that finds out how the NAT before one local address behaves (RFC 5780).

It is over within four seconds. What can run at once does, each test from a socket that spoils no other's; what would
spoil the order in which the NAT chooses ports comes later. A NAT that forgets bindings faster than that is none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.nat.behavior import NatBehavior
from p2ptun.nat.drop import DropReason
from p2ptun.nat.event import BehaviorDiscovered, DiscoveryEvent, ServerAnswered, ServerSilent
from p2ptun.nat.hairpin import Hairpin, Seen
from p2ptun.nat.judgement import judge
from p2ptun.nat.probe import Exchange, Probe, Question
from p2ptun.nat.survey import FIRST_PLAN, PACE, Posts, Survey
from p2ptun.stun.message import decode_message
from p2ptun.stun.trust import may_follow
from p2ptun.types import Endpoint, RandomBytes, Transmit

MAX_SERVERS: Final = 4  # our choice: more tell nothing new
SPARES: Final = 4  # sockets that only show which ports they get
BASES: Final = 2 + MAX_SERVERS + SPARES
"""Sockets that a discovery wants."""

PATIENCE: Final = 4.0  # seconds for everything; our choice: people wait
DEFAULT_PADDING: Final = 1500  # bytes, RFC 5780 7.6: the MTU of the interface; with the headers it doesn't fit one


class Discovery:
    """One local address, some sockets bound to it, and servers as they become known.

    Events: `ServerAnswered` or `ServerSilent` for each server, then one `BehaviorDiscovered`. `behavior` can be read at
    any time. Nothing that servers say is authenticated: a lie can make the result wrong, it can't make us send more
    than a few small packets to an address that isn't the server's, and to none in our own network.
    """

    def __init__(self, bases: Sequence[Endpoint], random_bytes: RandomBytes, padding: int = DEFAULT_PADDING) -> None:
        """Explore from `bases`, BASES sockets that have sent nothing yet.

        `padding` bytes with IP and UDP headers shall not fit one frame of the link; 0 leaves fragments alone.

        Raises:
            LocalProtocolError: too few sockets, or not all on one address.
        """
        if len(set(bases)) < BASES or len({base.address for base in bases}) > 1:
            raise LocalProtocolError(f"needs {BASES} sockets on one address")
        self.drops: Counter[DropReason] = Counter()
        self._bases = tuple(bases)
        self._padding = padding
        self._exchange = Exchange(random_bytes)
        self._surveys: list[Survey] = []
        self._reported: set[Endpoint] = set()
        self._spares: list[Probe] | None = None
        self._hairpin: Hairpin | None = None
        self._events: deque[DiscoveryEvent] = deque()
        self._deadline: float | None = None
        self._has_all_servers = False
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Tell whether all tests are over."""
        return self._is_complete

    @property
    def behavior(self) -> NatBehavior:
        """What is known so far."""
        hairpins = None if self._hairpin is None else self._hairpin.verdict
        return judge(self._bases[0], self._surveys, self._exchange.order, hairpins)

    # Commands

    def add_server(self, server: Endpoint, now: float) -> bool:
        """Ask one more server; False when it is known, of the other family, one too many, or too late."""
        is_known = any(survey.server == server for survey in self._surveys)
        is_alien = server.address.version != self._bases[0].address.version
        if is_known or is_alien or len(self._surveys) >= MAX_SERVERS or self._is_complete:
            return False
        posts = Posts(self._bases[0], self._bases[2 + len(self._surveys)], self._bases[1])
        self._surveys.append(Survey(self._exchange, server, posts, self._padding, now))
        if self._deadline is None:
            self._deadline = now + PATIENCE
        self._advance(now)
        return True

    def end_of_servers(self, now: float) -> None:
        """Know that no more servers come."""
        self._has_all_servers = True
        self._advance(now)

    def record_send_error(self, base: Endpoint, destination: Endpoint, now: float) -> None:
        """Know that there is no way from this socket to there."""
        self._exchange.fail(base, destination)
        self._advance(now)

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take what came to a socket. Untrusted."""
        reason = self._receive(data, source, local, now)
        if reason is not None:
            self.drops[reason] += 1
        self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        if self._deadline is not None and self._deadline <= now:
            self._has_all_servers = True
            self._exchange.stop()
        self._advance(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give a datagram to send."""
        return self._exchange.next_transmit()

    def next_event(self) -> DiscoveryEvent | None:
        """Give what became known."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` is to be called."""
        return None if self._is_complete else earliest((self._exchange.next_timeout(), self._deadline))

    def _receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        if local not in self._bases:
            return DropReason.UNKNOWN_SOCKET
        try:
            message = decode_message(data)
        except MalformedPacket:
            return DropReason.MALFORMED
        return self._exchange.receive(message, source, local, now)

    def _advance(self, now: float) -> None:
        """Go on to what has become possible, and tell what has become known."""
        for survey in self._surveys:
            survey.advance(now)
            self._report(survey)
            self._begin_common(survey, now)
        if self._hairpin is not None:
            self._hairpin.settle(now)
        self._exchange.handle_timeout(now)
        if self._has_all_servers and not self._is_complete and self._exchange.is_over:
            self._complete()

    def _complete(self) -> None:
        self._is_complete = True
        for survey in self._surveys:
            self._report(survey)
        self._events.append(BehaviorDiscovered(self.behavior))

    def _report(self, survey: Survey) -> None:
        """Tell once how a server answered the first question."""
        first = survey.first
        if not (first.is_over or first.answer) or survey.server in self._reported:
            return
        self._reported.add(survey.server)
        if first.mapped is not None and first.rtt is not None:
            self._events.append(ServerAnswered(survey.server, first.mapped, first.rtt, survey.other))
        else:
            self._events.append(ServerSilent(survey.server, first.refusal))

    def _begin_common(self, survey: Survey, now: float) -> None:
        """Begin what needs only one server, with the first one that answers."""
        seen, partner_seen = survey.first.mapped, survey.padder.mapped
        if self._spares is None and seen is not None:
            spares = self._bases[2 + MAX_SERVERS :]
            self._spares = [
                self._exchange.ask(Question.plain(base, survey.server), FIRST_PLAN, now + (4 + number) * PACE)
                for number, base in enumerate(spares)
            ]
        if self._hairpin is None and seen is not None and partner_seen is not None:
            self._begin_hairpin(survey.server, seen, partner_seen, now)

    def _begin_hairpin(self, server: Endpoint, seen: Endpoint, partner_seen: Endpoint, now: float) -> None:
        prober, padder = self._bases[:2]
        is_translated = seen != prober and partner_seen != padder
        if is_translated and may_follow(server, seen) and may_follow(server, partner_seen):
            begins_at = now + (4 + len(self._bases)) * PACE  # after all other new bindings
            one, other = Seen(prober, seen), Seen(padder, partner_seen)
            self._hairpin = Hairpin(self._exchange, server, one, other, begins_at)
