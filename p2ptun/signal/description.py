"""The description: everything one side tells the other so that a tunnel between them can come up.

::

    0      1      bit 0: answer, else offer; bit 1: no more candidates will follow
    1      8      session id, drawn by the side that offers
    9      1      ICE generation, modulo 256
    10     6      ICE user name fragment: what its base64 text stands for
    16     18     ICE password, likewise
    34     32     Noise static public key
    66     2      features: what is known of the NAT before this side, as in `ice.nat_hint`
    68     2      address bids: which of the proposed tunnel networks are free here (see `signal.address`)
    70     1 + n  candidates: how many, then each as in `signal.candidate`, twins as one
    ..     1 + n  addresses in the tunnel: how many, then each as prefix and address
    ..     1 + n  networks that this side offers a route to, likewise

A prefix is one byte: its length for IPv4, its length + 64 for IPv6. Bits and bytes that have no meaning yet are written
as zero and skipped by who reads them, so that a later version can say more; what an older one couldn't understand takes
a new version of the form around it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import blake2s
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.credential import PASSWORD_BYTES, UFRAG_BYTES, Credentials
from p2ptun.ice.named import ToldCandidate
from p2ptun.signal.candidate import encode_candidates, take_candidates
from p2ptun.signal.cursor import Cursor
from p2ptun.types import IPAddress, IPInterface, IPNetwork, RandomBytes

SESSION_ID_SIZE = 8  # 64 bits: enough that nobody's answer fits somebody else's offer by chance
PUBLIC_KEY_SIZE = 32
MAX_CANDIDATES = 64  # our choice: a machine with more addresses than that tells the best ones
MAX_ADDRESSES = 16
MAX_ROUTES = 64
MAX_DESCRIPTION_SIZE = 3000  # our choice: every list full takes 2,777, and its blob is still one line for a terminal

_ANSWER, _END_OF_CANDIDATES = 1, 2
_IPV6 = 64


class Kind(Enum):
    """Who speaks: the side that shares, or the one that joins."""

    OFFER = "offer"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Description:
    """What one side tells the other.

    Attributes:
        kind: Offer or answer.
        session_id: 8 bytes; the answer repeats the offer's.
        credentials: ICE user name fragment, password and generation.
        public_key: The Noise static key that this side will prove to have.
        candidates: Those known so far.
        end_of_candidates: Whether no more will follow.
        addresses: Addresses of this side in the tunnel, where it insists on some.
        address_bids: 16 bits: bit n is set when the proposed network n is free here.
        routes: Networks behind this side.
        features: 16 bits, a hint at the NAT before this side; it gets better, and nothing hangs on it.
    """

    kind: Kind
    session_id: bytes
    credentials: Credentials
    public_key: bytes
    candidates: tuple[ToldCandidate, ...] = ()
    end_of_candidates: bool = False
    addresses: tuple[IPInterface, ...] = ()
    address_bids: int = 0
    routes: tuple[IPNetwork, ...] = ()
    features: int = 0

    @property
    def generation(self) -> int:
        """The ICE generation, counted up by each restart."""
        return self.credentials.generation


def draw_session_id(random_bytes: RandomBytes) -> bytes:
    """Draw the id of a new session."""
    return random_bytes(SESSION_ID_SIZE)


def encode_description(description: Description) -> bytes:
    """Write our own description.

    Raises:
        LocalProtocolError: If a field has a size that the layout has no room for.
    """
    credentials = description.credentials
    flags = (description.kind is Kind.ANSWER) * _ANSWER | description.end_of_candidates * _END_OF_CANDIDATES
    return b"".join(
        [
            bytes([flags]),
            _sized(description.session_id, SESSION_ID_SIZE),
            bytes([credentials.generation & 0xFF]),
            _sized(_from_text(credentials.ufrag), UFRAG_BYTES),
            _sized(_from_text(credentials.password), PASSWORD_BYTES),
            _sized(description.public_key, PUBLIC_KEY_SIZE),
            description.features.to_bytes(2, "big"),
            description.address_bids.to_bytes(2, "big"),
            _counted(encode_candidates(description.candidates), MAX_CANDIDATES),
            _counted([_encode_interface(address) for address in description.addresses], MAX_ADDRESSES),
            _counted([_encode_network(route) for route in description.routes], MAX_ROUTES),
        ]
    )


def decode_description(data: bytes) -> Description:
    """Read the other side's description. Untrusted. Raises MalformedPacket."""
    if len(data) > MAX_DESCRIPTION_SIZE:
        raise MalformedPacket(f"a description of {len(data)} bytes")
    cursor = Cursor(data)
    flags = cursor.number(1)
    session_id = cursor.take(SESSION_ID_SIZE)
    credentials = _take_credentials(cursor)
    return Description(
        kind=Kind.ANSWER if flags & _ANSWER else Kind.OFFER,
        session_id=session_id,
        credentials=credentials,
        public_key=cursor.take(PUBLIC_KEY_SIZE),
        features=cursor.number(2),
        address_bids=cursor.number(2),
        candidates=tuple(
            candidate
            for _ in range(_take_count(cursor, MAX_CANDIDATES))
            for candidate in take_candidates(cursor, credentials.generation, credentials.ufrag)
        ),
        addresses=tuple(_take_interface(cursor) for _ in range(_take_count(cursor, MAX_ADDRESSES))),
        routes=tuple(_take_network(cursor) for _ in range(_take_count(cursor, MAX_ROUTES))),
        end_of_candidates=bool(flags & _END_OF_CANDIDATES),
    )


