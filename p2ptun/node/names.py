"""Names for our own host addresses (draft-ietf-mmusic-mdns-ice-candidates, 3.1)."""

from __future__ import annotations

from collections.abc import Container

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.named import disguise
from p2ptun.mdns.name import draw_name
from p2ptun.types import IPAddress, RandomBytes


class HostNames:
    """Gives each address of this machine one name, drawn when it is first asked for and kept while the process lives.

    So a name says nothing of the address, two addresses have nothing in common, and no name outlives the tunnel
    (3.3.3). Candidates of one address share it, whatever their ports and transports.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._names: dict[IPAddress, str] = {}

    def name_of(self, address: IPAddress) -> str:
        """Return the name of an address, which carries its zone if it has one."""
        if address not in self._names:
            self._names[address] = draw_name(self._random_bytes)
        return self._names[address]

    def disguise(self, candidate: Candidate, public: Container[IPAddress] = ()) -> Candidate:
        """Return the form of a local candidate that the other side, and whoever carries signalling, may see.

        An address in `public` is that of a server-reflexive candidate too, and what that tells is no secret (3.1.2.2).
        """
        if candidate.base.address in public:
            return candidate
        return disguise(candidate, self.name_of(candidate.base.address))
