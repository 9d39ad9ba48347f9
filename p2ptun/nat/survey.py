"""What one server has to tell, by the tests of RFC 5780: each socket does only what leaves its part of the NAT as new.

::

    prober    asks A1:P1, then A1:P2, A2:P1, A2:P2       mapping (4.3); then has all four let in: the control of
    receiver  asks A1:P1 only                            filtering (4.4): who else is let in?
    padder    asks A1:P1, with padding                   fragments (3.5)

A1:P1 is the server, A2:P2 its OTHER-ADDRESS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2ptun.nat.behavior import Filtering, Mapping
from p2ptun.nat.classify import classify_filtering, classify_mapping
from p2ptun.nat.probe import Exchange, Plan, Probe, Question
from p2ptun.nat.trial import Trial
from p2ptun.stun.attribute import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_PORT,
    Attribute,
    AttributeValue,
)
from p2ptun.stun.codec import Change, opaque
from p2ptun.stun.trust import may_follow
from p2ptun.types import Endpoint

PACE: Final = 0.01  # seconds between two new bindings; our choice: they shall arrive in this order
FIRST_PLAN: Final = Plan(copies=6, interval=0.25, grace=0.5)
"""Our choice for whoever must answer: given up after 1.75 s."""

TRIAL_INTERVAL: Final = 0.1  # seconds; our choice
TRIAL_COPIES: Final = 18
"""Our choice: where nothing gets lost half of them do, else they take 1.7 s."""

GRACE: Final = 0.3  # seconds for the last answer, and half a round trip more than it should take; our choice

IGNORED: Final = Attribute(0xFFF8, "PADDING-TO-IGNORE", opaque(0, 0xFFFF))
"""A comprehension-optional attribute that no server knows (RFC 8489 18.3 has it unassigned), so that the request is
long and the answer short."""

SMALL: Final = 512
"""Bytes of padding that no link splits: with so many, a server shows whether it minds padding."""


@dataclass(frozen=True, slots=True)
class Posts:
    """The sockets of one survey; the receiver is nobody else's."""

    prober: Endpoint
    receiver: Endpoint
    padder: Endpoint


@dataclass(frozen=True, slots=True)
class FragmentTrials:
    """Padding in the request alone, and in request and answer."""

    out: Trial
    both: Trial


@dataclass(frozen=True, slots=True)
class FilterTrials:
    """A stranger answers; the server answers from its other port."""

    stranger: Trial
    other_port: Trial


