"""The code: a room's number and three words, `42-amber-tiger-lamp`, which people read to each other.

::

    words      11 bits each, as their places in `WORDS`
    33 bits    secret (28) | checksum (5)
    checksum   (number + 3 x first word + 4 x second word + 8 x the upper 6 bits of the third word) modulo 31

31 is a prime, so one wrong digit and two neighbouring digits that changed places are always noticed, and a wrong word
in 30 cases of 31. The checksum is no part of the secret and helps nobody to guess: whoever mistypes is told so before
anything goes over a network, where a wrong code would spend the one guess that there is.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import ascii_lowercase
from typing import Final

from p2ptun.errors import LocalProtocolError, RendezvousError
from p2ptun.signal.text import printable
from p2ptun.signal.words import PREFIX, WORDS
from p2ptun.types import RandomBytes

MAX_ROOM: Final = 999_999_999
"""Nine digits are more rooms than a rendezvous will have, and as much as a person may be asked to read out."""

SECRET_BITS: Final = 28
WORDS_IN_CODE: Final = 3
WORDS_IN_VERIFIER: Final = 6
MAX_TEXT: Final = 80
"""Characters: the longest code has 36, and may be dressed a little."""

_WORD_BITS, _CHECKSUM_BITS, _MODULUS = 11, 5, 31
_MAX_WORD: Final = 10  # a longer one looks like none
_ALIKE: Final = 0.75
_LABEL: Final = b"p2ptun/1 code"
_SEPARATORS = re.compile(r"[\s\-_.,;:/\u2010-\u2015\u2212]+")
# What mail, chat, terminals and shells put around a line, and what nobody sees.
_DRESS = str.maketrans(
    "", "", "\"'`<>()[]\u00ab\u00bb\u2018\u2019\u201c\u201d\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)

_EXAMPLE = "A code is a number and three words, such as 42-amber-tiger-lamp."
_TYPE_AGAIN = "Compare it with what the other side shows, and type it again."


class CodeError(RendezvousError):
    """What was typed is no code. The sentence says what is wrong with it; nothing has gone over a network."""


@dataclass(frozen=True, slots=True)
class Code:
    """A room's number and the secret that its two sides share; `str` writes it as people read it.

    Raises:
        LocalProtocolError: For a number above `MAX_ROOM`, or a secret of more than 28 bits.
    """

    room: int
    secret: int = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.room <= MAX_ROOM or not 0 <= self.secret < 1 << SECRET_BITS:
            raise LocalProtocolError("a code's number or secret out of range")

    def __str__(self) -> str:
        places = _places(self.secret << _CHECKSUM_BITS, WORDS_IN_CODE)
        checksum = _checksum(self.room, places)
        return "-".join([str(self.room), *(WORDS[place] for place in (*places[:-1], places[-1] | checksum))])

    @property
    def password(self) -> bytes:
        """What the PAKE takes: label, number (4 bytes) and secret (4)."""
        return _LABEL + self.room.to_bytes(4, "big") + self.secret.to_bytes(4, "big")


def draw_code(room: int, random_bytes: RandomBytes) -> Code:
    """Draw a code for a room. Raises LocalProtocolError for a number above `MAX_ROOM`."""
    return Code(room, int.from_bytes(random_bytes(4), "big") >> (32 - SECRET_BITS))


def parse_code(text: str) -> Code:
    """Read what a person typed. Untrusted. Raises CodeError with a sentence for that person.

    Capital letters, spaces for hyphens, quotes and white space around it are no mistakes.
    """
    if len(text) > MAX_TEXT:
        raise CodeError("This is much longer than a code.", _EXAMPLE)
    number, *words = _parts(text)
    room = _parse_room(number)
    if len(words) != WORDS_IN_CODE:
        count = f"{len(words)} word{'' if len(words) == 1 else 's'}" if words else "no words"
        raise CodeError(f"The code has {count} instead of three.", _EXAMPLE)
    for word in words:
        if _place(word) is None:
            raise CodeError(_about_unknown(word), _TYPE_AGAIN)
    code = _assemble(room, words)
    if code is None:
        raise CodeError(_about_checksum(number, words), _TYPE_AGAIN)
    return code


def completions(text: str) -> list[str]:
    """List what the whole of `text` may become by TAB, sorted; nothing before a word's first letter is there.

    The checksum isn't asked: it would lead whoever mistyped an earlier word to a code that fits, and is wrong.
    """
    number, *words = [part for part in _SEPARATORS.split(text.lower()) if part] or [""]
    is_new = _SEPARATORS.match(text[-1:]) is not None
    if not _is_number(number) or len(words) > WORDS_IN_CODE or any(_place(word) is None for word in words[:-1]):
        return []
    if is_new or not words:
        return [] if is_new else [f"{number}-"]
    head = "-".join([number, *words[:-1]])
    more = "-" if len(words) < WORDS_IN_CODE else ""
    return [f"{head}-{word}{more if word == words[-1] else ''}" for word in _beginning_with(words[-1])]


def verifier(digest: bytes) -> tuple[str, ...]:
    """Return six words that stand for the first 66 bits of a digest. Raises LocalProtocolError when it has fewer."""
    if len(digest) < 9:
        raise LocalProtocolError(f"a digest of {len(digest)} bytes for a verifier")
    bits = int.from_bytes(digest[:9], "big") >> (72 - WORDS_IN_VERIFIER * _WORD_BITS)
    return tuple(WORDS[place] for place in _places(bits, WORDS_IN_VERIFIER))


def _places(bits: int, count: int) -> list[int]:
    """Cut a number into places in the list, the first one from the top."""
    return [bits >> _WORD_BITS * left & (1 << _WORD_BITS) - 1 for left in reversed(range(count))]


def _checksum(room: int, places: list[int]) -> int:
    first, second, third = places
    return (room + 3 * first + 4 * second + 8 * (third >> _CHECKSUM_BITS)) % _MODULUS


def _assemble(room: int, words: list[str]) -> Code | None:
    """Put known words together; None unless the checksum fits."""
    places = [bisect_left(WORDS, word) for word in words]
    if places[-1] & (1 << _CHECKSUM_BITS) - 1 != _checksum(room, places):
        return None
    first, second, third = places
    return Code(room, (first << 2 * _WORD_BITS | second << _WORD_BITS | third) >> _CHECKSUM_BITS)


def _parts(text: str) -> list[str]:
    """Undress what was typed and split it, without what can't be shown. Raises CodeError when nothing is left."""
    plain = unicodedata.normalize("NFKC", text).translate(_DRESS).lower()
    parts = [part for part in map(printable, _SEPARATORS.split(plain)) if part]
    if not parts:
        raise CodeError("No code was typed.", _EXAMPLE)
    return parts


