from __future__ import annotations

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.signal.cursor import Cursor


def test_taking_moves_forward() -> None:
    cursor = Cursor(b"\x01\x02\x03rest")
    assert cursor.number(1) == 1
    assert cursor.number(2) == 0x0203
    assert cursor.left == 4
    assert cursor.take(0) == b""
    assert cursor.take(4) == b"rest"
    assert cursor.left == 0


def test_taking_too_much_takes_nothing() -> None:
    cursor = Cursor(b"ab")
    with pytest.raises(MalformedPacket, match="3 bytes expected, 2 left"):
        cursor.take(3)
    assert cursor.take(2) == b"ab"
