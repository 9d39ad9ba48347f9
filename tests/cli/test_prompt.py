"""Asking for the code: at a real terminal, with TAB and Ctrl-C; and from a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from p2ptun.signal.code import draw_code
from tests.terminal import CTRL_C, CTRL_D, TAB, Terminal

pytest.importorskip("readline")
ROOT = Path(__file__).resolve().parents[2]
CODE = str(draw_code(42, lambda size: bytes(range(size))))
OTHER = str(draw_code(7, lambda size: bytes(size)))
PROGRAM = """
import atexit, os, sys, readline
from p2ptun.cli.prompt import ask_code
from p2ptun.errors import P2ptunError
readline.set_completer_delims("#")
atexit.register(lambda: print("after:", readline.get_completer(), readline.get_completer_delims(),
                              readline.get_current_history_length(), file=sys.stderr))
try:
    print("got", ask_code())
except P2ptunError as error:
    print(error, error.remedy, file=sys.stderr)
    sys.exit(2)
"""
Opener = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Opener]:
    """Open terminals in which somebody is asked for a code; descriptors may lead elsewhere."""
    opened: list[Terminal] = []

    def open_terminal(stdout: int | None = None, stderr: int | None = None) -> Terminal:
        def start(argv: Sequence[str], slave: int) -> subprocess.Popen[str]:
            return subprocess.Popen(
                argv,
                stdin=slave,
                stdout=slave if stdout is None else stdout,
                stderr=slave if stderr is None else stderr,
                cwd=ROOT,
                env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", "INPUTRC": "/dev/null"},
                text=True,
                start_new_session=True,
            )

        opened.append(Terminal(start, sys.executable, "-c", PROGRAM))
        return opened[-1]

    yield open_terminal
    for each in opened:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        each.close()


def test_a_code_is_typed_and_mistakes_are_explained(terminal: Opener) -> None:
    shown = terminal()
    shown.read_until("Code: ")
    for wrong in (b"42-amber", CODE.partition("-")[2].encode(), b"\xff\xfe", b"\x00"):
        shown.type(wrong + b"\n")
        assert "Traceback" not in shown.read_until("Code: ")
    shown.type(b"\n")
    shown.read_until("Code: ")
    shown.type(f"  {CODE.upper().replace('-', ' ')} \n".encode())
    shown.read_until(f"got {CODE}")
    assert shown.exit_code() == 0
    shown.read_until("after: None # 0"), "completion is as before, and no code is left in a history"


def test_tab_completes_words(terminal: Opener) -> None:
    """Four letters of each word are enough, and the hyphen comes with the same key."""
    shown = terminal()
    shown.read_until("Code: ")
    number, *words = CODE.split("-")
    shown.type(number.encode() + TAB)
    for word in words:
        shown.read_until("-")
        shown.type(word[:4].encode() + TAB)
        shown.read_until(word)
    shown.type(b"\n")
    shown.read_until(f"got {CODE}")
    assert shown.exit_code() == 0


@pytest.mark.parametrize("keys", [b"", b"42-am"])
def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Opener, keys: bytes) -> None:
    shown = terminal()
    shown.read_until("Code: ")
    shown.type(keys + CTRL_C)
    assert shown.exit_code() != 0
    assert "KeyboardInterrupt" in shown.shown, "it is the caller's to take"


def test_ctrl_d_is_the_end_of_the_input(terminal: Opener) -> None:
    shown = terminal()
    shown.read_until("Code: ")
    shown.type(CTRL_D)
    assert shown.exit_code() == 2
    assert "The input ended before a code came." in shown.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_the_terminal_as_it_was(terminal: Opener, number: signal.Signals) -> None:
    shown = terminal()
    shown.read_until("Code: ")
    shown.process.send_signal(number)
    assert shown.exit_code() != 0
    assert "KeyboardInterrupt" in shown.shown


def test_the_question_is_never_data(terminal: Opener, tmp_path: Path) -> None:
    """stdout goes into a file: what is asked is seen all the same, and TAB works."""
    with (tmp_path / "out").open("wb") as out:
        shown = terminal(stdout=out.fileno())
    shown.read_until("Code: ")
    shown.type(CODE.encode() + b"\n")
    assert shown.exit_code() == 0
    assert (tmp_path / "out").read_text() == f"got {CODE}\n"


def test_a_terminal_that_gets_stdout_only_is_asked_there(terminal: Opener, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        shown = terminal(stderr=log.fileno())
    shown.read_until("Code: ")
    shown.type(CODE.encode() + b"\n")
    shown.read_until(f"got {CODE}")
    assert shown.exit_code() == 0
    assert "Type the code" in (tmp_path / "log").read_text()


def ask(stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """Let it read from a pipe, and tell what was left in it."""
    rest = "sys.stderr.write('rest: ' + repr(os.read(0, 4096)) + chr(10))"
    return subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\n{rest}"], input=stdin, capture_output=True, cwd=ROOT, check=False
    )


def test_a_pipe_gives_one_line_and_keeps_the_rest() -> None:
    done = ask(f"{CODE}\nyes\n".encode())
    assert done.stdout.decode() == f"got {CODE}\n"
    assert b"rest: b'yes\\n'" in done.stderr
    assert b"Type the code" not in done.stderr, "nobody is there to read it"
    assert ask(CODE.encode()).stdout.decode() == f"got {CODE}\n", "the last line may have no end"


@pytest.mark.parametrize("stdin", [b"", b"\n", b"42-amber\n", b"\xff" * 5000])
def test_a_pipe_without_a_code_is_an_error_at_once(stdin: bytes) -> None:
    done = ask(stdin + b"\n" + OTHER.encode())
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr
