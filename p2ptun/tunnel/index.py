"""Session indices: the three bytes by which a datagram names the keypair that opens it."""

from __future__ import annotations

from typing import Generic, NewType, TypeVar

from p2ptun.errors import LocalProtocolError
from p2ptun.types import RandomBytes

SessionIndex = NewType("SessionIndex", int)
"""An unsigned 24-bit number, chosen by the receiver of the datagrams that carry it."""

INDEX_SIZE = 3
MAX_INDICES = 1 << 20  # a sixteenth of the space: a random draw is taken with probability 1/16 at most

OwnerT = TypeVar("OwnerT")


class IndexTable(Generic[OwnerT]):
    """Hand out random session indices and tell whose each one is.

    One table serves all sessions behind one set of sockets. Indices are drawn at random so that they tell an observer
    nothing about how many sessions there are and so that a late datagram hardly ever names a newer keypair.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._owners: dict[SessionIndex, OwnerT] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def find(self, index: int) -> OwnerT | None:
        """Tell who claimed `index`; None when nobody did."""
        return self._owners.get(SessionIndex(index))

    def claim(self, owner: OwnerT) -> SessionIndex:
        """Reserve an index nobody has.

        Raises:
            LocalProtocolError: 2^20 are in use; somebody forgets to release them.
        """
        if len(self._owners) >= MAX_INDICES:
            raise LocalProtocolError("no session index is left")
        while True:
            index = SessionIndex(int.from_bytes(self._random_bytes(INDEX_SIZE), "big"))
            if index not in self._owners:
                self._owners[index] = owner
                return index

    def release(self, index: SessionIndex) -> None:
        """Give an index back; harmless when it isn't claimed."""
        self._owners.pop(index, None)
