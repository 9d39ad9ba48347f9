from __future__ import annotations

import string
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import RendezvousError
from p2ptun.signal.blob import (
    check_answer,
    check_offer,
    decode_blob,
    encode_blob,
    is_complete,
    read_description,
    unwrap,
    wrap,
)
from p2ptun.signal.description import Description, Kind, decode_description, encode_description
from tests.signal.sample import descriptions, make_candidate, make_description, make_twin

ALPHABET = string.ascii_letters + string.digits + "-_"
BLOB = encode_blob(make_description())


def refusal(text: str) -> RendezvousError:
    """Return the error that a text meets, after checking that it is fit for people."""
    with pytest.raises(RendezvousError) as caught:
        decode_blob(text)
    message = str(caught.value)
    assert message.endswith(".")
    assert ". " not in message
    assert caught.value.remedy.endswith(".")
    return caught.value


@given(descriptions)
def test_round_trip(description: Description) -> None:
    blob = encode_blob(description)
    assert decode_blob(blob) == decode_description(encode_description(description))
    assert set(blob) <= set(ALPHABET)
    assert is_complete(blob)


@given(st.binary(max_size=200))
def test_any_message_can_be_wrapped(message: bytes) -> None:
    assert unwrap(wrap(message)) == message


@pytest.mark.parametrize(
    ("addresses", "length"),
    [
        (["192.168.1.7", "10.0.0.1", "203.0.113.7", "198.51.100.1"], 158),
        (["192.168.1.7", "203.0.113.7", "2001:db8::7", "fd00::7"], 190),
        (["2001:db8::7", "2001:db8::8", "fd00::7", "fe80::7"], 222),
    ],
)
def test_a_blob_with_four_candidates_is_short(addresses: list[str], length: int) -> None:
    candidates = tuple(make_candidate(address) for address in addresses)
    plain = replace(make_description(), candidates=candidates)
    assert len(encode_blob(plain)) == length
    with_tcp = replace(plain, candidates=(*candidates, *(make_twin(candidate) for candidate in candidates)))
    assert len(encode_blob(with_tcp)) == length
    assert len(decode_blob(encode_blob(with_tcp)).candidates) == 8
    full = replace(
        plain,
        addresses=(ip_interface("10.9.0.1/24"), ip_interface("fd00::1/64")),
        routes=(ip_network("192.168.0.0/16"), ip_network("fd77::/48")),
    )
    assert len(encode_blob(full)) < 300


@pytest.mark.parametrize(
    "dress",
    [
        "  {}\n",
        '"{}"',
        "'{}'\r\n",
        "\u201c{}\u201d",
        "`{}`",
        "<{}>",
        "\ufeff{}\u200b",
        "\u00a0{}",
    ],
)
def test_wrapping_is_taken_off(dress: str) -> None:
    assert unwrap(dress.format(BLOB)) == unwrap(BLOB)


@pytest.mark.parametrize("width", [1, 40, 72, 80])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n> "])
def test_a_blob_on_several_lines_is_put_together(width: int, end: str) -> None:
    lines = [BLOB[at : at + width] for at in range(0, len(BLOB), width)]
    assert unwrap(end.join(lines)) == unwrap(BLOB)


@pytest.mark.parametrize("text", ["", " ", "\n", '""', "\t\r\n"])
def test_nothing(text: str) -> None:
    assert "Nothing was pasted" in str(refusal(text))
    assert not is_complete(text)


@pytest.mark.parametrize("text", ["hello", "yes", "x" + BLOB, "P2P1" + BLOB[4:], "q", "\x1b[31m", "\u202e", "{}", "ü"])
def test_what_is_no_blob(text: str) -> None:
    error = refusal(text)
    assert "no p2ptun blob" in str(error)
    assert is_complete(text)


def test_cut_at_every_place() -> None:
    for size in range(1, len(BLOB)):
        error = refusal(BLOB[:size])
        wanted = f"{size} of {len(BLOB)}" if size >= 7 else f"only {size}"
        assert str(error) == f"The blob is cut: {wanted} characters arrived."
        assert not is_complete(BLOB[:size])


def test_a_character_that_was_left_out() -> None:
    for place in range(7, len(BLOB)):
        assert "The blob is cut" in str(refusal(BLOB[:place] + BLOB[place + 1 :]))


