from __future__ import annotations

from p2ptun.ice.event import DropReason


def test_reasons_are_phrases_of_their_own() -> None:
    texts = [reason.value for reason in DropReason]
    assert len(set(texts)) == len(texts)
    assert all(text.isprintable() and not {"-", "_"} & set(text) for text in texts)
