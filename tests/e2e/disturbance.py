"""What happens to machines that move about: another network, another address, a NAT that forgets."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.e2e.lab import Lab, Node, Router

FLUSH = """
import socket, struct
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
kernel.send(struct.pack("=IHHIIBBH", 20, 0x102, 0x5, 1, 0, 0, 0, 0))
length, kind, flags, sequence, port, error = struct.unpack_from("=IHHIIi", kernel.recv(100))
raise SystemExit(error)
"""
"""Delete all of conntrack (nfnetlink: IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, without a filter)."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """Another interface of a host, behind a router. It is down, and has its address when it is up."""

    device: str
    address: IPv4Address
    gateway: IPv4Address

    def up(self, metric: int) -> str:
        """Write the commands that bring it into use; a smaller metric wins."""
        return (
            f"ip address add {self.address}/24 dev {self.device}; ip link set {self.device} up; "
            f"ip route add default via {self.gateway} dev {self.device} metric {metric}; "
        )


def add_uplink(lab: Lab, host: Node, router: Router, device: str = "eth1") -> Uplink:
    """Plug a host into another router as well."""
    port = f"to-{device}"
    script = f"ip link add {device} type veth peer name {port} netns {router.node.namespace}"
    lab.shell(host.namespace, script)
    lab.shell(router.node.namespace, f"ip link set {port} master lan; ip link set {port} up")
    return Uplink(device, router.lan_v4[next(router.hosts)], router.lan_v4[1])


def forget_flows(lab: Lab, router: Router) -> None:
    """Let a NAT forget every binding, as one does that restarts."""
    done = lab.run(router.node, [sys.executable, "-c", FLUSH])
    assert done.returncode == 0, done


def change_ports(lab: Lab, router: Router) -> None:
    """Let a NAT give other ports to what it translates from now on."""
    rules = (
        'flush chain ip translation outgoing; add rule ip translation outgoing oifname "wan" masquerade fully-random'
    )
    lab.shell(router.node.namespace, f"nft '{rules}'")
