"""TCP candidates: who opens the connection, who waits, and which of them meet (RFC 6544).

A connection is no object here. A base of type ACTIVE has the discard port and stands for a connection to each remote
candidate it is paired with; PASSIVE and SIMULTANEOUS_OPEN have the port that they listen on. The owner of the agent
opens a connection when a check is to go where none leads, and tells `Agent.record_send_error` when that fails.
"""

from __future__ import annotations

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import TcpType
from p2ptun.types import Endpoint, IPAddress, Transport

ACTIVE_PORT = 9  # RFC 6544 4.5: "discard", for a port that the kernel will choose with each connection

_MEETS: dict[TcpType | None, TcpType | None] = {
    None: None,
    TcpType.ACTIVE: TcpType.PASSIVE,
    TcpType.PASSIVE: TcpType.ACTIVE,
    TcpType.SIMULTANEOUS_OPEN: TcpType.SIMULTANEOUS_OPEN,
}


def active_base(address: IPAddress) -> Endpoint:
    """Give the base that stands for the connections which we open from `address`."""
    return Endpoint(address, ACTIVE_PORT, Transport.TCP)


def base_type(base: Endpoint) -> TcpType | None:
    """Tell what a base is unless somebody says better: active with the discard port, else passive; None for UDP."""
    if base.transport is Transport.UDP:
        return None
    return TcpType.ACTIVE if base.port == ACTIVE_PORT else TcpType.PASSIVE


def can_pair(local: Candidate, remote: Candidate) -> bool:
    """Tell whether the two make a pair to be checked (RFC 6544 6.2); always so for two UDP candidates.

    Active meets passive, simultaneous-open its like. A local passive candidate is left out: the peer opens the
    connection, and its first check makes the pair.
    """
    return initiates(local) and remote.tcp_type is _MEETS[local.tcp_type]


def initiates(local: Candidate) -> bool:
    """Tell whether a check may go out unasked; from a passive base only where a connection has come from."""
    return local.tcp_type is not TcpType.PASSIVE


def learnt_type(local: Candidate) -> TcpType | None:
    """Give the type of the peer-reflexive candidate whose check came to `local` (RFC 6544 7.2)."""
    return _MEETS[local.tcp_type]


def has_to_be_told(local: Candidate) -> bool:
    """Tell whether the peer can do anything with a candidate of ours: an active one shows when it connects."""
    return local.tcp_type is not TcpType.ACTIVE
