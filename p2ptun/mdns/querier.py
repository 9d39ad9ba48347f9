"""Asking for the other side's names (RFC 6762 5.2, 5.4, 6; the draft, 3.2.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.event import LossReason, MdnsEvent, NameLost, NameResolved
from p2ptun.mdns.link import MDNS_PORT, Locals, group_of
from p2ptun.mdns.message import Labels, Message, Question, RecordType, encode_message
from p2ptun.mdns.name import is_acceptable, labels_of
from p2ptun.types import Endpoint, IPAddress, Transmit

FIRST_INTERVAL: Final = 1.0  # seconds, doubling: RFC 6762 5.2
PATIENCE: Final = 5.0  # seconds; our choice: three questions, and no link is that slow
MAX_LOOKUPS: Final = 64  # our choice: as many candidates as a description holds
NAMES_PER_MESSAGE: Final = 16  # our choice: with 51 bytes for a name's two questions it fits any link


@dataclass(slots=True)
class _Lookup:
    """A name that is being asked for. `interval` is the time from the next question to the one after it."""

    name: str
    gives_up_at: float
    due_at: float
    interval: float = FIRST_INTERVAL

    @property
    def is_new(self) -> bool:
        """Tell whether nobody has been asked yet."""
        return self.interval == FIRST_INTERVAL

    def record_asked(self) -> None:
        """Note that the question is being sent."""
        self.due_at += self.interval
        self.interval *= 2


class Querier:
    """Resolves names, several at once and on all links, and gives up quietly.

    The first question of each name asks for an answer by unicast (RFC 6762 5.4, and the draft), unless the port is
    shared: the kernel gives such an answer to one of the programs, and it may not be us (RFC 6762 15.1).
    """

    def __init__(self, locals_: Locals) -> None:
        self._locals = locals_
        self._lookups: dict[Labels, _Lookup] = {}
        self._transmits: deque[Transmit] = deque()
        self._events: deque[MdnsEvent] = deque()

    def add_local(self, local: Endpoint) -> None:
        """Ask over a new socket what is being asked already."""
        self._ask(list(self._lookups.values()), local)

    def resolve(self, names: Iterable[str], now: float) -> None:
        """Ask for names, at once: a person waits (RFC 6762 5.2). Each ends in an event; one in the making is let be."""
        new = []
        for name in names:
            if not is_acceptable(name):
                self._events.append(NameLost(name, LossReason.UNACCEPTABLE))
            elif (labels := labels_of(name)) in self._lookups:
                continue
            elif len(self._lookups) >= MAX_LOOKUPS:
                self._events.append(NameLost(name, LossReason.TOO_MANY))
            else:
                self._lookups[labels] = lookup = _Lookup(name, now + PATIENCE, now)
                new.append(lookup)
        self._ask_everywhere(new)

    def close(self) -> None:
        """Ask no more."""
        self._lookups.clear()

    def receive_response(self, response: Message, source: Endpoint) -> DropReason | None:
        """Take the answers to what was asked; say why when there are none."""
        if source.port != MDNS_PORT:
            return DropReason.FOREIGN_PORT
        found: dict[Labels, set[IPAddress]] = {}
        for record in (*response.answers, *response.additionals):
            if record.name in self._lookups and record.ttl > 0 and record.address is not None:
                found.setdefault(record.name, set()).add(record.address)
        for labels, addresses in found.items():
            self._end(self._lookups.pop(labels), addresses)
        return None if found else DropReason.NOT_ASKED_FOR

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for labels, lookup in list(self._lookups.items()):
            if lookup.gives_up_at <= now:
                del self._lookups[labels]
                self._events.append(NameLost(lookup.name, LossReason.TIMEOUT))
        due = [lookup for lookup in self._lookups.values() if lookup.due_at <= now]
        self._ask_everywhere(due)
        for lookup in due:
            lookup.due_at = max(lookup.due_at, now + FIRST_INTERVAL)  # we slept: nothing is asked twice in a row

    def next_transmit(self) -> Transmit | None:
        """Give a query to send."""
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> MdnsEvent | None:
        """Give what became of a name."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return min((min(each.due_at, each.gives_up_at) for each in self._lookups.values()), default=None)

    def _end(self, lookup: _Lookup, addresses: set[IPAddress]) -> None:
        if len(addresses) > 1:
            self._events.append(NameLost(lookup.name, LossReason.AMBIGUOUS))
        else:
            self._events.append(NameResolved(lookup.name, addresses.pop()))

    def _ask_everywhere(self, lookups: list[_Lookup]) -> None:
        for local in self._locals:
            self._ask(lookups, local)
        for lookup in lookups:
            lookup.record_asked()

    def _ask(self, lookups: list[_Lookup], local: Endpoint) -> None:
        """Ask for both families: which one hides behind a name isn't told."""
        is_alone = not self._locals.is_shared(local)
        for start in range(0, len(lookups), NAMES_PER_MESSAGE):
            questions = tuple(
                Question(labels_of(lookup.name), kind, is_alone and lookup.is_new)
                for lookup in lookups[start : start + NAMES_PER_MESSAGE]
                for kind in (RecordType.A, RecordType.AAAA)
            )
            self._transmits.append(Transmit(encode_message(Message(questions=questions)), local, group_of(local)))
