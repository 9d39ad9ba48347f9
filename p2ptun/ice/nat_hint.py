"""What ICE has to know of the NATs before both sides in order to find a way where checks alone don't (RFC 4787 4.1).

A hint fits into 16 bits, and bits without a meaning are zero::

    bit  0      left to renomination
    bit  1      this side takes part in a port search
    bits 2-3    mapping: unknown, independent of the endpoint, dependent
    bits 4-11   delta, two's complement
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from p2ptun.types import Endpoint

MAX_DELTA = 16
"""Our choice: two mappings further apart than that were made by chance, or with many others between them."""

_SEARCH, _MAPPING_SHIFT, _DELTA_SHIFT = 2, 2, 4


class MappingKind(Enum):
    """Whether a NAT shows one socket to everybody at the same endpoint. Values are those on the wire."""

    UNKNOWN = 0  # fewer than two servers have answered
    INDEPENDENT = 1  # endpoint-independent, or no NAT at all
    DEPENDENT = 2  # address-dependent, or address- and port-dependent


@dataclass(frozen=True, slots=True)
class NatHint:
    """One side's NAT.

    Attributes:
        mapping: What its mappings depend on.
        delta: From the port of one new mapping to that of the next; 0 when it can't be foretold.
        has_search: Whether this side takes part in a port search.
    """

    mapping: MappingKind = MappingKind.UNKNOWN
    delta: int = 0
    has_search: bool = False

    def encode(self) -> int:
        """Write it as a number of 16 bits."""
        return _SEARCH * self.has_search | self.mapping.value << _MAPPING_SHIFT | (self.delta & 0xFF) << _DELTA_SHIFT

    @classmethod
    def decode(cls, number: int) -> NatHint:
        """Read what the other side tells: a hint, so nonsense reads as not knowing."""
        value = number >> _MAPPING_SHIFT & 3
        mapping = MappingKind(value) if value <= MappingKind.DEPENDENT.value else MappingKind.UNKNOWN
        delta = number >> _DELTA_SHIFT & 0xFF
        delta -= 0x100 * (delta > 0x7F)
        return cls(mapping, delta if abs(delta) <= MAX_DELTA else 0, bool(number & _SEARCH))


NO_HINT = NatHint()
"""What is known of somebody who tells nothing."""


def judge(seen: Iterable[Mapping[int, Endpoint]], has_search: bool) -> NatHint:
    """Conclude from where servers saw each socket, by the order in which they were asked, what the NAT does."""
    rows = [[endpoint for _, endpoint in sorted(row.items())] for row in seen if len(row) > 1]
    if not rows:
        return NatHint(has_search=has_search)
    if all(len(set(row)) == 1 for row in rows):
        return NatHint(MappingKind.INDEPENDENT, 0, has_search)
    steps = {after.port - before.port for row in rows for before, after in pairwise(row)}
    delta = steps.pop() if len(steps) == 1 else 0
    return NatHint(MappingKind.DEPENDENT, delta if abs(delta) <= MAX_DELTA else 0, has_search)
