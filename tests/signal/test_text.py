from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.signal.text import printable


@pytest.mark.parametrize("text", ["", "nas", "Büro-Rechner 2", "\u5bb6", "\u05d0\u05d1", "a\u0301", "\U0001f600 ok"])
def test_plain_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("bell\a, back\b\b, line\r\n, tab\t, null\0, del\x7f", "bell, back, line, tab, null, del"),
        ("\x9b31m\x85\x90", "31m"),
        ("user\u202e txt.exe\u202c", "user txt.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c\u202a\u202b\u202d\u2067\u2068", "a"),
        ("in\u200bvi\u00adsible\ufeff\U000e0041", "invisible"),
        ("two\u2028lines\u2029", "twolines"),
        ("half \ud800 pair", "half  pair"),
    ],
)
def test_what_a_terminal_would_obey_goes(text: str, left: str) -> None:
    assert printable(text) == left


@given(st.text())
def test_the_rest_can_be_printed_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown == printable(shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
