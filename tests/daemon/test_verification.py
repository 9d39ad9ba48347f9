"""What counts as a yes, and what as a no."""

from __future__ import annotations

import os

import pytest

from p2ptun.daemon.verification import confirm_words
from p2ptun.errors import WrongCode
from p2ptun.rendezvous.line import LineReader

pytestmark = pytest.mark.trio


async def answer(typed: bytes) -> list[str]:
    """Return what is told to a person who types this and then ends the input."""
    told: list[str] = []
    reading, writing = os.pipe()
    try:
        os.write(writing, typed)
        os.close(writing)
        await confirm_words(LineReader(reading), lambda message, remedy: told.append(message), "Share again.")
    finally:
        os.close(reading)
    return told


@pytest.mark.parametrize("typed", [b"y\n", b"yes\n", b" YES \n", b"yes"])
async def test_yes_is_enough(typed: bytes) -> None:
    assert await answer(typed) == []


async def test_what_is_neither_is_asked_again() -> None:
    assert await answer(b"perhaps\n\nyes\n") == ["That is neither yes nor no."] * 2


@pytest.mark.parametrize("typed", [b"n\n", b"No\n", b"", b"perhaps\n"])
async def test_no_and_no_answer_are_a_wrong_code(typed: bytes) -> None:
    with pytest.raises(WrongCode, match="weren't confirmed") as caught:
        await answer(typed)
    assert caught.value.remedy == "Share again."
