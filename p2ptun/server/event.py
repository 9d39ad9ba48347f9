"""What a running server tells programs: one JSON object a line (`--json`). Fields are only ever added."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """The root of all events."""


class ListeningEvent(Event, frozen=True, tag="listening"):
    """Clients can come here. `transport` is udp, tcp or tls, and http or https for rooms."""

    transport: str
    address: str
    port: int


class ReadyEvent(Event, frozen=True, tag="ready"):
    """Everything that was asked for is there.

    `has_behaviour` tells whether clients can find out how their NAT behaves (RFC 5780). `relay_addresses` are empty
    without a relay. `has_stun` tells whether there is STUN at all, `store` where rooms are kept: memory, sqlite or
    redis, empty where there are none.
    """

    has_behaviour: bool
    relay_addresses: list[str]
    lowest_port: int
    highest_port: int
    has_stun: bool = True
    store: str = ""


class RoomsEvent(Event, frozen=True, tag="rooms"):
    """How many rooms live, how many polls wait, how many messages came here since the start; told when that changes.

    `refused` counts requests that were refused since the last such event, by the name of the problem.
    """

    numbered: int
    named: int
    waiting: int
    messages: int
    refused: dict[str, int]


class AllocationEvent(Event, frozen=True, tag="allocation"):
    """An allocation. `state` is made or ended; only what has ended has a reason, and a count of what it carried."""

    state: str
    transport: str
    client: str
    relayed: list[str]
    user: str
    reason: str | None = None
    packets: int = 0
    bytes: int = 0


class RefusedEvent(Event, frozen=True, tag="refused"):
    """A request got an error. `user` is empty where nobody proved who he is."""

    transport: str
    client: str
    method: str
    code: int
    reason: str
    user: str


class SkippedEvent(Event, frozen=True, tag="skipped"):
    """So many events weren't told: there were more than anybody reads."""

    count: int


class ReloadedEvent(Event, frozen=True, tag="reloaded"):
    """The certificate was read again (SIGHUP)."""


class ErrorEvent(Event, frozen=True, tag="error"):
    """Something went wrong, and what to do about it."""

    message: str
    remedy: str


class ClosedEvent(Event, frozen=True, tag="closed"):
    """The end: what was relayed, and what was dropped and why."""

    uptime_s: float
    packets: int
    bytes: int
    drops: dict[str, int]


def encode_event(event: Event) -> str:
    """Write an event as the one line of JSON it travels as, without the line's end."""
    return msgspec.json.encode(event).decode()
