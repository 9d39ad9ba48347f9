"""What `share` and `join` show while they run: JSON lines on stdout, or a story on stderr."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from p2ptun.cli.qr import STYLE, draw_qr
from p2ptun.cli.rendezvous_options import Places
from p2ptun.cli.text import duration, fold, milliseconds, print_line, size, talk_console
from p2ptun.daemon.event import (
    AnswerEvent,
    ClosedEvent,
    CodeEvent,
    ErrorEvent,
    Event,
    GatheredEvent,
    GatheringEvent,
    InterfaceEvent,
    MeetingEvent,
    NetworkEvent,
    OfferEvent,
    PathEvent,
    PeerEvent,
    ProgressEvent,
    ReachingEvent,
    ResumedEvent,
    VerifyEvent,
    WaitingEvent,
    encode_event,
)
from p2ptun.node.event import FailureReason
from p2ptun.signal.description import Kind
from p2ptun.signal.text import printable

ADVICE = {
    Kind.OFFER: "Give that line to the other side, where it goes to [bold]p2ptun join[/].\n"
    "Whoever can change it on its way can pose as the other side: send it\n"
    "over a channel you trust, or use --psk-file on both sides.",
    Kind.ANSWER: "Give that line back to the side that shared; it is waiting for it.",
}
QUESTIONS = {
    "offer": "Paste here the line that the other side printed, then press Enter:",
    "answer": "Then paste here the line that it prints, and press Enter:",
}
CODE_ADVICE = """On the other side run:

    [bold]{command}[/]
