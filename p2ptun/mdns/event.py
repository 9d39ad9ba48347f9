"""What the machine tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.types import IPAddress


class LossReason(Enum):
    """Why a name has no address, for logs."""

    TIMEOUT = "nobody answered"
    AMBIGUOUS = "more than one address"  # the draft, 3.2.2: such a candidate is ignored
    UNACCEPTABLE = "no name that hides an address"
    TOO_MANY = "too many names at once"


@dataclass(frozen=True, slots=True)
class NameResolved:
    """A name that was asked for has this address."""

    name: str
    address: IPAddress


@dataclass(frozen=True, slots=True)
class NameLost:
    """A name that was asked for was given up. That is no fault: most peers are in other networks."""

    name: str
    reason: LossReason


MdnsEvent: TypeAlias = NameResolved | NameLost
