from __future__ import annotations

from collections import Counter

from p2ptun.dataplane.drop import DropReason as DataDrop
from p2ptun.node.drop import DropReason, labelled


def test_reasons_are_phrases_of_their_own() -> None:
    texts = [reason.value for reason in DropReason]
    assert len(set(texts)) == len(texts)
    assert all(text and text.isprintable() for text in texts)


def test_a_reason_is_shown_with_its_layer() -> None:
    data = Counter({DataDrop.EMPTY: 2, DataDrop.NO_ROOM: 0})
    peer = Counter({DropReason.QUEUE_FULL: 3})
    assert labelled("data", data) + labelled("peer", peer) == {"data: nothing inside": 2, "peer: queue full": 3}
    assert "data: no room in the batch" not in labelled("data", data)
