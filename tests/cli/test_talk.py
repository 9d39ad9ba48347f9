"""The story of a tunnel, event by event: on a terminal, in a log, and as JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from p2ptun.cli import talk
from p2ptun.cli.qr import draw_qr
from p2ptun.cli.rendezvous_options import Places
from p2ptun.cli.talk import ADVICE, QUESTIONS, JsonView, Story
from p2ptun.daemon.event import (
    AddressPlace,
    CandidateEvent,
    ClosedEvent,
    CodeEvent,
    ErrorEvent,
    Event,
    GatheredEvent,
    GatheringEvent,
    InterfaceEvent,
    MeetingEvent,
    NetworkEvent,
    PathEnd,
    PathEvent,
    PeerEvent,
    ProgressEvent,
    ReachingEvent,
    RelayEvent,
    ResumedEvent,
    VerifyEvent,
    WaitingEvent,
)
from p2ptun.node.event import FailureReason
from p2ptun.signal.description import Kind

EVIL = "a\x1b]0;pwned\x07b\u202ec[bold]d[/]"
HOST, SEEN = PathEnd("host", "udp", "10.0.0.2", 1), PathEnd("srflx", "udp", "2001:db8::7", 41641)
FIRST = PathEvent("peer", "direct", HOST, SEEN, 4.1, 1400, 312.4)
LATER = PathEvent("peer", "relay", HOST, HOST, None, 1400, None)

RELAYED = PathEvent("peer", "relay", HOST, HOST, 38.2, 1400, 99.0, "turn.example.net:443", "tls")


class Told:
    """A story and the screen it is told on."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, terminal: bool, draws_qr: bool = False, width: int = 200
    ) -> None:
        self.screen = io.StringIO()
        console = Console(file=self.screen, force_terminal=terminal, highlight=False, soft_wrap=True, width=width)
        monkeypatch.setattr(talk, "talk_console", lambda: console)
        self.story = Story(Kind.ANSWER, draws_qr)

    def tell(self, *events: Event) -> str:
        """Show events and return what they added to the screen."""
        before = len(self.screen.getvalue())
        for event in events:
            self.story.show(event)
        return self.screen.getvalue()[before:]


def is_spinning(told: Told) -> bool:
    return told.story._spinner is not None


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch, terminal=False)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (GatheringEvent(1), ""),
        (GatheredEvent(1, [], 1), "gathered 1 address of this machine"),
        (GatheredEvent(1, []), "gathered 1 address of this machine | give both sides a --stun server"),
        (
            GatheredEvent(2, ["203.0.113.7:1"]),
            "gathered 2 addresses of this machine | seen from outside as 203.0.113.7:1",
        ),
        (
            InterfaceEvent("p2ptun0", ["10.77.0.1/31"], 1400, ["10.77.0.2/31", "fd::2/127"]),
            "p2ptun0 10.77.0.1/31, mtu 1400 | other side | 10.77.0.2 | fd::2",
        ),
        (
            InterfaceEvent("p2ptun0", [], 1400, ["10.9.0.2/24"], ["10.9.0.2/32", "192.168.1.0/24", "fd05::/64"]),
            "other side: 10.9.0.2 | behind it: 192.168.1.0/24, fd05::/64",
        ),
        (FIRST, "connected | direct [2001:db8::7]:41641 (host/srflx) | 4.1 ms | 312 ms"),
        (LATER, "path | relay 10.0.0.2:1 (host/host)"),
        (
            GatheredEvent(1, ["203.0.113.7:1"], 1, ["turn.example.net:443 (tls)"], 1),
            "gathered 1 address of this machine | from outside as 203.0.113.7:1 | relay turn.example.net:443 (tls)",
        ),
        (GatheredEvent(0, [], 0, ["turn:1 (udp)"], 1), "gathered relay turn:1 (udp)"),
        (GatheredEvent(1, [], 1, [], 1), "gathered 1 address of this machine | no relay has given an address yet"),
        (RELAYED, "connected | relay turn.example.net:443 (tls) | 38 ms"),
        (RelayEvent("turn.example.net:443", "tls", "192.0.2.1", 5, "ready"), ""),
        (ClosedEvent(61.0, 2048, 5), "closed after 1m1s | sent 2.0 KiB, received 5 B"),
        (ErrorEvent("It is so.", "Do this."), "note It is so. | Do this."),
        (PeerEvent("peer", "connecting", None), ""),
        (PeerEvent("peer", "connected", None), ""),
        (PeerEvent("peer", "idle", None), ""),
        (PeerEvent("peer", "failed", FailureReason.PEER_CLOSED.value), f"goodbye {FailureReason.PEER_CLOSED.value}"),
        (ReachingEvent(["https://rv.example.net"]), ""),
        (MeetingEvent(), "meeting somebody has come; checking the code"),
        (VerifyEvent(["one", "two"]), "verify one two | Does the other side show the same words? [yes/no]"),
        (CandidateEvent("local", "host", "udp", "10.0.0.1", 1), ""),
        (ProgressEvent(1, 2), ""),
        (ProgressEvent(0, 2, heard=False), ""),
    ],
)
def test_a_log_gets_plain_lines(told: Told, event: Event, line: str) -> None:
    shown = told.tell(event)
    assert "\x1b" not in shown
    words = " ".join(shown.split())
    assert [part for part in line.split(" | ") if part not in words] == []
    assert bool(words) == bool(line)


