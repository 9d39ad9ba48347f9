"""Text from afar, made fit for a terminal, a log or a journal (Trojan Source, CVE-2021-42574; ECMA-48)."""

from __future__ import annotations

import unicodedata

# Controls (C0, C1, DEL), formats (bidi, zero-width, tags), surrogates, separators of lines and of paragraphs.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Drop every character that a terminal would obey or that would reorder, hide or break the line around it."""
    return "".join(character for character in text if unicodedata.category(character) not in _UNPRINTABLE)
