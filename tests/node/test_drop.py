from __future__ import annotations

from p2ptun.node.drop import DropReason


def test_reasons_are_phrases_of_their_own() -> None:
    texts = [reason.value for reason in DropReason]
    assert len(set(texts)) == len(texts)
    assert all(text and text.isprintable() for text in texts)
