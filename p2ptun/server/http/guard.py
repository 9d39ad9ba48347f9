"""What one address may do, all its limits together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from p2ptun.server.http.limit import Buckets, site_of
from p2ptun.server.http.options import HttpLimits
from p2ptun.server.http.problem import Slug, retry
from p2ptun.server.http.tenancy import Tenancy
from p2ptun.server.store.base import is_numbered
from p2ptun.types import IPAddress

MINUTE: Final = 60.0
NAMED_SHARE: Final = 10
"""Named rooms per numbered room of an address: a gateway's daemon has one for each of its peers, all the time."""

MISS_COST: Final = 9
"""What it costs besides to ask for a room that isn't there, or is taken: numbers are few, and who tries them all
would come into every room before the one for whom it was opened."""

SITE_SHARE: Final = 16
"""Addresses of an IPv6 /48 that may use up what they have of rooms to open or join; with all, one could fill us."""

SWEEP_EVERY: Final = 1024
"""Rooms begun between two looks for those that are over."""


class Guard:
    """Says no to addresses that ask for too much; `clock` tells monotonic seconds."""

    def __init__(self, limits: HttpLimits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._requests = Buckets(limits.address_requests / MINUTE, limits.address_requests)
        self._entries = Buckets(limits.address_entries / MINUTE, limits.address_entries)
        most = limits.address_entries * SITE_SHARE
        self._site_entries = Buckets(most / MINUTE, most, place_of=site_of)
        self._numbered = Tenancy(limits.address_rooms)
        self._named = Tenancy(limits.address_rooms * NAMED_SHARE)
        self._begun = 0

    def admit_request(self, client: IPAddress) -> None:
        """Count a request. Raises Problem when there were too many."""
        wait = self._requests.take(client, self._clock())
        if wait:
            detail = "There were too many requests from this address."
            raise retry(Slug.TOO_MANY_REQUESTS, detail, "Ask less often, or run a server of your own.", wait)

    def admit_entry(self, client: IPAddress) -> None:
        """Count an attempt to open, join or enter a room. Raises Problem when there were too many."""
        now = self._clock()
        wait = self._entries.take(client, now) or self._site_entries.take(client, now)
        if wait:
            detail = "Too many rooms were opened or joined from this address."
            raise retry(Slug.TOO_MANY_REQUESTS, detail, "Wait, or run a server of your own.", wait)

    def note_miss(self, client: IPAddress) -> None:
        """Note that an address asked for a room that it can't join."""
        self._entries.charge(client, MISS_COST, self._clock())

    @contextmanager
    def tenant(self, client: IPAddress, room: str = "") -> Iterator[Callable[[str, float], None]]:
        """Keep a place for a room while it is opened or entered; what is yielded takes its name and lifetime.

        Raises:
            Problem: The address has too many.
        """
        tenancy = self._of(room) if room else self._numbered
        now = self._clock()
        wait = tenancy.wait(client, room, now)
        if wait:
            detail = "Too many rooms that still live were opened from this address."
            raise retry(Slug.TOO_MANY_ROOMS, detail, "End some of them first, or wait.", min(wait, MINUTE))
        held = f"? {self._begun}"
        self._begun += 1
        if self._begun % SWEEP_EVERY == 0:
            self._numbered.sweep(now)
            self._named.sweep(now)
        tenancy.begin(client, held, now + MINUTE)
        try:
            yield lambda name, ttl: tenancy.begin(client, name, self._clock() + ttl)
        finally:
            tenancy.end(held)

    def prolong(self, room: str, ttl: float) -> None:
        """Note a sign of life of a room."""
        self._of(room).prolong(room, self._clock() + ttl)

    def end(self, room: str) -> None:
        """Note that a room is over."""
        self._of(room).end(room)

    def _of(self, room: str) -> Tenancy:
        return self._numbered if is_numbered(room) else self._named
