"""Collects the status document from the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2ptun.daemon.status import (
    SCHEMA_VERSION,
    Health,
    IceStatus,
    InterfaceStatus,
    NatStatus,
    PeerStatus,
    Status,
    path_status,
)
from p2ptun.node.link import Link, Traffic
from p2ptun.node.node import Node
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import encode_key


def report(
    node: Node, interface: InterfaceStatus, health: Iterable[Health], drops: Mapping[str, int], now: float
) -> Status:
    """Describe a tunnel as it is at `now`; `drops` are those that concern no single peer."""
    return Status(
        schema_version=SCHEMA_VERSION,
        interface=interface,
        nat=NatStatus(),
        peers=[_peer_status(peer, interface.mtu, now) for peer in node.peers],
        health=list(health),
        drops=dict(drops),
    )


def _peer_status(peer: Peer, mtu: int, now: float) -> PeerStatus:
    link, agent = peer.link, peer.agent
    traffic = Traffic() if link is None else link.traffic
    done, total = agent.checks
    return PeerStatus(
        name=peer.name,
        public_key="" if link is None else encode_key(link.identity.public_key),
        allowed_ips=[] if link is None else [str(network) for network in link.identity.allowed_ips],
        state=peer.state.value,
        reason=None if peer.reason is None else peer.reason.value,
        path=path_status(peer.path, mtu),
        standby_path=path_status(peer.standby, mtu),
        aead=_aead(link),
        quantum_resistant=False,
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
