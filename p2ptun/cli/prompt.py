"""Asking for the code: a person at a terminal, with TAB for its words; else a line of standard input."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.markup import escape

from p2ptun.cli.rendezvous_options import MAX_CODE_SIZE
from p2ptun.cli.text import fold, talk_console
from p2ptun.errors import RendezvousEnded
from p2ptun.signal.code import Code, CodeError, completions, parse_code
from p2ptun.signal.text import printable

PROMPT = "Code: "
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def ask_code(shown_by: str = "p2ptun share") -> Code:
    """Ask until there is a code; where nobody sits at a terminal, take the next line and no other.

    `shown_by` is the command that shows it on the other side.

    Raises:
        KeyboardInterrupt: When the person, or a signal, ends it.
        RendezvousEnded: When the input ends.
        CodeError: When that line is no code.
    """
    if not sys.stdin.isatty():
        return parse_code(_next_line(_STDIN))
    console = talk_console()
    console.print(fold(console, f"Type the code that {shown_by} shows on the other side; TAB completes its words."))
    with ExitStack() as stack:
        for each in (_signals_interrupt, _talk_on_stdout, _tab_completes):
            stack.enter_context(each())
        while True:
            try:
                return parse_code(_ask())
            except CodeError as error:
                console.print(f"[yellow]{escape(fold(console, printable(str(error))))}[/]")
                console.print(f"  {escape(fold(console, printable(error.remedy), 2))}")


def _ask() -> str:
    """Take a line that isn't empty."""
    try:
        while not (line := input(PROMPT)).strip():
            pass
    except EOFError:
        print()  # the shell's prompt belongs on a line of its own
        raise _ended() from None
    except KeyboardInterrupt:
        print()
        raise
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")
    return line


def _next_line(descriptor: int) -> str:
    """Read a line byte by byte: what comes after it is for somebody else. Raises RendezvousEnded."""
    line = b""
    while len(line) < MAX_CODE_SIZE and (byte := _read_byte(descriptor)) not in (b"", b"\n"):
        line += byte
    if not line.strip():
        raise _ended()
    return line.decode(errors="replace")


def _read_byte(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1)
    except OSError as error:
        raise RendezvousEnded(
            f"The code can't be read from standard input ({error.strerror}).",
            "Run it in a terminal, or give it the code: p2ptun join CODE",
        ) from error


def _ended() -> RendezvousEnded:
    return RendezvousEnded(
        "The input ended before a code came.", "Give it the code that p2ptun share shows on the other side."
    )


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let signals that end a program do so as Ctrl-C does: else the terminal would stay as readline has set it."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)


@contextmanager
def _talk_on_stdout() -> Iterator[None]:
    """Let stdout, which is where `input` asks, be stderr for so long: a question is no data."""
    if not os.isatty(_STDERR) and os.isatty(_STDOUT):
        yield  # who looks at the terminal is asked there
        return
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


@contextmanager
def _tab_completes() -> Iterator[None]:
    """Let TAB complete codes, and arrows edit them; leave no code in a history. Some Pythons have no readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    completer, delimiters = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(_completer())
    readline.set_completer_delims("")
    readline.set_auto_history(False)
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(completer)
        readline.set_completer_delims(delimiters)


def _completer() -> Callable[[str, int], str | None]:
    """Make what readline asks for one possibility after the other."""
    known: list[str] = []

    def complete(text: str, number: int) -> str | None:
        nonlocal known
        if number == 0:
            known = completions(text)
            if len(known) == 1:
                known = completions(known[0]) or known  # what follows a whole word, with the same key
        return known[number] if number < len(known) else None

    return complete