@pytest.mark.parametrize("kind", ["offer", "answer"])
def test_a_question_is_asked_when_something_is_awaited(told: Told, kind: str) -> None:
    assert told.tell(WaitingEvent(kind)).startswith(QUESTIONS[kind].split("[")[0][:20])


def test_suspicion_and_recovery_are_told_in_pairs(told: Told) -> None:
    assert told.tell(PeerEvent("peer", "suspect", None)).startswith("suspect ")
    assert told.tell(PeerEvent("peer", "connected", None)).startswith("recovered ")
    assert told.tell(PeerEvent("peer", "connected", None)) == ""


def test_a_loss_is_told_with_its_reason_and_so_is_its_end(told: Told) -> None:
    assert told.tell(PeerEvent("peer", "connecting", None)) == "", "so it begins"
    assert told.tell(PeerEvent("peer", "connected", None)) == ""
    assert told.tell(PeerEvent("peer", "connecting", "it went")).split() == ["lost", "it", "went;", "trying", "on"]
    assert told.tell(PeerEvent("peer", "connected", None)).startswith("recovered ")
    assert told.tell(PeerEvent("peer", "connected", None)) == ""


@pytest.mark.parametrize("before", ["connected", "suspect", "connecting"])
def test_the_end_of_a_loss_is_told_when_the_network_was_the_reason(told: Told, before: str) -> None:
    told.tell(PeerEvent("peer", before, None), PeerEvent("peer", "connecting", None))
    assert told.tell(PeerEvent("peer", "connected", None)).startswith("recovered ")


WIFI, WIRE = AddressPlace("wlan0", "192.168.7.3"), AddressPlace("eth0", "192.168.1.10")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (NetworkEvent([WIFI], [], [], []), "wlan0 gained 192.168.7.3"),
        (NetworkEvent([WIFI], [WIRE], [], []), "wlan0 gained 192.168.7.3, eth0 lost 192.168.1.10"),
        (NetworkEvent([], [], [WIRE, WIRE], []), "eth0 was away for a moment"),
        (NetworkEvent([], [], [], ["eth0 by 192.168.1.1", "wlan0"]), "the way out is eth0 by 192.168.1.1, wlan0"),
        (NetworkEvent([], [], [], []), "no way out any more"),
    ],
)
def test_a_network_that_changes_is_told_in_one_line(told: Told, event: NetworkEvent, text: str) -> None:
    assert told.tell(event) == f"network     changed: {text}\n"


def test_waking_up_is_told(told: Told) -> None:
    assert told.tell(ResumedEvent(3700.4)).split() == ["resumed", "after", "standing", "still", "for", "1h1m"]


def test_a_failure_is_told_once_with_its_remedy(told: Told) -> None:
    shown = told.tell(PeerEvent("peer", "failed", "why"), ErrorEvent("Why.", "Remedy."))
    assert shown.split() == ["failed", "Why.", "Remedy."]


@pytest.mark.parametrize(
    "event", [ErrorEvent(EVIL, EVIL), InterfaceEvent("p2ptun0", [EVIL], 1, [EVIL]), GatheredEvent(1, [EVIL])]
)
@pytest.mark.parametrize("terminal", [False, True])
def test_text_from_afar_commands_no_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool, event: Event) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Told(monkeypatch, terminal).tell(event)
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "\x1b]" not in shown
    assert "[bold]d[/]" in shown


def test_a_terminal_gets_colours_a_spinner_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    told = Told(monkeypatch, terminal=True)
    told.tell(GatheringEvent(2))
    assert is_spinning(told)
    told.tell(GatheredEvent(1, [], 2))
    assert not is_spinning(told)
    told.tell(ProgressEvent(1, 9))
    told.tell(ProgressEvent(2, 9))
    assert is_spinning(told)
    shown = told.tell(FIRST)
    assert not is_spinning(told), "a line ends the spinner"
    assert "\x1b[" in shown
    assert "Ctrl-C closes the tunnel." in shown
    told.tell(ProgressEvent(3, 9))
    told.story.close()
    told.story.close()
    assert not is_spinning(told)
    assert told.screen.getvalue().count("\x1b[?25h") >= 1, "the cursor is back"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in Told(monkeypatch, terminal=True).tell(FIRST, ErrorEvent("a", "b"))


