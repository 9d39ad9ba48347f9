"""A STUN server made from our own core."""

from __future__ import annotations

from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit


class StunServer:
    """Answers binding requests with the address they came from; a slow one does so after `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.answered = 0
        self._due_by = 0.0
        self._answers: list[tuple[float, Transmit]] = []

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Prepare an answer."""
        reply = encode_message(success_response(decode_message(data), (XOR_MAPPED_ADDRESS, source)))
        self._answers.append((now + self.delay, Transmit(reply, local, source)))
        self._due_by = now

    def handle_timeout(self, now: float) -> None:
        """Let answers go whose time has come."""
        self._due_by = now

    def next_transmit(self) -> Transmit | None:
        """Give an answer that is due."""
        if self._answers and self._answers[0][0] <= self._due_by:
            self.answered += 1
            return self._answers.pop(0)[1]
        return None

    def next_timeout(self) -> float | None:
        """Tell when the next answer is due."""
        return self._answers[0][0] if self._answers else None
