"""Why a code has brought nobody together, in words for a person and for the rendezvous."""

from __future__ import annotations

from typing import Final

from p2ptun.errors import NotMet, RendezvousError, RoomGone, WrongCode
from p2ptun.rendezvous.base import BurnReason

CONFIRMATION_PATIENCE: Final = 30.0
"""Seconds in which who has come must have shown that he knows the code. He had one guess; silence is a wrong one."""

PARTING_PATIENCE: Final = 2.0
"""Seconds for a last word to the rendezvous: a person who ends the program is gone by then."""

CROWDED: Final = "Somebody else tried to join with this room's number, and was refused."


class Silence(NotMet):
    """Somebody has come, and never showed that he knows the code."""


def why_gone(error: RoomGone, again: str) -> RendezvousError:
    """Put into words why a room is gone; `again` is the remedy."""
    match error.reason:
        case BurnReason.WRONG_CODE.value:
            return WrongCode("Somebody has tried to join with a wrong code, which ends this one.", again)
        case BurnReason.DONE.value:
            return NotMet("This code has been used: each is good for one meeting.", again)
        case BurnReason.LEFT.value | BurnReason.SILENT.value:
            return NotMet("The other side has given up.", again)
        case _:
            return error


def burn_reason(error: RendezvousError) -> BurnReason:
    """Say to the other side why it is over."""
    match error:
        case WrongCode():
            return BurnReason.WRONG_CODE
        case Silence():
            return BurnReason.SILENT
        case _:
            return BurnReason.LEFT
