from __future__ import annotations

import re
from itertools import pairwise

from p2ptun.signal.words import PREFIX, WORDS


def test_there_are_as_many_as_eleven_bits_name() -> None:
    assert len(WORDS) == len(set(WORDS)) == 2**11


def test_they_are_in_alphabetical_order() -> None:
    assert list(WORDS) == sorted(WORDS)


def test_they_are_short_and_of_plain_letters() -> None:
    assert [word for word in WORDS if not re.fullmatch("[a-z]{3,8}", word)] == []


def test_four_letters_name_a_word() -> None:
    assert len({word[:PREFIX] for word in WORDS}) == len(WORDS)


def test_none_is_the_beginning_of_another() -> None:
    assert [pair for pair in pairwise(WORDS) if pair[1].startswith(pair[0])] == []
