"""The code: a room's number and three words, which people read to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.errors import RendezvousError
from p2ptun.types import RandomBytes


class CodeError(RendezvousError):
    """What was typed is no code. The sentence says what is wrong with it; nothing has gone over a network."""


@dataclass(frozen=True, slots=True)
class Code:
    """A room's number and the secret that its two sides share; `str` writes it as people read it."""

    room: int
    secret: int = field(repr=False)

    def __str__(self) -> str:
        raise NotImplementedError

    @property
    def password(self) -> bytes:
        """What the PAKE takes."""
        raise NotImplementedError


def draw_code(room: int, random_bytes: RandomBytes) -> Code:
    """Draw a code for a room."""
    raise NotImplementedError


def parse_code(text: str) -> Code:
    """Read what a person typed. Untrusted. Raises CodeError."""
    raise NotImplementedError


def completions(text: str) -> list[str]:
    """List what the whole of `text` may become by TAB, sorted."""
    raise NotImplementedError


def verifier(digest: bytes) -> tuple[str, ...]:
    """Return six words that stand for the first 66 bits of a digest."""
    raise NotImplementedError
