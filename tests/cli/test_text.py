"""Numbers and times in the words of people; consoles that know when to be plain."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from p2ptun.cli.text import duration, fold, milliseconds, print_error, size, talk_console
from p2ptun.errors import P2ptunError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (41.9, "41 s"),
        (60, "1m0s"),
        (192, "3m12s"),
        (11520, "3h12m"),
        (86400, "1d0h"),
        (190800, "2d5h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (13002342, "12.4 MiB"),
        (1181116006, "1.1 GiB"),
        (1 << 42, "4.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "? ms"), (4.1, "4.1 ms"), (0.05, "0.05 ms"), (38.4, "38 ms"), (1234.5, "1234 ms")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


def test_talk_goes_to_stderr_without_colour_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    talk_console().print("[bold red]x[/] " + "long " * 60)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "x " + "long " * 60 + "\n", "no colour, no wrapping"


def test_lines_break_between_words_on_a_terminal_only() -> None:
    line = "alpha beta-gamma delta epsilon zeta eta theta"
    screen = Console(force_terminal=True, width=36)
    assert fold(screen, line, 4) == "alpha beta-gamma delta epsilon\n    zeta eta theta"
    assert fold(Console(force_terminal=False, width=36), line, 4) == line


def test_an_error_keeps_its_words_whole_in_a_narrow_window(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(
        "p2ptun.cli.text.talk_console",
        lambda: Console(file=screen, force_terminal=True, color_system=None, soft_wrap=True, width=40),
    )
    print_error(
        P2ptunError("The words [don't] belong together in this code.", "Compare them with what is shown there.")
    )
    assert screen.getvalue() == (
        "p2ptun: The words [don't] belong\ntogether in this code.\n  Compare them with what is shown there.\n"
    )
