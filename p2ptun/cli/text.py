"""Talk: what people read on stderr. Never data, never a control character from afar."""

from __future__ import annotations

from textwrap import wrap

from rich.console import Console
from rich.markup import escape

from p2ptun.errors import P2ptunError
from p2ptun.signal.text import printable

MIN_ROOM = 20  # columns: in a narrower window the terminal may break lines as it likes


def talk_console() -> Console:
    """Make the console for talk: stderr, colours only on a terminal, NO_COLOR honoured."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def fold(console: Console, line: str, indent: int = 0) -> str:
    """Break a line where a terminal would, but between words, and go on under its beginning; a file's stay whole."""
    if not console.is_terminal:
        return line
    room = max(MIN_ROOM, console.width - indent)
    return f"\n{' ' * indent}".join(wrap(line, room, break_long_words=False, break_on_hyphens=False))


def print_line(line: str) -> None:
    """Print a line of data to stdout at once. Raises P2ptunError when nobody takes it."""
    try:
        print(line, flush=True)
    except OSError as error:
        raise P2ptunError(
            f"Standard output can't be written ({error.strerror}).", "Leave it open, or send it to a file."
        ) from error


def print_error(error: P2ptunError) -> None:
    """Say what went wrong in one sentence, and on the next line what to do."""
    console = talk_console()
    sentence = fold(console, f"p2ptun: {printable(str(error))}").removeprefix("p2ptun:")
    console.print(f"[bold red]p2ptun:[/]{escape(sentence)}")
    if error.remedy:
        console.print(f"  {escape(fold(console, printable(error.remedy), 2))}")


def duration(seconds: float) -> str:
    """Write a duration with the two units that matter: `41 s`, `3m12s`, `3h12m`, `2d5h`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{whole % 60}s" if minutes else f"{whole} s"


def size(count: int) -> str:
    """Write a number of bytes with a binary unit: `512 B`, `12.4 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def milliseconds(value: float | None) -> str:
    """Write a time in milliseconds with as many digits as it deserves."""
    if value is None:
        return "? ms"
    return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
