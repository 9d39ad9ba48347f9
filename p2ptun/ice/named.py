"""Candidates whose address hides behind a name (draft-ietf-mmusic-mdns-ice-candidates).

On the side that hides, `disguise` makes of a candidate what may be signalled. On the other side `parse_candidate` gives
a `NamedCandidate`, which is no candidate yet: somebody resolves its name, then `resolve` makes the candidate of it, and
the agent never sees a name.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final, TypeAlias

from p2ptun.ice.candidate import MAX_SDP_LENGTH, Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.types import Endpoint, IPAddress, Transport, unmapped

_NAME = re.compile(r"[a-z0-9-]{1,63}\.local", re.ASCII | re.IGNORECASE)
_ADDRESS_WORD: Final = 4  # among the words of a line, RFC 8839 5.1
_NO_ADDRESS: Final = str(IPv4Address(0))  # keeps the name's place while the rest is read


@dataclass(frozen=True, slots=True)
class NamedCandidate:
    """A candidate of the other side without its address. All but `name` and `port` are as in `Candidate`.

    Attributes:
        name: One label and `.local`, in lower case (the draft, 3.2.1). Who resolves it may be stricter.
        port: The port at the address that the name has.
    """

    name: str
    port: int
    type: CandidateType
    transport: Transport
    priority: int
    foundation: str
    generation: int = 0
    ufrag: str = ""
    tcp_type: TcpType | None = None

    def resolve(self, address: IPAddress) -> Candidate:
        """Make the candidate, once the name's address is known."""
        endpoint = Endpoint(unmapped(address), self.port, self.transport)
        return Candidate(
            type=self.type,
            endpoint=endpoint,
            priority=self.priority,
            foundation=self.foundation,
            base=endpoint,
            generation=self.generation,
            ufrag=self.ufrag,
            tcp_type=self.tcp_type,
        )


ToldCandidate: TypeAlias = Candidate | NamedCandidate
"""What the other side tells."""


def place_of(candidate: ToldCandidate) -> Hashable:
    """Give what makes one candidate out of all that is told of it in the course of time."""
    if isinstance(candidate, NamedCandidate):
        return candidate.name, candidate.port, candidate.transport
    return candidate.endpoint


def parse_candidate(text: str) -> ToldCandidate:
    """Read a remote candidate as `Candidate.from_sdp` does, and one with a name in place of its address. Untrusted.

    Raises:
        MalformedPacket: As `Candidate.from_sdp`; also for a name with more labels than one before `.local`.
    """
    words = text.split() if len(text) <= MAX_SDP_LENGTH else []
    if len(words) <= _ADDRESS_WORD or not _NAME.fullmatch(words[_ADDRESS_WORD]):
        return Candidate.from_sdp(text)
    name, words[_ADDRESS_WORD] = words[_ADDRESS_WORD].lower(), _NO_ADDRESS
    rest = Candidate.from_sdp(" ".join(words))
    return NamedCandidate(
        name=name,
        port=rest.endpoint.port,
        type=rest.type,
        transport=rest.transport,
        priority=rest.priority,
        foundation=rest.foundation,
        generation=rest.generation,
        ufrag=rest.ufrag,
        tcp_type=rest.tcp_type,
    )


def disguise(candidate: Candidate, name: str) -> Candidate:
    """Give the form of a local candidate in which signalling says nothing of the address of its base.

    A host candidate shows `name`, which is that of its address. A reflexive or relayed one shows where it is seen, as
    that is what it is for, but not what is behind: its related address is left out (the draft, 3.1.2.2).
    """
    if candidate.type is CandidateType.HOST:
        return replace(candidate, name=name)
    return replace(candidate, related=None)