"""
CODE_CAUTION = (
    "The code is good for one try, of one machine. Whoever hears of it before can take the other side's place: tell "
    "nobody else."
)
USUAL_ADVICE = "Where the other side hasn't set the same rendezvous, add {options}."
COMPARISON = r"Does the other side show the same words? [bold]\[yes/no][/]"
SWITCHES = {
    ("relay", "direct"): "The relay isn't needed any more; it stands by.",
    ("direct", "relay"): "The direct path is lost: a relay carries the traffic until there is one again.",
}
"""What it means when a path of one kind takes over from the other."""

STORY_WIDTH = 11


class View(Protocol):
    """Something that shows events to somebody."""

    def show(self, event: Event) -> None: ...

    def show_blob(self, blob: str) -> None: ...

    def meet_at(self, places: Places) -> None: ...

    def close(self) -> None: ...


class JsonView:
    """Every event as one line of JSON on stdout; errors on stderr as well, for the person who reads the log."""

    def __init__(self, kind: Kind) -> None:
        """Show the events of the side that sends an offer or an answer."""
        self._blob_event = OfferEvent if kind is Kind.OFFER else AnswerEvent

    def show(self, event: Event) -> None:
        """Print the event. Raises P2ptunError when nobody takes it."""
        print_line(encode_event(event))

    def show_blob(self, blob: str) -> None:
        """Print a blob as an event. Raises P2ptunError when nobody takes it."""
        self.show(self._blob_event(blob))

    def meet_at(self, places: Places) -> None:
        """Take note; programs know already."""

    def close(self) -> None:
        """Nothing is left open."""


class Story:
    """The events as a person wants to read them, on stderr; codes and blobs alone go to stdout."""

    def __init__(self, kind: Kind, draws_qr: bool = False) -> None:
        """Tell the story of the side that sends an offer or an answer, with QR codes if wanted."""
        self._console: Console = talk_console()
        self._spinner: Status | None = None
        self._advice = ADVICE[kind]
        self._draws_qr = draws_qr and self._console.is_terminal
        self._places = Places()
        self._is_awaiting = False
        self._state = ""
        self._kind = ""

    def show(self, event: Event) -> None:
        """Tell the event, if it is worth telling."""
        match event:
            case GatheringEvent():
                self._spin(_gathering(event))
            case GatheredEvent():
                self._tell("gathered", _gathered(event))
                self._wait()
            case WaitingEvent(kind=kind):
                self._console.print(QUESTIONS[kind])
            case ReachingEvent():
                self._spin(f"reaching    {escape(printable(', '.join(event.rendezvous)))}")
            case CodeEvent(code=code):
                self._show_code(code)
            case MeetingEvent():
                self._is_awaiting = False
                self._tell("meeting", "somebody has come; checking the code")
            case VerifyEvent(words=words):
                self._tell("verify", " ".join(words))
                self._console.print(COMPARISON)
            case ProgressEvent(heard=False):
                self._spin(f"waiting     for the other side{'' if self._places.have_rooms else ' to take that line'}")
            case ProgressEvent():
                self._spin(f"checking    {event.done} of {event.total} pairs")
            case PathEvent():
                self._tell_path(event)
            case PeerEvent():
                self._tell_peer(event)
            case InterfaceEvent():
                self._tell(event.name, _interface(event))
            case NetworkEvent():
                self._tell("network", _network(event))
            case ResumedEvent(seconds=seconds):
                self._tell("resumed", f"after standing still for {duration(seconds)}")
            case ClosedEvent():
                self._tell_end(event)
            case ErrorEvent():
                what, style = ("failed", "bold red") if self._state == "failed" else ("note", "yellow")
                self._tell(what, f"{event.message}\n{event.remedy}", style)

    def show_blob(self, blob: str) -> None:
        """Print a blob to stdout, and on stderr what to do with it. Raises P2ptunError when nobody takes it."""
        self._stop_spinner()
        print_line(blob)
        self._console.print(self._advice)
        self._draw(blob)

    def meet_at(self, places: Places) -> None:
        """Take note of where the two sides meet: a code is of no use to who doesn't know it."""
        self._places = places

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._stop_spinner()

    def _show_code(self, code: str) -> None:
        """Print a code to stdout, and on stderr what to do with it. Raises P2ptunError when nobody takes it."""
        self._stop_spinner()
        print_line(code)
        command = self._places.command(code)
        self._console.print(CODE_ADVICE.format(command=escape(command)))
        self._console.print(escape(fold(self._console, CODE_CAUTION)))
        if self._places.are_usual:
            self._console.print(escape(fold(self._console, USUAL_ADVICE.format(options=self._places.options()))))
        self._draw(command)
        self._is_awaiting = True
        self._wait()

    def _wait(self) -> None:
        """Show that it is the other side's turn, if it is."""
        if self._is_awaiting:
            self._spin("waiting     for the other side")

    def _draw(self, text: str) -> None:
        """Draw a text as a QR code, if that is wanted."""
        if not self._draws_qr:
            return
        drawing = draw_qr(text, self._console.width)
        if drawing is None:
            self._tell(
                "note", "That is too much for a QR code in this window.\nMake it wider, or copy the line.", "yellow"
            )
        else:
            self._console.print(Text(drawing, STYLE))

    def _tell(self, what: str, text: str, style: str = "bold") -> None:
        self._stop_spinner()
        lines = f"\n{' ' * STORY_WIDTH} ".join(
            fold(self._console, printable(line), STORY_WIDTH + 1) for line in text.split("\n")
        )
        self._console.print(f"[{style}]{escape(what):{STORY_WIDTH}}[/] {escape(lines)}")

    def _tell_end(self, event: ClosedEvent) -> None:
        if self._console.is_terminal:
            self._console.file.write("\r")  # over the ^C that the terminal shows
        carried = f"sent {size(event.tx_bytes)}, received {size(event.rx_bytes)}"
        self._tell("closed", f"after {duration(event.uptime_s)}; {carried}")

    def _tell_path(self, event: PathEvent) -> None:
        kinds = f"{event.local.type}/{event.remote.type}"
        what = "path" if event.setup_ms is None else "connected"
        times = [] if event.setup_ms is None else [f"set up in {event.setup_ms:.0f} ms"]
        times += [] if event.rtt_ms is None else [f"round trip {milliseconds(event.rtt_ms)}"]
        over = f"{event.server} ({event.server_transport})" if event.server else f"{event.remote} ({kinds})"
        lines = [f"{event.kind} {over}", ", ".join(times), SWITCHES.get((self._kind, event.kind), "")]
        self._kind = event.kind
        self._tell(what, "\n".join(filter(None, lines)), style="bold green")
        if event.setup_ms is not None and self._console.is_terminal:
            self._console.print("Ctrl-C closes the tunnel.", style="dim")

    def _tell_peer(self, event: PeerEvent) -> None:
        """Tell what a person can see the reason of; a failure is told by the error that follows, with its remedy."""
        before, self._state = self._state, event.state
        match event.state:
            case "suspect":
                self._tell("suspect", "nothing comes back from the other side; checking the path", style="yellow")
            case "failed" if event.reason == FailureReason.PEER_CLOSED.value:
                self._tell("goodbye", event.reason)
            case "connecting" if before:
                self._state = "lost"
                if event.reason:
                    self._tell("lost", f"{event.reason}; trying on", style="yellow")
            case "connected" if before in ("suspect", "lost"):
                self._tell("recovered", "the path works again", style="bold green")

    def _spin(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        if self._spinner is None:
            self._spinner = self._console.status(text)
            self._spinner.start()
        else:
            self._spinner.update(text)

    def _stop_spinner(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None


def _gathering(event: GatheringEvent) -> str:
    asked = [_count(event.servers, "server")] * bool(event.servers) + [_count(event.relays, "relay")] * bool(
        event.relays
    )
    if not event.relays:
        return "gathering   what this machine's addresses look like from outside"
    return f"gathering   asking {' and '.join(asked)}"


def _gathered(event: GatheredEvent) -> str:
    lines = [_count(event.hosts, "address") + " of this machine"] * bool(event.hosts or not event.relays)
    if event.reflexive:
        lines.append(f"seen from outside as {', '.join(event.reflexive)}")
    if event.relays:
        lines.append(f"relay {', '.join(event.relays)}")
    elif event.relay_servers:
        lines.append("no relay has given an address yet")
    elif not event.servers and not event.reflexive:
        lines.append("behind a NAT that isn't enough: give both sides a --stun server")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    """Write how many there are."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith("s") else f"{number} {noun}s"


def _network(event: NetworkEvent) -> str:
    """Say in one line what is different, what came before what went."""
    news = [f"{each.interface} gained {each.address}" for each in event.gained]
    news += [f"{each.interface} lost {each.address}" for each in event.lost]
    away = dict.fromkeys(each.interface for each in event.interrupted)
    news += [f"{interface} was away for a moment" for interface in away]
    if not news:
        news = [f"the way out is {', '.join(event.default_routes)}" if event.default_routes else "no way out any more"]
    return f"changed: {', '.join(news)}"


def _interface(event: InterfaceEvent) -> str:
    there = [address.split("/")[0] for address in event.peer_addresses]
    lines = [f"{', '.join(event.addresses)}, mtu {event.mtu}", f"other side: {', '.join(there)}"]
    networks = [route for route in event.routes if route.split("/")[0] not in there]
    return "\n".join(lines + [f"behind it: {', '.join(networks)}"] * bool(networks))
