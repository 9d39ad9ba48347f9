"""Prepare user names, realms and passwords so that both sides hash the same bytes: OpaqueString (RFC 8265 4.2).

The code points of the FreeformClass are taken from RFC 8264 8 with the Unicode tables of this Python.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from p2ptun.errors import ConfigError

_ALLOWED_CATEGORIES: Final = frozenset(
    (
        *("Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"),  # LetterDigits (RFC 8264 9.1)
        *("Lt", "Nl", "No", "Me"),  # OtherLetterDigits (9.18)
        "Zs",  # Spaces (9.14)
        *("Sm", "Sc", "Sk", "So"),  # Symbols (9.15)
        *("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),  # Punctuation (9.16)
    )
)

_DISALLOWED_RANGES: Final = (
    # Exceptions (RFC 8264 9.6)
    (0x0640, 0x0640),
    (0x07FA, 0x07FA),
    (0x302E, 0x302F),
    (0x3031, 0x3035),
    (0x303B, 0x303B),
    # Conjoining jamo left alone after NFC (9.9)
    (0x1100, 0x11FF),
    (0xA960, 0xA97C),
    (0xD7B0, 0xD7FB),
    # Default_Ignorable_Code_Point (9.13), as far as the category doesn't exclude it
    (0x034F, 0x034F),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)

_JOINERS: Final = "\u200c\u200d"
_VIRAMA: Final = 9  # canonical combining class


def opaque_string(value: str, key: str) -> str:
    """Prepare `value`, which a person gave as their `key` ("password", "user name").

    Non-ASCII spaces become SPACE, the rest is normalised to NFC; case and width stay. A joiner must follow a virama
    (RFC 5892 A.1, A.2). The CONTEXTO characters are let through: their rules need script tables, map nothing, and so
    can't make the two sides hash different bytes.

    Raises:
        ConfigError: it is empty or holds a character that not every program would pass on unchanged.
    """
    if not value:
        raise ConfigError("", key, "is empty", f"Give a {key} of one character or more.")
    if value.isascii() and value.isprintable():
        return value
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in value)
    prepared = unicodedata.normalize("NFC", spaced)
    for before, char in zip("\0" + prepared, prepared, strict=False):
        if not _is_allowed(char, before):
            # The character alone: the rest of a password has no place in a message.
            problem = f"has the character U+{ord(char):04X}, which it must not (RFC 8265)"
            raise ConfigError("", key, problem, f"Choose a {key} of letters, digits, spaces and punctuation.")
    return prepared


def _is_allowed(char: str, before: str) -> bool:
    if char in _JOINERS:
        return unicodedata.combining(before) == _VIRAMA
    if any(first <= ord(char) <= last for first, last in _DISALLOWED_RANGES):
        return False
    return unicodedata.category(char) in _ALLOWED_CATEGORIES
