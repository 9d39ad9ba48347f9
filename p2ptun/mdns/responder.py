"""Answering for our own names (RFC 6762 5.4, 6, 6.1, 6.2, 6.7, 7.1, 8.3, 10.1, 10.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.link import MDNS_PORT, Locals, group_of
from p2ptun.mdns.message import (
    ANY_CLASS,
    INTERNET,
    Labels,
    Message,
    Question,
    Record,
    RecordType,
    address_record,
    denial_record,
    encode_message,
)
from p2ptun.types import Endpoint, IPAddress, Transmit

HOST_TTL: Final = 120  # seconds, RFC 6762 10: records with a host's address
LEGACY_TTL: Final = 10  # seconds, RFC 6762 6.7
MULTICAST_INTERVAL: Final = 1.0  # seconds between two multicasts of one record on one link, RFC 6762 6
ANNOUNCEMENTS: Final = 2  # RFC 6762 8.3: at least two, a second apart
RECENT: Final = HOST_TTL / 4  # seconds, RFC 6762 5.4: caches have what was multicast since
MAX_NAMES: Final = 64  # our choice: as many addresses as a description holds
MAX_UNICASTS: Final = 32  # our choice: messages a second to single hosts; who forges sources gets no more out of us
NAMES_PER_MESSAGE: Final = 8  # our choice: with 134 bytes for a name it fits any link (RFC 6762 17)


@dataclass(slots=True)
class _Telling:
    """What is told of one name over one socket: when last, how often more of our own accord, and when next."""

    told_at: float | None = None
    announcements: int = ANNOUNCEMENTS
    due_at: float | None = None

    def request(self, now: float) -> None:
        """Let the record be multicast as soon as that is allowed."""
        self.due_at = now if self.told_at is None else max(now, self.told_at + MULTICAST_INTERVAL)

    def record_told(self, now: float) -> None:
        """Note that the record is being multicast."""
        self.told_at = now
        self.announcements = max(0, self.announcements - 1)
        self.due_at = now + MULTICAST_INTERVAL if self.announcements else None

    def is_due(self, now: float) -> bool:
        """Tell whether the record is to be multicast."""
        return self.due_at is not None and self.due_at <= now

    def is_recent(self, now: float) -> bool:
        """Tell whether the caches on the link will have the record for a while."""
        return self.told_at is not None and now - self.told_at < RECENT


@dataclass(slots=True)
class _Registration:
    """One of our names, the address behind it, the link where it lives, and what was told of it over each socket."""

    name: Labels
    address: IPAddress
    link: str
    tellings: dict[Endpoint, _Telling] = field(default_factory=dict)

    @property
    def type(self) -> RecordType:
        """The type of its one record."""
        return RecordType.A if self.address.version == 4 else RecordType.AAAA

    def fits(self, question: Question) -> bool:
        """Tell whether its record is what a question wants."""
        return question.type in (self.type, RecordType.ANY)

    def records(self, ttl: int, is_unique: bool = True) -> tuple[Record, Record]:
        """Make its record, and the one that denies all others."""
        return (
            address_record(self.name, self.address, ttl, is_unique),
            denial_record(self.name, self.type, ttl, is_unique),
        )


class Responder:
    """Answers for names on the links where they live; nowhere else, and for nobody else's."""

    def __init__(self, locals_: Locals) -> None:
        self._locals = locals_
        self._names: dict[Labels, _Registration] = {}
        self._transmits: deque[Transmit] = deque()
        self._unicasts = 0
        self._second = 0

    def add_local(self, local: Endpoint, now: float) -> None:
        """Announce the names of a new socket's link over it."""
        link = self._locals.link_of(local)
        for registration in self._names.values():
            if registration.link == link:
                registration.tellings[local] = _Telling(due_at=now)
        self._multicast_due(now)

    def remove_local(self, local: Endpoint) -> None:
        """Forget a socket."""
        for registration in self._names.values():
            registration.tellings.pop(local, None)

    def register(self, name: Labels, address: IPAddress, link: str, now: float) -> bool:
        """Announce a name and answer for it from now on; False when it is taken or there are too many."""
        if name in self._names or len(self._names) >= MAX_NAMES:
            return False
        tellings = {local: _Telling(due_at=now) for local in self._locals.of_link(link)}
        self._names[name] = _Registration(name, address, link, tellings)
        self._multicast_due(now)
        return True

    def unregister(self, name: Labels) -> None:
        """Say goodbye for a name (RFC 6762 10.1), and answer no more; harmless when it isn't ours."""
        registration = self._names.pop(name, None)
        if registration is not None:
            self._say_goodbye([registration])

    def close(self) -> None:
        """Say goodbye for every name."""
        leaving = list(self._names.values())
        self._names.clear()
        self._say_goodbye(leaving)

    def receive_query(self, query: Message, source: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        """Answer what is asked about our names of this link; say why when nothing is."""
        asked = self._asked(query, local)
        if not asked:
            return DropReason.NOT_OUR_NAME
        known = {(each.name, each.data) for each in query.answers if each.ttl >= HOST_TTL / 2}
        asked = [(each, one) for each, one in asked if not (one.fits(each) and (one.name, one.address.packed) in known)]
        if not asked:
            return DropReason.KNOWN_ANSWER
        if source.port != MDNS_PORT:
            return self._answer_alone(asked, query.id, source, local, now)
        alone = []
        for question, registration in asked:
            telling = registration.tellings[local]
            if question.wants_unicast and telling.is_recent(now):
                alone.append((question, registration))
            else:
                telling.request(now)
        self._multicast_due(now)
        return self._answer_alone(alone, 0, source, local, now)

    def handle_timeout(self, now: float) -> None:
        """Multicast what is due: announcements, and answers that had to wait for their second to pass."""
        self._multicast_due(now)

    def next_transmit(self) -> Transmit | None:
        """Give a response to send."""
        return self._transmits.popleft() if self._transmits else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        tellings = (telling for each in self._names.values() for telling in each.tellings.values())
        return earliest(telling.due_at for telling in tellings)

    def _asked(self, query: Message, local: Endpoint) -> list[tuple[Question, _Registration]]:
        """Find the questions about our names of this link; a type that a name lacks counts too: it is denied."""
        asked = []
        for question in query.questions:
            registration = self._names.get(question.name)
            if registration is not None and local in registration.tellings and question.class_ in (INTERNET, ANY_CLASS):
                asked.append((question, registration))
        return asked

    def _answer_alone(
        self,
        asked: list[tuple[Question, _Registration]],
        query_id: int,
        source: Endpoint,
        local: Endpoint,
        now: float,
    ) -> DropReason | None:
        """Answer one host by unicast, while there is some of this second's share left."""
        is_legacy = source.port != MDNS_PORT
        if int(now) != self._second:
            self._second, self._unicasts = int(now), 0
        for start in range(0, len(asked), NAMES_PER_MESSAGE):
            if self._unicasts >= MAX_UNICASTS:
                return DropReason.TOO_MANY_QUERIES
            self._unicasts += 1
            part = asked[start : start + NAMES_PER_MESSAGE]
            response = _legacy_response(part, query_id) if is_legacy else _unicast_response(part)
            self._transmits.append(Transmit(encode_message(response), local, source))
        return None

    def _multicast_due(self, now: float) -> None:
        for local in self._locals:
            due = [each for each in self._names.values() if local in each.tellings and each.tellings[local].is_due(now)]
            for registration in due:
                registration.tellings[local].record_told(now)
            self._multicast(due, HOST_TTL, local)

    def _say_goodbye(self, leaving: list[_Registration]) -> None:
        for local in self._locals:
            self._multicast([each for each in leaving if local in each.tellings], 0, local)

    def _multicast(self, registrations: Sequence[_Registration], ttl: int, local: Endpoint) -> None:
        """Send the records of names to everybody on a socket's link (RFC 6762 6.2: with the denials as additionals)."""
        for start in range(0, len(registrations), NAMES_PER_MESSAGE):
            pairs = [each.records(ttl) for each in registrations[start : start + NAMES_PER_MESSAGE]]
            answers, denials = (tuple(records) for records in zip(*pairs, strict=True))
            response = Message(is_response=True, answers=answers, additionals=denials)
            self._transmits.append(Transmit(encode_message(response), local, group_of(local)))


def _unicast_response(asked: list[tuple[Question, _Registration]]) -> Message:
    """Answer with what was asked for, or its denial; the other record comes along (RFC 6762 6.1, 6.2)."""
    pairs = [_in_order(question, registration, HOST_TTL, True) for question, registration in asked]
    answers, additionals = (tuple(dict.fromkeys(records)) for records in zip(*pairs, strict=True))
    rest = tuple(record for record in additionals if record not in answers)
    return Message(is_response=True, answers=answers, additionals=rest)


def _legacy_response(asked: list[tuple[Question, _Registration]], query_id: int) -> Message:
    """Answer a resolver that knows nothing of multicast: its id and questions repeated, short-lived (RFC 6762 6.7)."""
    pairs = [_in_order(question, registration, LEGACY_TTL, False) for question, registration in asked]
    return Message(
        id=query_id,
        is_response=True,
        questions=tuple(question for question, _ in asked),
        answers=tuple(dict.fromkeys(first for first, _ in pairs)),
    )


def _in_order(question: Question, registration: _Registration, ttl: int, is_unique: bool) -> tuple[Record, Record]:
    record, denial = registration.records(ttl, is_unique)
    return (record, denial) if registration.fits(question) else (denial, record)
