"""One question to a server, asked several times: who answered which copy, and when.

RFC 8489 6.2.1 repeats a request for 39.5 s. Here a person waits, and silence is a result: so copies come quickly and
end soon, and each has a transaction ID of its own, which tells how many of them were answered and how fast.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2ptun.deadlines import earliest
from p2ptun.nat.drop import DropReason
from p2ptun.stun.attribute import AttributeValue
from p2ptun.stun.binding import Reflexive, Rejected, binding_request, read_binding_response
from p2ptun.stun.message import Message, MessageClass, TransactionId, encode_message, new_transaction_id
from p2ptun.types import Endpoint, RandomBytes, Transmit


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, from where, of whom, and where the answer has to come from and arrive.

    Attributes:
        base: The socket that asks.
        server: Who is asked.
        attributes: What the request carries.
        heard_at: The socket at which the answer arrives.
        heard_from: Who sends it; None when it is the request itself that comes back, from whatever address.
    """

    base: Endpoint
    server: Endpoint
    attributes: tuple[AttributeValue, ...]
    heard_at: Endpoint
    heard_from: Endpoint | None

    @classmethod
    def plain(cls, base: Endpoint, server: Endpoint, *attributes: AttributeValue) -> Question:
        """Ask what is answered by whom was asked, to whom has asked."""
        return cls(base, server, attributes, base, server)

    @property
    def is_plain(self) -> bool:
        """Tell whether the answer comes from whom was asked to whom has asked."""
        return (self.heard_at, self.heard_from) == (self.base, self.server)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how fast to ask, in seconds.

    Attributes:
        copies: At most.
        interval: From one to the next.
        grace: How long to wait for an answer after the last one.
        is_persistent: Whether to go on after an answer: it is the number of answers that counts.
    """

    copies: int
    interval: float
    grace: float
    is_persistent: bool = False


@dataclass(slots=True, eq=False)
class Probe:
    """A question on its way. It is over when it was answered (and isn't persistent), refused, ignored or given up.

    `mapped` is our address as the first answer tells it, `answered_first` whether the very first copy was answered:
    then it, and no later one, made the NAT's binding.
    """

    question: Question
    plan: Plan
    due_at: float | None
    ends_at: float | None = None
    asked: int = 0
    answered: int = 0
    answered_first: bool = False
    answer: Message | None = None
    mapped: Endpoint | None = None
    rtt: float | None = None
    refusal: int | None = None
    is_ignored: bool = False
    copies: dict[TransactionId, tuple[int, float]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is to come."""
        return self.due_at is None and self.ends_at is None

    def stop(self) -> None:
        """Ask no more, and take no more answers."""
        self.due_at = self.ends_at = None

    def wind_up(self, now: float) -> None:
        """Ask no more, and take answers for a last while."""
        if self.due_at is not None:
            self.due_at, self.ends_at = None, now + self.plan.grace

    def next_timeout(self) -> float | None:
        """Tell when the next copy is due, or when to give up."""
        return self.ends_at if self.due_at is None else self.due_at

    def record_asked(self, transaction_id: TransactionId, now: float) -> None:
        """Note that a copy is being sent."""
        self.copies[transaction_id] = self.asked, now
        self.asked += 1
        if self.asked < self.plan.copies:
            self.due_at = now + self.plan.interval
        else:
            self.due_at, self.ends_at = None, now + self.plan.grace

    def record_answered(self, copy: int, sent_at: float, message: Message, mapped: Endpoint | None, now: float) -> None:
        """Note a good answer."""
        self.answered += 1
        self.answered_first |= copy == 0
        if self.answer is None:
            self.answer, self.mapped, self.rtt = message, mapped, now - sent_at
        if not self.plan.is_persistent:
            self.stop()


class Exchange:
    """All probes of a machine: sends their copies, and finds whose answer it is that comes.

    `order` has every probe that was sent, in the order of its first copy: so NATs made their bindings.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._probes: list[Probe] = []
        self._waiting: dict[TransactionId, Probe] = {}
        self._transmits: deque[Transmit] = deque()
        self.order: list[Probe] = []

    @property
    def is_over(self) -> bool:
        """Tell whether no probe is on its way."""
        return all(probe.is_over for probe in self._probes)

    def ask(self, question: Question, plan: Plan, at: float) -> Probe:
        """Begin to ask at a time, which may be now or later."""
        probe = Probe(question, plan, at)
        self._probes.append(probe)
        return probe

    def stop(self) -> None:
        """End all probes."""
        for probe in self._probes:
            probe.stop()
        self._probes.clear()
        self._waiting.clear()

    def fail(self, base: Endpoint, destination: Endpoint) -> None:
        """End what can't be sent."""
        for probe in self._probes:
            if (probe.question.base, probe.question.server) == (base, destination):
                probe.stop()

    def receive(self, message: Message, source: Endpoint, base: Endpoint, now: float) -> DropReason | None:
        """Take in an answer, or a request of ours that came back. Untrusted; the transaction ID is all it has."""
        probe = self._waiting.get(message.transaction_id)
        if probe is None or probe.is_over or (probe.question.heard_from is None) == message.is_response:
            return DropReason.UNKNOWN_TRANSACTION
        question = probe.question
        if base not in (question.heard_at, question.base):
            return DropReason.UNEXPECTED_SOCKET
        if question.heard_from not in (None, source) or base != question.heard_at:
            # with CHANGE-REQUEST or RESPONSE-PORT: a server that doesn't know them, or refuses
            return self._receive_astray(probe, message, source, base)
        copy, sent_at = probe.copies[message.transaction_id]
        if question.heard_from is None:
            self._record(probe, copy, sent_at, message, None, now)
            return None
        result = read_binding_response(message)
        if isinstance(result, Reflexive) and _is_usable(result.endpoint, question.base):
            self._record(probe, copy, sent_at, message, result.endpoint, now)
        elif isinstance(result, Rejected):
            probe.refusal = result.code
            probe.stop()
        else:
            return DropReason.UNUSABLE
        return None

    def handle_timeout(self, now: float) -> None:
        """Send what is due, and give up what had its time."""
        for probe in sorted(self._probes, key=lambda each: each.due_at or 0.0):
            if probe.due_at is not None and probe.due_at <= now:
                self._send(probe, now)
            elif probe.due_at is None and probe.ends_at is not None and probe.ends_at <= now:
                probe.stop()
        for probe in [each for each in self._probes if each.is_over]:
            self._probes.remove(probe)
            for transaction_id in probe.copies:
                self._waiting.pop(transaction_id, None)

    def next_transmit(self) -> Transmit | None:
        """Give a copy to send."""
        return self._transmits.popleft() if self._transmits else None

    def next_timeout(self) -> float | None:
        """Tell when a probe has something to do."""
        return earliest(probe.next_timeout() for probe in self._probes)

    def _send(self, probe: Probe, now: float) -> None:
        if probe.asked == 0:
            self.order.append(probe)
        transaction_id = new_transaction_id(self._random_bytes)
        self._waiting[transaction_id] = probe
        probe.record_asked(transaction_id, now)
        payload = encode_message(binding_request(transaction_id, *probe.question.attributes))
        self._transmits.append(Transmit(payload, probe.question.base, probe.question.server))

    def _record(
        self, probe: Probe, copy: int, sent_at: float, message: Message, mapped: Endpoint | None, now: float
    ) -> None:
        del self._waiting[message.transaction_id]
        probe.record_answered(copy, sent_at, message, mapped, now)

    def _receive_astray(self, probe: Probe, message: Message, source: Endpoint, base: Endpoint) -> DropReason | None:
        """Take an answer of the asked server itself, to the socket that asked: the wish was not followed."""
        question = probe.question
        if source != question.server or base != question.base:
            return DropReason.UNEXPECTED_SOURCE
        if message.message_class is MessageClass.ERROR:
            result = read_binding_response(message)
            probe.refusal = result.code if isinstance(result, Rejected) else 0
        probe.is_ignored = True
        probe.stop()
        return None


def _is_usable(seen: Endpoint, base: Endpoint) -> bool:
    """Tell whether a server can honestly have seen `base` there."""
    address = seen.address
    is_nobody = seen.port == 0 or address.is_unspecified or address.is_multicast
    return not is_nobody and address.version == base.address.version
