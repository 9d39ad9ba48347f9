from __future__ import annotations

from p2ptun.tunnel.event import Refusal, SessionFailure


def test_reasons_are_sentences_of_their_own() -> None:
    for reasons in (SessionFailure, Refusal):
        texts = [reason.value for reason in reasons]
        assert len(set(texts)) == len(texts)
        assert all(text and text.isprintable() and not text.endswith(".") for text in texts)
