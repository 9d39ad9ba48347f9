"""What is told of a room that is gone, and what a room is told at its end."""

from __future__ import annotations

import pytest

from p2ptun.daemon.room_problem import Silence, burn_reason, why_gone
from p2ptun.errors import NotMet, RendezvousError, RoomGone, WrongCode
from p2ptun.rendezvous.base import BurnReason


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        (BurnReason.WRONG_CODE, WrongCode, "wrong code"),
        (BurnReason.DONE, NotMet, "has been used"),
        (BurnReason.LEFT, NotMet, "given up"),
        (BurnReason.SILENT, NotMet, "given up"),
    ],
)
def test_every_reason_has_its_words_and_the_remedy(reason: BurnReason, kind: type[RendezvousError], words: str) -> None:
    told = why_gone(RoomGone("Gone.", "", reason.value), "Share again.")
    assert type(told) is kind
    assert words in str(told)
    assert told.remedy == "Share again."


def test_a_reason_that_is_new_is_told_as_it_came() -> None:
    gone = RoomGone("Gone.", "Ask why.", "moonlight")
    assert why_gone(gone, "Share again.") is gone


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WrongCode("x"), BurnReason.WRONG_CODE),
        (Silence("x"), BurnReason.SILENT),
        (NotMet("x"), BurnReason.LEFT),
        (RendezvousError("x"), BurnReason.LEFT),
    ],
)
def test_the_other_side_is_told_why(error: RendezvousError, reason: BurnReason) -> None:
    assert burn_reason(error) is reason
