"""A person who compares words with the one at the other side, and says whether they are the same."""

from __future__ import annotations

from collections.abc import Callable

from p2ptun.errors import WrongCode
from p2ptun.rendezvous.line import LineReader


async def confirm_words(lines: LineReader, tell: Callable[[str, str], None], advice: str) -> None:
    """Ask until the answer is yes; `tell` says what is wrong with another one, and what to do.

    Raises:
        WrongCode: The words differ, or nobody says that they don't; with `advice` as its remedy.
        RendezvousEnded: The answer can't be read.
    """
    while True:
        line = await lines.next_line()
        answer = "no" if line is None else line.strip().lower()
        if answer in ("y", "yes"):
            return
        if answer in ("n", "no"):
            raise WrongCode("The words weren't confirmed: somebody may sit between the two sides.", advice)
        tell("That is neither yes nor no.", "Type yes when both sides show the same words.")
