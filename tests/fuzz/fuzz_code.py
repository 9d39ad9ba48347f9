"""Whatever a person may type as a code: only CodeError, in one printable sentence; and TAB never fails."""

from __future__ import annotations

from p2ptun.signal.code import Code, CodeError, completions, parse_code
from p2ptun.signal.text import printable


def check(text: str) -> None:
    """Read `text` as a code, or see that the refusal is fit for people."""
    try:
        code = parse_code(text)
    except CodeError as error:
        said = str(error)
        assert said.endswith(".")
        assert printable(said) == said
        assert len(said) < 200
        return
    assert parse_code(str(code)) == code


def test_one_input(data: bytes) -> None:
    number = int.from_bytes(data[:7], "big")
    code = str(Code(number % 1000, number >> 16 & (1 << 28) - 1))
    spoilt = data[7:].decode("latin-1")
    at = number % len(code)
    for text in (data.decode(errors="replace"), data.decode("latin-1"), code[:at] + spoilt + code[at:]):
        check(text)
        for whole in completions(text)[:3]:
            assert completions(whole) or whole.endswith("-")
