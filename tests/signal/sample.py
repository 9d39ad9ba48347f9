"""Descriptions to test with: a plain one, and strategies for any that can be written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from random import Random

from hypothesis import strategies as st

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.priority import candidate_priority, passive_preference
from p2ptun.signal.description import Description, Kind
from p2ptun.types import Endpoint, IPAddress, Transport


def make_candidate(
    address: str | IPAddress,
    port: int = 41641,
    candidate_type: CandidateType = CandidateType.HOST,
    preference: int = 65407,
    tcp_type: TcpType | None = None,
) -> Candidate:
    """Build a local candidate."""
    endpoint = Endpoint.of(address, port, Transport.TCP if tcp_type else Transport.UDP)
    priority = candidate_priority(candidate_type, preference, endpoint.transport)
    return Candidate(candidate_type, endpoint, priority, "1", endpoint, tcp_type=tcp_type)


def make_twin(candidate: Candidate) -> Candidate:
    """Build the passive TCP candidate with the address of a UDP candidate."""
    preference = passive_preference(candidate.type, candidate.priority >> 8 & 0xFFFF)
    address, port = candidate.endpoint.address, candidate.endpoint.port
    return make_candidate(address, port, candidate.type, preference, TcpType.PASSIVE)


def make_description(kind: Kind = Kind.OFFER, seed: int = 1, session: int = 1) -> Description:
    """Build a description with four candidates, as most have."""
    random = Random(seed)
    return Description(
        kind=kind,
        session_id=Random(session).randbytes(8),
        credentials=Credentials.generate(random.randbytes),
        public_key=random.randbytes(32),
        candidates=(
            make_candidate("192.168.1.7"),
            make_candidate("203.0.113.7", candidate_type=CandidateType.SERVER_REFLEXIVE),
            make_candidate("2001:db8::7"),
            make_candidate("2001:db8::8", candidate_type=CandidateType.RELAYED),
        ),
        address_bids=0xFFFF,
    )


numbers = st.integers(0, 65535)
ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda address: address.ipv4_mapped is None)
candidates = st.builds(
    make_candidate,
    address=st.one_of(ipv4, ipv6),
    port=numbers,
    candidate_type=st.sampled_from(CandidateType),
    preference=numbers,
    tcp_type=st.one_of(st.none(), st.sampled_from(TcpType)),
)
interfaces = st.one_of(
    st.tuples(ipv4, st.integers(0, 32)).map(IPv4Interface), st.tuples(ipv6, st.integers(0, 128)).map(IPv6Interface)
)
networks = st.one_of(
    st.tuples(ipv4, st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False)),
    st.tuples(ipv6, st.integers(0, 128))
    .map(lambda pair: IPv6Network(pair, strict=False))
    .filter(lambda network: network.network_address.ipv4_mapped is None),
)
credentials = st.builds(
    lambda random, generation: Credentials.generate(random.randbytes, generation), st.randoms(), st.integers(0, 255)
)
descriptions = st.builds(
    Description,
    kind=st.sampled_from(Kind),
    session_id=st.binary(min_size=8, max_size=8),
    credentials=credentials,
    public_key=st.binary(min_size=32, max_size=32),
    candidates=st.lists(candidates, max_size=6).map(tuple),
    end_of_candidates=st.booleans(),
    addresses=st.lists(interfaces, max_size=3).map(tuple),
    address_bids=numbers,
    routes=st.lists(networks, max_size=3).map(tuple),
    features=numbers,
)
