"""OpaqueString: what is mapped, what is refused, and that passwords stay out of errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import ConfigError
from p2ptun.stun.precis import opaque_string


@pytest.mark.parametrize(
    ("given_value", "prepared"),
    [
        ("correct horse battery staple", "correct horse battery staple"),  # RFC 8265 table 4, 14
        ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),  # 15: case stays
        ("\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"),  # 16
        ("Jack of \u2666s", "Jack of \u2666s"),  # 17
        ("foo\u1680bar", "foo bar"),  # 18: OGHAM SPACE MARK
        ("a\u00a0b\u3000c", "a b c"),
        ("e\u0301", "\u00e9"),  # NFC
        ("\u1100\u1161", "\uac00"),  # conjoining jamo compose
        ("\uff21", "\uff21"),  # width stays
        ("\u216b", "\u216b"),  # no compatibility mapping
        ("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),  # a joiner behind a virama
        ("l\u00b7l", "l\u00b7l"),  # CONTEXTO
        (" ", " "),
    ],
)
def test_preparation(given_value: str, prepared: str) -> None:
    assert opaque_string(given_value, "password") == prepared


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("my cat is a \tby", "U+0009"),  # RFC 8265 table 5, 20
        ("a\x00", "U+0000"),
        ("a\x7f", "U+007F"),
        ("a\u0085", "U+0085"),
        ("The\u00adM", "U+00AD"),  # soft hyphen: default ignorable
        ("a\u200bb", "U+200B"),
        ("a\u200db", "U+200D"),  # a joiner behind a letter
        ("\u200ca", "U+200C"),
        ("a\u202e", "U+202E"),  # bidi override
        ("\u1100", "U+1100"),  # a jamo alone
        ("\u0640", "U+0640"),
        ("\ufe0f", "U+FE0F"),
        ("\ue000", "U+E000"),  # private use
        ("\ud800", "U+D800"),  # a lone surrogate
        ("\u0378", "U+0378"),  # unassigned
        ("\ufdd0", "U+FDD0"),  # noncharacter
    ],
)
def test_refusal_names_the_character_and_nothing_else(value: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opaque_string("secret" + value, "password")
    assert named in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


def test_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^user name: is empty\.$"):
        opaque_string("", "user name")


@given(st.text(min_size=1))
def test_preparing_twice_changes_nothing(value: str) -> None:
    try:
        once = opaque_string(value, "password")
    except ConfigError:
        return
    assert opaque_string(once, "password") == once
    assert once.encode()