class Survey:
    """One server, from the first question to the last answer."""

    def __init__(self, exchange: Exchange, server: Endpoint, posts: Posts, padding: int, at: float) -> None:
        """Begin to ask at `at`; `padding` bytes don't fit one frame of the link, 0 leaves fragments alone."""
        self._exchange = exchange
        self._posts = posts
        self._padding = padding
        self.server = server
        self.other: Endpoint | None = None
        self.first = exchange.ask(Question.plain(posts.prober, server), FIRST_PLAN, at)
        self.receiver = exchange.ask(Question.plain(posts.receiver, server), FIRST_PLAN, at + PACE)
        self.padder = exchange.ask(Question.plain(posts.padder, server), FIRST_PLAN, at + 2 * PACE)
        self._alternates: list[Probe] | None = None
        self._filter: FilterTrials | None = None
        self._fragments: FragmentTrials | None = None

    @property
    def mapping(self) -> Mapping | None:
        """Judge by this server alone."""
        return classify_mapping(self.seen)

    @property
    def seen(self) -> dict[Endpoint, Endpoint]:
        """Where the server's endpoints saw the prober."""
        probes = [self.first, *(self._alternates or ())]
        return {probe.question.server: probe.mapped for probe in probes if probe.mapped is not None}

    @property
    def filtering(self) -> Filtering | None:
        """Judge by this server alone. That it does as CHANGE-REQUEST says is believed only where a control shows it."""
        if self._filter is None:
            return None
        return classify_filtering(self._filter.stranger.verdict, self._filter.other_port.verdict)

    @property
    def sends_fragments(self) -> bool | None:
        """Tell whether a request in fragments arrived. That it didn't is believed of a server of RFC 5780 only."""
        if self._fragments is None:
            return None
        tests = (self._fragments.out, self._fragments.both)
        if any(trial.test.answered or trial.test.refusal is not None for trial in tests):
            return True
        return self._fragments.out.verdict if self.other is not None else None

    @property
    def receives_fragments(self) -> bool | None:
        """Tell whether an answer in fragments arrived."""
        if self._fragments is None or not self.sends_fragments:
            return None
        both = self._fragments.both
        if both.test.answer is not None:
            padding = both.test.answer.get(PADDING)
            is_split = padding is not None and len(both.test.answer.raw) > self._padding
            return True if is_split else None
        return both.verdict if self.other is not None else None

    def advance(self, now: float) -> None:
        """Go on to the tests that the answers so far allow."""
        if self._alternates is None and self.first.answer is not None:
            self._ask_alternates(self.first, now)
        if self._filter is None:
            self._begin_filter(now)
        if self._fragments is None and self.padder.mapped is not None and self._padding:
            self._begin_fragments(now)
        for trial in self._trials():
            trial.settle(now)

    def _trials(self) -> list[Trial]:
        filter_trials = [] if self._filter is None else [self._filter.stranger, self._filter.other_port]
        fragments = [] if self._fragments is None else [self._fragments.out, self._fragments.both]
        return filter_trials + fragments

    def _ask_alternates(self, first: Probe, now: float) -> None:
        """Ask the server's other endpoints, if it names a second address that it may name."""
        self._alternates = []
        named = None if first.answer is None else first.answer.get(OTHER_ADDRESS)
        if named is None or not self._is_second(named):
            return
        self.other = Endpoint.of(named.address, named.port)
        for number, endpoint in enumerate((self._near(self.other), self._far(self.other), self.other), start=1):
            question = Question.plain(self._posts.prober, endpoint)
            self._alternates.append(self._exchange.ask(question, FIRST_PLAN, now + number * PACE))

    def _is_second(self, named: Endpoint) -> bool:
        return (
            may_follow(self.server, named) and named.address != self.server.address and named.port != self.server.port
        )

    def _near(self, other: Endpoint) -> Endpoint:
        """A1:P2."""
        return Endpoint(self.server.address, other.port)

    def _far(self, other: Endpoint) -> Endpoint:
        """A2:P1."""
        return Endpoint(other.address, self.server.port)

    def _begin_filter(self, now: float) -> None:
        """Let the receiver be sent to by strangers, and as control the prober by those that it has asked."""
        if self.other is None or self.receiver.mapped is None:
            return
        near, seen = self._near(self.other), self.seen
        if near in seen and self.other in seen:
            self._filter = FilterTrials(
                self._begin_change(Change.ADDRESS | Change.PORT, self.other, seen, now),
                self._begin_change(Change.PORT, near, seen, now),
            )

    def _begin_change(self, change: Change, answerer: Endpoint, seen: dict[Endpoint, Endpoint], now: float) -> Trial:
        """Ask for answers from `answerer`.

        To the prober it goes to the port at which `answerer` has seen it: with RESPONSE-PORT where the mapping depends
        on the destination (RFC 5780 7.5).
        """
        wish: tuple[AttributeValue, ...] = ((CHANGE_REQUEST, change),)
        receiver, prober, server = self._posts.receiver, self._posts.prober, self.server
        port = seen[answerer].port
        redirected = wish if port == seen[server].port else (*wish, (RESPONSE_PORT, port))
        return Trial.begin(
            self._exchange,
            Question(receiver, server, wish, receiver, answerer),
            Question(prober, server, redirected, prober, answerer),
            self._plan(),
            now,
        )

    def _begin_fragments(self, now: float) -> None:
        padder, server = self._posts.padder, self.server
        large, small = bytes(self._padding), bytes(SMALL)
        out, control = (Question.plain(padder, server, (IGNORED, padding)) for padding in (large, small))
        both, padded = (Question.plain(padder, server, (PADDING, padding)) for padding in (large, small))
        plan = self._plan()
        self._fragments = FragmentTrials(
            Trial.begin(self._exchange, out, control, plan, now), Trial.begin(self._exchange, both, padded, plan, now)
        )

    def _plan(self) -> Plan:
        return Plan(TRIAL_COPIES, TRIAL_INTERVAL, GRACE + 1.5 * (self.first.rtt or 0.0))
