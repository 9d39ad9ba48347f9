"""A host for the simulator's own tests, without any machine in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.types import Endpoint, SendError, Transmit


@dataclass(eq=False)
class Talker:
    """A host that says what it is told to, and keeps what it hears; it may answer."""

    answer: bytes | None = None
    timers: list[float] = field(default_factory=list)
    outbox: list[Transmit] = field(default_factory=list)
    heard: list[tuple[float, bytes, Endpoint]] = field(default_factory=list)
    woken: list[float] = field(default_factory=list)
    errors: list[SendError] = field(default_factory=list)

    def say(self, payload: bytes, source: Endpoint, destination: Endpoint) -> None:
        self.outbox.append(Transmit(payload, source, destination))

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        self.heard.append((now, data, source))
        if self.answer is not None and data != self.answer:
            self.say(self.answer, local, source)

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        self.errors.append(error)

    def handle_timeout(self, now: float) -> None:
        self.woken.append(now)
        self.timers = [at for at in self.timers if at > now]

    def next_transmit(self) -> Transmit | None:
        return self.outbox.pop(0) if self.outbox else None

    def next_timeout(self) -> float | None:
        return min(self.timers, default=None)

    @property
    def words(self) -> list[bytes]:
        return [word for _, word, _ in self.heard]

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.heard]
