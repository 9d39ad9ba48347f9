"""What `p2ptun serve` shows while it runs: JSON lines on stdout, or a story on stderr."""

from __future__ import annotations

from rich.markup import escape

from p2ptun.cli.text import duration, print_line, size, talk_console
from p2ptun.server.event import (
    AllocationEvent,
    ClosedEvent,
    ErrorEvent,
    Event,
    ListeningEvent,
    ReadyEvent,
    RefusedEvent,
    ReloadedEvent,
    RoomsEvent,
    SkippedEvent,
    encode_event,
)
from p2ptun.signal.text import printable
from p2ptun.stun.error import Code

WIDTH = 10
DROPS_TOLD = 5
STORES = {"memory": "memory", "sqlite": "SQLite", "redis": "Redis"}


class ServeView:
    """Shows events to a program, or to a person."""

    def __init__(self, is_json: bool) -> None:
        self.is_json = is_json
        self._console = talk_console()

    def show(self, event: Event) -> None:
        """Print the event. Raises P2ptunError when nobody takes it."""
        if self.is_json:
            print_line(encode_event(event))
            return
        match event:
            case ListeningEvent(transport=transport, address=address, port=port):
                self._tell(transport, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
            case ReadyEvent():
                self._tell("serving", _offered(event), "bold green")
                if self._console.is_terminal:
                    self._console.print("Ctrl-C ends it.", style="dim")
            case AllocationEvent(state="made"):
                self._tell("allocated", f"{', '.join(event.relayed)} for {event.client} ({_who(event)})")
            case AllocationEvent():
                carried = f"{event.reason}; relayed {size(event.bytes)}"
                self._tell("released", f"{', '.join(event.relayed)} of {event.client}: {carried}")
            case RefusedEvent(code=Code.FORBIDDEN):
                pass  # clients ask for all addresses that their peers told, those at home included: --json has them
            case RefusedEvent():
                problem = f"{event.method}: {event.code} {event.reason}"
                self._tell("refused", f"{event.client} ({_who(event)}): {problem}", "yellow")
            case RoomsEvent():
                self._tell("rooms", _rooms(event))
            case SkippedEvent(count=count):
                self._tell("skipped", f"{count} more of these", "yellow")
            case ReloadedEvent():
                self._tell("reloaded", "the certificate")
            case ErrorEvent(message=message, remedy=remedy):
                self._tell("note", f"{message} {remedy}", "yellow")
            case ClosedEvent():
                self._close(event)

    def _close(self, event: ClosedEvent) -> None:
        if self._console.is_terminal:
            self._console.file.write("\r")  # over the ^C that the terminal shows
        self._tell("closed", f"after {duration(event.uptime_s)}; relayed {size(event.bytes)}")
        most = sorted(event.drops.items(), key=lambda item: -item[1])[:DROPS_TOLD]
        if most:
            self._tell("dropped", ", ".join(f"{reason}: {count}" for reason, count in most))

    def _tell(self, what: str, text: str, style: str = "bold") -> None:
        self._console.print(f"[{style}]{escape(what):{WIDTH}}[/] {escape(printable(text))}")


def _offered(event: ReadyEvent) -> str:
    """Say in a line what clients get."""
    services = [f"rooms, kept in {STORES[event.store]}"] if event.store else []
    if event.has_stun:
        services.append("STUN with the behaviour of NATs (RFC 5780)" if event.has_behaviour else "STUN")
    if event.relay_addresses:
        ports = f"ports {event.lowest_port}-{event.highest_port}"
        services.append(f"TURN from {', '.join(event.relay_addresses)}, {ports}")
    return "; ".join(services)


def _rooms(event: RoomsEvent) -> str:
    """Say in a line how busy it is."""
    counts = (
        f"{event.numbered} with numbers, {event.named} with names; {event.waiting} polls, {event.messages} messages"
    )
    refused = ", ".join(f"{problem}: {count}" for problem, count in sorted(event.refused.items()))
    return f"{counts}; refused {refused}" if refused else counts


def _who(event: AllocationEvent | RefusedEvent) -> str:
    return f"{event.user or 'unknown'}, {event.transport}"
