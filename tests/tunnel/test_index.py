from __future__ import annotations

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.tunnel import index as index_module
from p2ptun.tunnel.index import IndexTable, SessionIndex


def test_claims_are_found_and_released() -> None:
    table: IndexTable[str] = IndexTable(lambda size: b"\x01\x02\x03")
    index = table.claim("me")
    assert index == 0x010203
    assert table.find(0x010203) == "me"
    assert table.find(0x010204) is None
    table.release(index)
    table.release(index)
    assert table.find(index) is None
    assert len(table) == 0


def test_a_taken_index_is_drawn_again() -> None:
    draws = iter([b"\0\0\1", b"\0\0\1", b"\0\0\2"])
    table: IndexTable[str] = IndexTable(lambda size: next(draws))
    assert [table.claim("a"), table.claim("b")] == [1, 2]
    assert len(table) == 2


def test_a_full_table_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_INDICES", 1)
    table: IndexTable[str] = IndexTable(lambda size: b"\0\0\1")
    table.claim("a")
    with pytest.raises(LocalProtocolError, match="no session index"):
        table.claim("b")
    table.release(SessionIndex(1))
    assert table.claim("b") == 1
