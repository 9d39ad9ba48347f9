"""Tells the service manager what the server's events say, as systemctl status shows it (sd_notify(3))."""

from __future__ import annotations

from p2ptun.io.notify import notify_ready, notify_status
from p2ptun.server.event import Event, ReadyEvent, RoomsEvent


def herald(event: Event) -> None:
    """Hand on what a manager wants to know of an event; most are nothing to it."""
    match event:
        case ReadyEvent():
            offers = {"rooms": bool(event.store), "STUN": event.has_stun, "a relay": bool(event.relay_addresses)}
            notify_ready(f"serving {', '.join(name for name, is_there in offers.items() if is_there)}")
        case RoomsEvent():
            notify_status(f"rooms: {event.numbered} with a number, {event.named} with a name; waiting: {event.waiting}")
