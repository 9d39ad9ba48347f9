"""Which ports to relay from (RFC 8656 7.2)."""

from __future__ import annotations

from enum import Enum
from hashlib import blake2s
from typing import Final

from p2ptun.relay.config import ServerConfig
from p2ptun.types import Endpoint, IPAddress, RandomBytes

_DRAW_SIZE: Final = 8


class Parity(Enum):
    """What a client wants of its port: EVEN-PORT (RFC 8656 18.7)."""

    ANY = "any"
    EVEN = "even"
    PAIR = "even, and the next one reserved"

    @property
    def ports(self) -> int:
        """How many ports that takes."""
        return 2 if self is Parity.PAIR else 1


class Ports:
    """The ports of the relay addresses, and those of them that are taken.

    The first one tried is random, so that nobody who isn't told can guess who relays where. With a key it looks random
    to everybody else, but is the same again for the same owner: when the server was restarted, clients get back the
    addresses that they have told their peers, whom they may have no other way to tell new ones.
    """

    __slots__ = ("_addresses", "_highest", "_key", "_lowest", "_random_bytes", "_taken")

    def __init__(self, config: ServerConfig, random_bytes: RandomBytes) -> None:
        self._addresses = config.relay_addresses
        self._lowest = config.lowest_port
        self._highest = config.highest_port
        self._key = config.port_key
        self._random_bytes = random_bytes
        self._taken: dict[IPAddress, set[int]] = {address: set() for address in self._addresses}

    @property
    def taken(self) -> int:
        """How many are taken."""
        return sum(map(len, self._taken.values()))

    def has_family(self, version: int) -> bool:
        """Tell whether there is an address of this IP version."""
        return any(address.version == version for address in self._addresses)

    def take(self, version: int, parity: Parity, owner: str) -> Endpoint | None:
        """Take a free port of this IP version, and with PAIR the next one too; None when there is none.

        `owner` names whom it is for, the same each time that the same client comes.
        """
        draw = self._draw(owner)
        addresses = [address for address in self._addresses if address.version == version]
        turn = draw % len(addresses) if addresses else 0
        for address in addresses[turn:] + addresses[:turn]:
            port = self._find(self._taken[address], parity, draw)
            if port is not None:
                self._taken[address].update((port, port + 1) if parity is Parity.PAIR else (port,))
                return Endpoint(address, port)
        return None

    def release(self, relayed: Endpoint) -> None:
        """Give a port back."""
        self._taken[relayed.address].discard(relayed.port)

    def _find(self, taken: set[int], parity: Parity, draw: int) -> int | None:
        count = self._highest - self._lowest + 1
        if len(taken) >= count:
            return None
        for offset in range(count):
            port = self._lowest + (draw + offset) % count
            if self._fits(port, taken, parity):
                return port
        return None

    def _fits(self, port: int, taken: set[int], parity: Parity) -> bool:
        if port in taken or (parity is not Parity.ANY and port % 2):
            return False
        return parity is not Parity.PAIR or (port < self._highest and port + 1 not in taken)

    def _draw(self, owner: str) -> int:
        if not self._key:
            return int.from_bytes(self._random_bytes(_DRAW_SIZE), "big")
        return int.from_bytes(blake2s(owner.encode(), key=self._key, digest_size=_DRAW_SIZE).digest(), "big")