def test_the_blob_alone_goes_to_stdout(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    told.tell(ProgressEvent(0, 1))
    told.story.show_blob("p2ptun1-blob")
    assert capsys.readouterr().out == "p2ptun1-blob\n"
    assert told.screen.getvalue() == ADVICE[Kind.ANSWER] + "\n"


@pytest.mark.parametrize("kind", Kind)
def test_json_is_one_object_a_line(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView(kind)
    view.show(FIRST)
    view.show(ErrorEvent("a\nb", ""))
    view.show_blob("x")
    view.close()
    captured = capsys.readouterr()
    assert [json.loads(line)["event"] for line in captured.out.splitlines()] == ["path", "error", kind.value]
    assert captured.out.splitlines()[-1] == f'{{"event":"{kind.value}","blob":"x"}}'
    assert captured.err == ""


def test_the_change_from_a_relay_and_back_is_told_in_a_sentence(told: Told) -> None:
    direct = PathEvent("peer", "direct", HOST, SEEN, 4.1, 1400, None)
    assert "relay" not in told.tell(direct)
    assert "a relay carries the traffic until there is one again" in told.tell(RELAYED)
    assert "carries" not in told.tell(LATER), "it went from one relay to another"
    assert "isn't needed any more" in told.tell(direct)


def test_who_is_asked_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    told = Told(monkeypatch, terminal=True)
    for event, text in (
        (GatheringEvent(1, 2), "asking 1 server and 2 relays"),
        (GatheringEvent(0, 1), "asking 1 relay"),
        (GatheringEvent(2), "addresses look like from outside"),
        (ReachingEvent(["https://a.example", "https://b.example"]), "reaching    https://a.example, https://b.example"),
    ):
        told.tell(event)
        assert told.story._spinner is not None
        assert text in str(told.story._spinner.status)
    told.story.close()


# Codes

URL, CODE = "https://rv.example.net", "42-amber-tiger-lamp"
NAMED = Places((URL,), are_usual=False)


def test_the_code_alone_goes_to_stdout_and_the_command_to_stderr(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    told.story.meet_at(NAMED)
    shown = told.tell(CodeEvent(CODE))
    assert capsys.readouterr().out == f"{CODE}\n"
    assert f"\n    p2ptun join --rendezvous {URL} {CODE}\n" in shown
    assert "the same rendezvous" not in shown


def test_in_a_narrow_window_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    told = Told(monkeypatch, terminal=True, width=40)
    shown = told.tell(CodeEvent(CODE))
    told.story.close()
    caution = shown[shown.index("The code is good") : shown.index("else.")]
    assert max(map(len, caution.splitlines())) <= 40
    assert "of one machine." in " ".join(caution.split())


def test_where_the_rendezvous_is_usual_the_command_is_short(told: Told) -> None:
    told.story.meet_at(Places((URL,), are_usual=True))
    shown = told.tell(CodeEvent(CODE))
    assert f"\n    p2ptun join {CODE}\n" in shown
    assert f"hasn't set the same rendezvous, add --rendezvous {URL}." in shown.partition(CODE)[2]


def test_who_waits_is_told_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for places, text in ((NAMED, "for the other side"), (Places(), "for the other side to take that line")):
        told = Told(monkeypatch, terminal=True)
        told.story.meet_at(places)
        told.tell(ProgressEvent(0, 2, heard=False))
        assert told.story._spinner is not None
        assert str(told.story._spinner.status).rstrip().endswith(text)
        told.story.close()


def test_a_terminal_shows_that_it_waits_for_who_has_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    told = Told(monkeypatch, terminal=True)
    told.story.meet_at(NAMED)
    told.tell(CodeEvent(CODE))
    assert is_spinning(told)
    told.tell(MeetingEvent())
    assert not is_spinning(told)
    told.story.close()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_qr_code_is_drawn_where_somebody_can_see_it(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    told = Told(monkeypatch, terminal, draws_qr=True, width=80)
    told.story.meet_at(NAMED)
    told.tell(CodeEvent(CODE))
    told.story.show_blob("p2p1" + "x" * 280)
    told.story.close()
    for text in (f"p2ptun join --rendezvous {URL} {CODE}", "p2p1" + "x" * 280):
        drawing = draw_qr(text, 80)
        assert drawing is not None
        assert (drawing in told.screen.getvalue()) is terminal


def test_what_fits_no_qr_code_is_said_and_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch, terminal=True, draws_qr=True, width=60)
    told.story.show_blob("p2p1" + "x" * 280)
    assert "too much for a QR code in this window" in " ".join(told.screen.getvalue().split())


def test_programs_get_code_and_words_as_events(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView(Kind.OFFER)
    view.meet_at(NAMED)
    for event in (CodeEvent(CODE), MeetingEvent(), VerifyEvent(["one", "two"])):
        view.show(event)
    assert capsys.readouterr().out.splitlines() == [
        f'{{"event":"code","code":"{CODE}"}}',
        '{"event":"meeting"}',
        '{"event":"verify","words":["one","two"]}',
    ]
