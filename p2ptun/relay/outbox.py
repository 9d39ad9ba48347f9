"""What waits for the owner: answers, orders, events; and the counts of what got none."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from p2ptun.relay.event import DropReason, RelayEvent, RequestRefused
from p2ptun.relay.limiter import Limiter
from p2ptun.relay.order import Order
from p2ptun.stun.attribute import AttributeValue
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import Integrity
from p2ptun.stun.message import Message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit, Transport


@dataclass(frozen=True, slots=True)
class Exchange:
    """An authenticated request that is to be answered."""

    request: Message
    client: Endpoint
    local: Endpoint
    user: str
    integrity: Integrity


class Outbox:
    """Queues that the owner drains after each input: one input makes a few of each at most."""

    __slots__ = ("_limiter", "drops", "events", "orders", "refusals", "transmits")

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.transmits: deque[Transmit] = deque()
        self.orders: deque[Order] = deque()
        self.events: deque[RelayEvent] = deque()
        self.drops: Counter[DropReason] = Counter()
        self.refusals: Counter[int] = Counter()

    def drop(self, reason: DropReason, count: int = 1) -> None:
        """Count what gets no answer."""
        self.drops[reason] += count

    def answer_stranger(self, transmit: Transmit, asked: Endpoint, size: int, now: float) -> bool:
        """Answer a request of `size` bytes from `asked` that proved nothing; False when that was too much already.

        What counts is by how much the answer is longer: nobody forges a source to have less sent than he sends
        himself. Over a stream the client has shown that it receives there.
        """
        excess = max(0, len(transmit.payload) - size)
        if asked.transport is Transport.UDP and not self._limiter.take(asked.address, excess, now):
            self.drop(DropReason.RATE_LIMIT)
            return False
        self.transmits.append(transmit)
        return True

    def answer(self, exchange: Exchange, attributes: tuple[AttributeValue, ...]) -> None:
        """Answer a request with success."""
        self._answer(exchange, success_response(exchange.request, *attributes))

    def refuse(self, exchange: Exchange, code: Code, *attributes: AttributeValue) -> None:
        """Answer a request with an error, and tell the owner."""
        self._answer(exchange, error_response(exchange.request, code, *attributes))
        refused = RequestRefused(
            exchange.client, exchange.local, exchange.request.method, int(code), code.reason, exchange.user
        )
        self.record_refusal(refused)

    def record_refusal(self, refused: RequestRefused) -> None:
        """Tell the owner of a request that was refused."""
        self.refusals[refused.code] += 1
        self.events.append(refused)

    def _answer(self, exchange: Exchange, response: Message) -> None:
        payload = encode_message(response, exchange.integrity, exchange.request.has_fingerprint)
        self.transmits.append(Transmit(payload, exchange.local, exchange.client))
