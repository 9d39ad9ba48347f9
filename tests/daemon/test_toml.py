"""What msgspec says of a document, in words for the person who wrote it."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from p2ptun.daemon.toml import convert
from p2ptun.errors import ConfigError


class Inner(msgspec.Struct):
    number: int


class Form(msgspec.Struct):
    name: str
    inner: list[Inner] | None = None
    choice: int | str = 0
    even: bool = False
    size: Literal["small", "large"] = "small"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "f: name: this key is missing."),
        ({"name": 1.5}, "f: name: this is a number."),
        ({"name": "a", "even": "yes"}, "f: even: this is text in quotes."),
        ({"name": "a", "choice": 1.5}, "f: choice: this is a number."),
        ({"name": "a", "inner": {"number": 1}}, "f: inner: this is a table."),
        ({"name": "a", "inner": [{}]}, "f: inner[0].number: this key is missing."),
        ({"name": "a", "inner": [{"number": 1, "nmber": 2}]}, "f: inner.nmber: this key is unknown."),
        ({"name": "a", "size": "huge"}, "f: size: invalid enum value 'huge'."),
    ],
)
def test_what_is_wrong_is_told(document: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(document, Form, "f")
    assert str(caught.value) == told
    assert caught.value.remedy.endswith(".")


def test_what_is_right_is_taken() -> None:
    form = convert({"name": "a", "inner": [{"number": 1}], "choice": "b"}, Form, "f")
    assert form == Form("a", [Inner(1)], "b")