def _parse_room(number: str) -> int:
    """Read a room's number. Raises CodeError."""
    if not number[0].isdigit():
        raise CodeError("The code doesn't begin with its number.", _EXAMPLE)
    if not _is_number(number):
        problem = f"The code's number was mistyped: {number[:20]}."
        raise CodeError(problem, "It has one to nine digits, does not begin with 0, and a hyphen comes after it.")
    return int(number)


def _is_number(text: str) -> bool:
    return text == "0" or re.fullmatch(r"[1-9][0-9]{0,8}", text) is not None


def _place(word: str) -> int | None:
    """Find a word in the list."""
    place = bisect_left(WORDS, word)
    return place if place < len(WORDS) and WORDS[place] == word else None


def _beginning_with(prefix: str) -> tuple[str, ...]:
    """List the words that begin so; letters sort below the brace."""
    return WORDS[bisect_left(WORDS, prefix) : bisect_left(WORDS, prefix + "{")]


def _about_unknown(word: str) -> str:
    likely = _likely(word)
    return f"The word {word[:20]} is in no code" + (f"; {likely} looks most like it." if likely else ".")


def _likely(word: str) -> str | None:
    """Guess which word was meant: the one of those four letters, one that is a slip away, or one that looks alike."""
    same = _beginning_with(word[:PREFIX])
    if len(same) == 1:
        return same[0]
    near = _slips(word[:_MAX_WORD]) or get_close_matches(word[:_MAX_WORD], WORDS, 1, _ALIKE)
    return min(near, key=lambda known: known[0] != word[0], default=None)


def _about_checksum(number: str, words: list[str]) -> str:
    problem = "The code was mistyped: all its words exist, but they and the number don't belong together"
    repairs = [(old, new) for old, new, code in _small_changes(number, words) if code is not None]
    if len(repairs) == 1:
        return f"{problem}; with {repairs[0][1]} instead of {repairs[0][0]} they would."
    return f"{problem}."


def _small_changes(number: str, words: list[str]) -> Iterator[tuple[str, str, Code | None]]:
    """Yield each small change, as what it replaces by what, with the code that it would make."""
    for at in range(len(number) - 1):
        swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
        if swapped != number and _is_number(swapped):
            yield number, swapped, _assemble(int(swapped), words)
    for at, word in enumerate(words):
        for near in _slips(word):
            yield word, near, _assemble(int(number), [*words[:at], near, *words[at + 1 :]])


def _slips(word: str) -> list[str]:
    """List the words with one letter more, less or another, or with two neighbours that changed places; sorted."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    less = {head + tail[1:] for head, tail in cuts}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    other = {head + letter + tail[1:] for head, tail in cuts for letter in ascii_lowercase}
    more = {head + letter + tail for head, tail in cuts for letter in ascii_lowercase}
    return sorted(near for near in less | swapped | other | more if near != word and _place(near) is not None)