def terms(offer: Description, answer: Description) -> bytes:
    """Hash what offer and answer say, but for the candidates and the NAT, of which more may come to be known.

    The handshake takes it in. Whoever carries descriptions and changes one, though not its key, so gets no tunnel
    instead of one with other addresses and routes than the two sides meant.
    """
    lasting = (replace(each, candidates=(), end_of_candidates=False, features=0) for each in (offer, answer))
    return blake2s(b"".join(map(encode_description, lasting)), person=b"p2ptun-t").digest()


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise LocalProtocolError(f"a description has room for {size} bytes, not {len(data)}")
    return data


def _from_text(text: str) -> bytes:
    """Turn credentials into the bytes that their text stands for; `_sized` refuses any that weren't made from bytes."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _counted(items: list[bytes], limit: int) -> bytes:
    if len(items) > limit:
        raise LocalProtocolError(f"{len(items)} entries in a list of a description, {limit} at most")
    return bytes([len(items)]) + b"".join(items)


def _encode_interface(interface: IPInterface) -> bytes:
    return _encode_prefix(interface.version, interface.network.prefixlen) + interface.ip.packed


def _encode_network(network: IPNetwork) -> bytes:
    return _encode_prefix(network.version, network.prefixlen) + network.network_address.packed


def _encode_prefix(version: int, length: int) -> bytes:
    return bytes([length + (_IPV6 if version == 6 else 0)])


def _take_credentials(cursor: Cursor) -> Credentials:
    generation = cursor.number(1)
    ufrag, password = cursor.take(UFRAG_BYTES), cursor.take(PASSWORD_BYTES)
    return Credentials(base64.b64encode(ufrag).decode(), base64.b64encode(password).decode(), generation)


def _take_count(cursor: Cursor, limit: int) -> int:
    count = cursor.number(1)
    if count > limit:
        raise MalformedPacket(f"{count} entries in a list of a description, {limit} at most")
    return count


def _take_interface(cursor: Cursor) -> IPInterface:
    address, length = _take_prefix(cursor)
    return IPv4Interface((address, length)) if address.version == 4 else IPv6Interface((address, length))


def _take_network(cursor: Cursor) -> IPNetwork:
    address, length = _take_prefix(cursor)
    try:
        return IPv4Network((address, length)) if address.version == 4 else IPv6Network((address, length))
    except ValueError as error:
        raise MalformedPacket("a network with host bits") from error


def _take_prefix(cursor: Cursor) -> tuple[IPAddress, int]:
    """Take a prefix and an address. IPv4 dressed up as IPv6 is refused: it would pass by filters meant for IPv4."""
    prefix = cursor.number(1)
    size, length = (4, prefix) if prefix < _IPV6 else (16, prefix - _IPV6)
    address = ip_address(cursor.take(size))
    if length > size * 8 or (address.version == 6 and address.ipv4_mapped is not None):
        raise MalformedPacket(f"the prefix {address}/{length}")
    return address, length
