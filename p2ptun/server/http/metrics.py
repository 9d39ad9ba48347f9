"""What Prometheus is told. Numbers only: no room, no address, no token."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from p2ptun.server.http.problem import Slug
    from p2ptun.server.rooms import Counts


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # of each counter, when it was: it has no annotations
        registry = self._registry = CollectorRegistry()
        self.rooms_opened = Counter("p2ptun_rooms_opened", "Numbered rooms opened here.", registry=registry)
        self.joins = Counter("p2ptun_joins", "Sides that came into a room here.", ["kind"], registry=registry)
        self.burns = Counter("p2ptun_burns", "Rooms that a side ended here.", ["reason"], registry=registry)
        self.messages = Counter("p2ptun_messages", "Messages taken here.", registry=registry)
        self.bytes = Counter("p2ptun_message_bytes", "Bytes of messages taken here.", registry=registry)
        self._refusals = Counter("p2ptun_refusals", "Requests refused, by problem.", ["problem"], registry=registry)
        self.requests = Counter(
            "p2ptun_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._refused: collections.Counter[str] = collections.Counter()
        self._rooms = Gauge("p2ptun_rooms", "Rooms that live, in the store.", ["kind"], registry=registry)
        self._waiting = Gauge("p2ptun_polls_waiting", "Polls that wait here.", registry=registry)
        self._store = Gauge("p2ptun_store_up", "Whether the store can be reached.", registry=registry)

    def carry(self, message: bytes) -> None:
        """Count a message that was taken; none is an empty one."""
        if message:
            self.messages.inc()
            self.bytes.inc(len(message))

    def refuse(self, slug: Slug) -> None:
        """Count a request that was refused."""
        self._refusals.labels(slug.value).inc()
        self._refused[slug.value] += 1

    def take_refused(self) -> dict[str, int]:
        """Return how many were refused since the last time, by problem."""
        refused, self._refused = self._refused, collections.Counter()
        return dict(refused)

    def observe(self, name: str, what: str, measure: Callable[[], float]) -> None:
        """Add a number that is looked up when it is asked for."""
        Gauge(name, what, registry=self._registry).set_function(measure)

    def write(self, counts: Counts | None) -> tuple[bytes, str]:
        """Write everything, and name the format; None when the store couldn't count."""
        self._store.set(counts is not None)
        if counts is not None:
            self._rooms.labels("numbered").set(counts.numbered)
            self._rooms.labels("named").set(counts.named)
            self._waiting.set(counts.waiting)
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
