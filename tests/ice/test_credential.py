from __future__ import annotations

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.ice.credential import Credentials

from .material import random_bytes_from

PASSWORD = "p" * 22


def test_generated_ones_have_the_lengths_of_rfc_8445_section_5_3() -> None:
    first, second = (Credentials.generate(random_bytes_from(seed), 7) for seed in (1, 2))
    assert (len(first.ufrag), len(first.password), first.generation) == (8, 24, 7)
    assert first != second


def test_password_is_not_shown() -> None:
    assert PASSWORD not in repr(Credentials("abcd", PASSWORD))


@pytest.mark.parametrize(
    ("ufrag", "password"),
    [
        ("abc", PASSWORD),
        ("a" * 257, PASSWORD),
        ("ab:d", PASSWORD),
        ("abcd\n", PASSWORD),
        ("abcd", "p" * 21),
        ("abcd", "p" * 257),
        ("abcd", PASSWORD + " "),
    ],
)
def test_what_breaks_the_grammar_is_refused(ufrag: str, password: str) -> None:
    with pytest.raises(MalformedPacket):
        Credentials(ufrag, password)
