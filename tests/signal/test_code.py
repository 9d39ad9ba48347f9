from __future__ import annotations

import random
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, RendezvousError
from p2ptun.signal.code import MAX_ROOM, MAX_TEXT, Code, CodeError, completions, draw_code, parse_code, verifier
from p2ptun.signal.text import printable
from p2ptun.signal.words import WORDS

TEXT = "42-amber-tiger-lamp"
CODE = parse_code(TEXT)

codes = st.builds(Code, st.integers(0, MAX_ROOM), st.integers(0, 2**28 - 1))


def refusal(text: str) -> CodeError:
    """Return the error that a text meets, after checking that it is fit for people."""
    with pytest.raises(CodeError) as caught:
        parse_code(text)
    message = str(caught.value)
    assert message.endswith(".")
    assert ". " not in message
    assert printable(message) == message
    assert len(message) < 200
    assert caught.value.remedy.endswith(".")
    assert isinstance(caught.value, RendezvousError)
    return caught.value


@given(codes)
def test_round_trip(code: Code) -> None:
    assert parse_code(str(code)) == code
    assert len(str(code)) <= 36


@pytest.mark.parametrize("room", [0, 1, 9, 10, 42, MAX_ROOM])
def test_a_room_of_any_size(room: int) -> None:
    code = draw_code(room, random.Random(room).randbytes)
    assert str(code).startswith(f"{room}-")
    assert parse_code(str(code)) == code


def test_a_code_as_people_see_it() -> None:
    assert str(CODE) == TEXT
    assert CODE.room == 42
    assert str(Code(7, 0)) == "7-abacus-abacus-academy"
    assert str(Code(7, 2**28 - 1)) == "7-zucchini-zucchini-zero"


def test_the_secret_is_not_shown() -> None:
    assert repr(CODE) == "Code(room=42)"


def test_all_of_the_secret_is_drawn() -> None:
    assert draw_code(1, lambda size: b"\xff" * size).secret == 2**28 - 1
    assert draw_code(1, lambda size: bytes(size)).secret == 0


@pytest.mark.parametrize(("room", "secret"), [(-1, 0), (MAX_ROOM + 1, 0), (1, -1), (1, 2**28)])
def test_a_code_out_of_range_is_a_bug(room: int, secret: int) -> None:
    with pytest.raises(LocalProtocolError):
        Code(room, secret)


def test_the_password_holds_room_and_secret() -> None:
    assert CODE.password == b"p2ptun/1 code" + bytes([0, 0, 0, 42]) + CODE.secret.to_bytes(4, "big")
    assert len({Code(room, secret).password for room in (1, 2) for secret in (1, 2)}) == 4


@pytest.mark.parametrize(
    "text",
    [
        f"  {TEXT}\n",
        TEXT.upper(),
        TEXT.title(),
        TEXT.replace("-", " "),
        TEXT.replace("-", "_"),
        TEXT.replace("-", " - "),
        TEXT.replace("-", "\u2013"),
        TEXT.replace("-", "\u2011"),
        TEXT.replace("-", ", "),
        f"'{TEXT}'",
        f"\u201c{TEXT}\u201d.",
        f"\ufeff<{TEXT}>\r\n",
        "\uff14\uff12 amber\u00a0tiger lamp",
        "42-am\u200bber-tiger-la\x1bmp",
    ],
)
def test_what_is_no_mistake(text: str) -> None:
    assert parse_code(text) == CODE


@pytest.mark.parametrize("text", ["", " ", "\n", '""', "---", "\x1b", "\u202e"])
def test_nothing(text: str) -> None:
    assert str(refusal(text)) == "No code was typed."


@pytest.mark.parametrize("text", ["amber-tiger-lamp", "amber", "tiger-lamp-42", "x42-amber-tiger-lamp"])
def test_without_its_number(text: str) -> None:
    error = refusal(text)
    assert str(error) == "The code doesn't begin with its number."
    assert TEXT in error.remedy


@pytest.mark.parametrize("number", ["042", "00", "4z", "1234567890", "42amber", "4\u06f2", "\u0664\u0662"])
def test_a_mistyped_number(number: str) -> None:
    assert str(refusal(f"{number}-amber-tiger-lamp")) == f"The code's number was mistyped: {number}."


def test_a_long_number_is_not_repeated() -> None:
    assert str(refusal("1" * 60)) == f"The code's number was mistyped: {'1' * 20}."


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("42", "no words"),
        ("42-amber", "1 word"),
        ("42-amber-tiger", "2 words"),
        ("42-amber-tiger-lamp-lamp", "4 words"),
        ("42-42-amber-tiger-lamp", "4 words"),
    ],
)
def test_too_few_or_many_words(text: str, count: str) -> None:
    assert str(refusal(text)) == f"The code has {count} instead of three."


