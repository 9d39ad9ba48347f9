"""What people read: each reason is the end of a sentence, and no two are the same."""

from __future__ import annotations

from enum import Enum

import pytest

from p2ptun.turn.event import DropReason, LossReason, Problem
from p2ptun.turn.status import AllocationState


@pytest.mark.parametrize("words", [DropReason, LossReason, Problem, AllocationState])
def test_they_are_fragments(words: type[Enum]) -> None:
    texts = [each.value for each in words]
    assert len(set(texts)) == len(words.__members__)
    for text in texts:
        assert text == text.strip()
        assert text[0].islower() or text.split()[0] == "ICMP"
        assert not text.endswith(".")
