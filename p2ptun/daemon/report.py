"""Collects the status document from the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2ptun.daemon.event import milliseconds, server_text
from p2ptun.daemon.status import (
    SCHEMA_VERSION,
    Health,
    IceStatus,
    InterfaceStatus,
    NatStatus,
    PeerStatus,
    RelayStatus,
    Status,
    path_status,
)
from p2ptun.ice.nat_hint import MappingKind
from p2ptun.node.link import Link, Traffic
from p2ptun.node.node import Node
from p2ptun.node.path import Path
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import encode_key
from p2ptun.turn.server import Server
from p2ptun.turn.status import AllocationStatus

_MAPPINGS = {MappingKind.INDEPENDENT: "endpoint-independent", MappingKind.DEPENDENT: "endpoint-dependent"}


def report(
    node: Node, interface: InterfaceStatus, health: Iterable[Health], drops: Mapping[str, int], now: float
) -> Status:
    """Describe a tunnel as it is at `now`; `drops` are those that concern no single peer."""
    return Status(
        schema_version=SCHEMA_VERSION,
        interface=interface,
        nat=_nat_status(node),
        peers=[_peer_status(node, peer, interface.mtu, now) for peer in node.peers],
        health=list(health),
        drops=dict(drops),
        relays=[_relay_status(each, now) for each in node.relays.allocations],
    )


def _nat_status(node: Node) -> NatStatus:
    """Say what the servers' answers tell of the NAT before us; only `p2ptun netcheck` asks about filtering."""
    known = (peer.agent.nat_hint.mapping for peer in node.peers)
    return NatStatus(mapping=next((_MAPPINGS[mapping] for mapping in known if mapping in _MAPPINGS), None))


def _relay_status(allocation: AllocationStatus, now: float) -> RelayStatus:
    expires_at, problem = allocation.expires_at, allocation.problem
    return RelayStatus(
        server=server_text(allocation.server),
        transport=allocation.server.endpoint.transport.value,
        addresses=[str(relayed) for relayed in allocation.relayed],
        state=allocation.state.value,
        rtt_ms=milliseconds(allocation.rtt),
        expires_s=None if expires_at is None else round(expires_at - now, 3),
        problem=None if problem is None else problem.value,
    )


def _relay_of(node: Node, path: Path | None) -> Server | None:
    """Find the relay of ours that a path leads over."""
    if path is None:
        return None
    return next((each.server for each in node.relays.allocations if path.base in each.relayed), None)


def _peer_status(node: Node, peer: Peer, mtu: int, now: float) -> PeerStatus:
    link, agent = peer.link, peer.agent
    traffic = Traffic() if link is None else link.traffic
    done, total = agent.checks
    return PeerStatus(
        name=peer.name,
        public_key="" if link is None else encode_key(link.identity.public_key),
        allowed_ips=[] if link is None else [str(network) for network in link.identity.allowed_ips],
        state=peer.state.value,
        reason=None if peer.reason is None else peer.reason.value,
        path=path_status(peer.path, mtu, _relay_of(node, peer.path)),
        standby_path=path_status(peer.standby, mtu, _relay_of(node, peer.standby)),
        aead=_aead(link),
        quantum_resistant=link is not None and link.identity.is_quantum_resistant,
        last_handshake_s=_handshake_age(link, now),
        tx_bytes=traffic.tx_bytes,
        rx_bytes=traffic.rx_bytes,
        tx_packets=traffic.tx_packets,
        rx_packets=traffic.rx_packets,
        drops=dict(peer.drops),
        ice=IceStatus(agent.role.value, len(agent.pairs), agent.generation, done, total),
        next_timer=peer.next_timer,
    )


def _aead(link: Link | None) -> str | None:
    algorithm = None if link is None else link.session.algorithm
    return None if algorithm is None else algorithm.value


def _handshake_age(link: Link | None, now: float) -> float | None:
    at = None if link is None else link.session.established_at
    return None if at is None else round(now - at, 3)