def test_much_too_long() -> None:
    assert str(refusal("4" * (MAX_TEXT + 1))) == "This is much longer than a code."
    assert str(refusal("p2p1" + "A" * 200)) == "This is much longer than a code."


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tigre", "tiger"),
        ("tigr", "tiger"),
        ("tiiger", "tiger"),
        ("tigger", "tiger"),
        ("itger", "tiger"),
        ("tige", "tiger"),
        ("tigers", "tiger"),
        ("umbrela", "umbrella"),
        ("kangeroo", "kangaroo"),
        ("lampoon", "lamp"),
        ("eliphant", "elephant"),
    ],
)
def test_a_mistyped_word_is_named_with_the_likely_one(typed: str, meant: str) -> None:
    assert str(refusal(f"42-amber-{typed}-lamp")) == f"The word {typed} is in no code; {meant} looks most like it."


@pytest.mark.parametrize("typed", ["xqxqx", "q", "9", "\u0442\u0438\u0433\u0440", "b" * 60])
def test_a_word_like_none(typed: str) -> None:
    assert str(refusal(f"42-{typed}-tiger-lamp")) == f"The word {typed[:20]} is in no code."


def test_control_characters_are_not_repeated() -> None:
    assert str(refusal("42-\x1b[31mred\u202e-tiger-lamp")).startswith("The word 31mred is in no code")


def test_a_wrong_digit_is_always_noticed() -> None:
    for room in (7, 42, 99, 105, 9999):
        number, words = str(draw_code(room, random.Random(room).randbytes)).split("-", 1)
        for at, old in enumerate(number):
            for new in set("0123456789") - {old}:
                changed = number[:at] + new + number[at + 1 :]
                if changed[0] != "0" or changed == "0":
                    assert "don't belong together" in str(refusal(f"{changed}-{words}"))


def test_digits_that_changed_places_are_found() -> None:
    assert str(refusal("24-amber-tiger-lamp")) == (
        "The code was mistyped: all its words exist, but they and the number don't belong together; "
        "with 42 instead of 24 they would."
    )


def test_a_neighbouring_word_is_found() -> None:
    assert str(refusal("42-ember-tiger-lamp")).endswith("; with amber instead of ember they would.")


def test_a_word_far_from_the_right_one_is_not() -> None:
    assert str(refusal("42-amend-tiger-lamp")).endswith("they and the number don't belong together.")


def test_30_wrong_words_of_31_are_noticed() -> None:
    wrong = WORDS[::16]
    noticed = 0
    for word in wrong:
        with suppress(CodeError):
            noticed -= parse_code(f"42-amber-{word}-lamp") != CODE
        noticed += 1
    assert noticed >= len(wrong) * 28 / 31


@given(st.text(max_size=MAX_TEXT + 1))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_code(str(parse_code(text))) == parse_code(text)
    except CodeError:
        refusal(text)


@given(st.text(alphabet="0123456789-amberti ", max_size=30))
def test_any_text_that_looks_like_a_code_is_read_or_refused(text: str) -> None:
    completions(text)
    try:
        parse_code(text)
    except CodeError:
        refusal(text)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("42", ["42-"]),
        ("42-amb", ["42-amber", "42-ambient"]),
        ("42-AMBE", ["42-amber"]),
        ("42-amber", ["42-amber-"]),
        ("42 amber tige", ["42-amber-tiger"]),
        ("42-amber-tiger-lam", ["42-amber-tiger-lamb", "42-amber-tiger-lamp"]),
        (TEXT, [TEXT]),
        ("", []),
        ("42-", []),
        ("42-amber-", []),
        ("042-am", []),
        ("am", []),
        ("amber-am", []),
        ("42-xq", []),
        ("42-xq-am", []),
        (f"{TEXT}-", []),
        (f"{TEXT}-am", []),
    ],
)
def test_completions(text: str, whole: list[str]) -> None:
    assert completions(text) == whole


def test_completions_are_sorted_and_begin_alike() -> None:
    found = completions("42-s")
    assert found == sorted(found)
    assert len(found) == sum(word.startswith("s") for word in WORDS)
    assert all(text.startswith("42-s") for text in found)


@given(codes)
def test_four_letters_and_tab_are_enough(code: Code) -> None:
    number, *words = str(code).split("-")
    text = number
    for word in words:
        [text] = completions(f"{text}-{word[:4]}"[: len(text) + 5])
        text = text.removesuffix("-")
    assert text == str(code)


def test_a_verifier_has_six_words() -> None:
    digest = sha256(b"digest").digest()
    assert verifier(digest) == verifier(digest[:9])
    assert len(verifier(digest)) == 6
    assert verifier(bytes(9)) == ("abacus",) * 6
    assert verifier(b"\xff" * 9) == ("zucchini",) * 6
    bits = int.from_bytes(digest[:9], "big") >> 6
    assert verifier(digest)[-1] == WORDS[bits % 2048]
    with pytest.raises(LocalProtocolError):
        verifier(bytes(8))
