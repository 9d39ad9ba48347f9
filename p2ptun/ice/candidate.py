"""A candidate: one transport address at which a side may be reached (RFC 8445 5.1, RFC 8839 5.1).

One whose address is hidden behind a name (draft-ietf-mmusic-mdns-ice-candidates) is a `Candidate` with a `name` on the
side that has it, and a `NamedCandidate` on the other: see `named.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.credential import UFRAG_TEXT
from p2ptun.ice.priority import COMPONENT
from p2ptun.types import Endpoint, Transport, without_zone

MAX_SDP_LENGTH = 512  # our choice: the longest line that the grammar and the extensions we know need is far shorter
MAX_PRIORITY = 2**31 - 1  # RFC 8445 5.1.2

_ICE_TEXT = re.compile(r"[A-Za-z0-9+/]{1,32}", re.ASCII)  # foundation, RFC 8839 5.1
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_UNKNOWN_RELATED = Endpoint(IPv4Address(0), 9)  # RFC 8839 5.1: what stands for a related address that isn't told


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of either side.

    Attributes:
        type: How it was learnt.
        endpoint: The transport address itself: what the other side sends to. UDP, or TCP with a `tcp_type`.
        priority: 1 to 2^31 - 1 (RFC 8445 5.1.2).
        foundation: Equal for candidates that will probably share their fate (RFC 8445 5.1.1.3).
        base: What we send from to use it: the socket's address. For a remote candidate the endpoint itself.
        related: For a reflexive or relayed candidate the address behind it, when told. For people only.
        generation: The ICE generation it belongs to, counted up by each restart.
        ufrag: The user name fragment that it was signalled with; empty when it wasn't told.
        tcp_type: For TCP only.
        is_at_relay: Whether one that was learnt from a check is at the address of a relay of the peer's.
        name: What signalling says in place of the address; empty where it says the address. For local candidates only.
    """

    type: CandidateType
    endpoint: Endpoint
    priority: int
    foundation: str
    base: Endpoint
    related: Endpoint | None = None
    generation: int = 0
    ufrag: str = ""
    tcp_type: TcpType | None = None
    is_at_relay: bool = False
    name: str = ""

    @property
    def transport(self) -> Transport:
        """What carries it."""
        return self.endpoint.transport

    @property
    def is_relayed(self) -> bool:
        """Whether a relay stands there; it may have given the peer another port which the peer couldn't tell yet."""
        return self.type is CandidateType.RELAYED or self.is_at_relay

    def to_sdp(self) -> str:
        """Write it as RFC 8839 5.1 has it, without `a=`: with its name, if it has one, or with its address.

        A zone stays at home: it means nothing elsewhere.
        """
        words = [f"candidate:{self.foundation} {COMPONENT} {self.transport.value.upper()} {self.priority}"]
        address = without_zone(self.endpoint.address)
        words.append(f"{self.name or address} {self.endpoint.port} typ {self.type.value}")
        if self.type is not CandidateType.HOST:
            related = self.related or _UNKNOWN_RELATED
            words.append(f"raddr {without_zone(related.address)} rport {related.port}")
        if self.tcp_type is not None:
            words.append(f"tcptype {self.tcp_type.value}")
        words.append(f"generation {self.generation}")
        if self.ufrag:
            words.append(f"ufrag {self.ufrag}")
        return " ".join(words)

    @classmethod
    def from_sdp(cls, text: str) -> Candidate:
        """Read a remote candidate from the `candidate:` line of RFC 8839 5.1, with or without `a=`. Untrusted.

        Unknown extensions are skipped, as the RFC asks. A name in place of the address is refused: what is written
        down here looks nothing up. `parse_candidate` (in `named.py`) reads lines with names too.

        Raises:
            MalformedPacket: If it isn't one, has a name for an address, or a component or transport that we don't
                support.
        """
        if len(text) > MAX_SDP_LENGTH:
            raise MalformedPacket(f"candidate: {len(text)} characters")
        words = text.strip().removeprefix("a=").removeprefix("candidate:").split()
        if len(words) < 8 or len(words) % 2 or words[6].lower() != "typ":
            raise MalformedPacket("candidate: words missing")
        foundation, component, transport, priority, address, port, _, candidate_type = words[:8]
        extensions = dict(zip(words[8::2], words[9::2], strict=True))
        if not _ICE_TEXT.fullmatch(foundation) or _number(component, COMPONENT, COMPONENT) != COMPONENT:
            raise MalformedPacket("candidate: foundation or component")
        endpoint = _endpoint(address, port, _transport(transport))
        tcp_type = _tcp_type(extensions.get("tcptype", ""))
        if (tcp_type is None) is (endpoint.transport is Transport.TCP):
            raise MalformedPacket("candidate: tcptype belongs to TCP, and TCP needs it")  # RFC 6544 4.5
        return cls(
            type=_candidate_type(candidate_type),
            endpoint=endpoint,
            priority=_number(priority, 1, MAX_PRIORITY),
            foundation=foundation,
            base=endpoint,
            related=_related(extensions, endpoint.transport),
            generation=_number(extensions.get("generation", "0"), 0, 2**32),
            ufrag=_ufrag(extensions.get("ufrag", "")),
            tcp_type=tcp_type,
        )


def _number(word: str, low: int, high: int) -> int:
    if not _NUMBER.fullmatch(word) or not low <= int(word) <= high:
        raise MalformedPacket("candidate: number")
    return int(word)


def _endpoint(address: str, port: str, transport: Transport) -> Endpoint:
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise MalformedPacket("candidate: address") from error
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise MalformedPacket("candidate: zone of another host")
    return Endpoint.of(parsed, _number(port, 0, 65535), transport)


def _related(extensions: dict[str, str], transport: Transport) -> Endpoint | None:
    """Read the related address; the zero address tells nothing and counts as none."""
    if "raddr" not in extensions or "rport" not in extensions:
        return None
    related = _endpoint(extensions["raddr"], extensions["rport"], transport)
    return None if related.address.is_unspecified else related


def _candidate_type(word: str) -> CandidateType:
    try:
        return CandidateType(word.lower())
    except ValueError as error:
        raise MalformedPacket("candidate: type") from error


def _transport(word: str) -> Transport:
    match word.lower():
        case "udp":
            return Transport.UDP
        case "tcp":
            return Transport.TCP
        case _:
            raise MalformedPacket("candidate: transport")


def _ufrag(word: str) -> str:
    if word and not UFRAG_TEXT.fullmatch(word):
        raise MalformedPacket("candidate: ufrag")
    return word


def _tcp_type(word: str) -> TcpType | None:
    try:
        return TcpType(word.lower()) if word else None
    except ValueError as error:
        raise MalformedPacket("candidate: tcptype") from error