def test_a_wrong_character_at_every_place() -> None:
    for place, old in enumerate(BLOB):
        new = "A" if old != "A" else "B"
        message = str(refusal(BLOB[:place] + new + BLOB[place + 1 :]))
        if place < 3:
            assert "no p2ptun blob" in message
        elif place == 3:
            assert "version" in message
        elif place >= 7:
            assert "mistyped" in message


@given(st.integers(7, len(BLOB) - 1), st.sampled_from(ALPHABET))
def test_any_one_character_is_caught(place: int, new: str) -> None:
    if new != BLOB[place]:
        assert "mistyped" in str(refusal(BLOB[:place] + new + BLOB[place + 1 :]))


@given(st.integers(7, len(BLOB) - 2))
def test_neighbours_that_changed_places_are_caught(place: int) -> None:
    if BLOB[place] != BLOB[place + 1]:
        swapped = BLOB[:place] + BLOB[place + 1] + BLOB[place] + BLOB[place + 2 :]
        assert "mistyped" in str(refusal(swapped))


@pytest.mark.parametrize(
    ("character", "shown"), [("*", "*"), ("=", "="), (".", "."), ("ö", "ö"), ("\x1b", "U+001B"), ("\u202e", "U+202E")]
)
def test_characters_that_occur_in_no_blob_are_named(character: str, shown: str) -> None:
    text = BLOB[:20] + character + BLOB[21:]
    assert str(refusal(text)) == f"The blob was mistyped: its character 21, {shown}, occurs in no blob."
    assert is_complete(text)


def test_unused_bits_of_the_last_character_are_checked() -> None:
    blob = next(wrap(bytes(size)) for size in range(3) if len(wrap(bytes(size))) % 4 == 2)
    last = ALPHABET_IN_ORDER[ALPHABET_IN_ORDER.index(blob[-1]) ^ 1]
    with pytest.raises(RendezvousError, match="mistyped"):
        unwrap(blob[:-1] + last)


ALPHABET_IN_ORDER = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def test_something_behind_it() -> None:
    error = refusal(BLOB + BLOB)
    assert str(error) == "The blob is followed by " + BLOB[:8] + "..., which is no part of it."
    assert is_complete(BLOB + BLOB)


@pytest.mark.parametrize("version", ["0", "2", "A", "-"])
def test_another_version(version: str) -> None:
    error = refusal("p2p" + version + BLOB[4:])
    assert str(error) == f"The blob is of version {version}, but this p2ptun reads version 1 only."
    assert "same version" in error.remedy
    assert is_complete("p2p" + version)


def test_a_whole_blob_without_sense() -> None:
    assert "makes no sense" in str(refusal(wrap(b"no description")))
    with pytest.raises(RendezvousError, match="makes no sense"):
        read_description(b"no description")
    assert read_description(encode_description(make_description())) == decode_blob(BLOB)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    refusal(text)


@given(st.text(alphabet=ALPHABET, max_size=200))
def test_any_text_of_the_alphabet_is_read_or_refused(text: str) -> None:
    refusal("p2p1" + text)


def describe(error: RendezvousError) -> str:
    assert error.remedy
    return str(error)


def test_an_offer_and_its_answer_pass() -> None:
    offer, answer = make_description(), make_description(Kind.ANSWER, seed=2)
    check_offer(offer)
    check_answer(offer, answer)


def test_an_answer_where_an_offer_belongs() -> None:
    with pytest.raises(RendezvousError) as caught:
        check_offer(make_description(Kind.ANSWER))
    assert describe(caught.value) == "This blob is an answer, but an offer is needed here."


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (make_description(), "This is the blob that this side printed itself."),
        (make_description(seed=2, session=2), "This blob is an offer too, but an answer is needed here."),
        (
            make_description(Kind.ANSWER, seed=2, session=2),
            "This blob answers another offer than the one that was printed here.",
        ),
        (make_description(Kind.ANSWER), "Both sides have the same key."),
    ],
)
def test_what_is_no_answer_to_our_offer(answer: Description, message: str) -> None:
    with pytest.raises(RendezvousError) as caught:
        check_answer(make_description(), answer)
    assert describe(caught.value) == message
