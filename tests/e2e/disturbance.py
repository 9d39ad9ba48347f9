"""What happens to networks and machines: moves, reboots, blackholes, loss, packets that are too large.

Each takes effect when the function returns. `Lab.cut` and `Lab.restore` are there too; a server is killed as any
program is, by its process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from tests.e2e.lab import Lab, Node, Router
from tests.e2e.place import ends
from tests.e2e.usernat import DEVICE

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


def move(lab: Lab, host: Node, router: Router) -> Node:
    """Give a host behind a router another IPv4 address of the same network; the old one is gone."""
    new, gateway = router.lan_v4[next(router.hosts)], router.lan_v4[1]
    lab.shell(
        host.namespace,
        f"""
echo 1 > /proc/sys/net/ipv4/conf/{host.device}/promote_secondaries
ip address add {new}/24 dev {host.device}
ip address del {host.ipv4}/24 dev {host.device}
ip route replace default via {gateway} dev {host.device}""",
    )
    return replace(host, ipv4=new)


# NATs


def forget_flows(lab: Lab, router: Router) -> None:
    """Let a NAT forget every binding, as one does that restarts."""
    done = lab.run(router.node, [sys.executable, "-c", FLUSH])
    assert done.returncode == 0, done
    if router.udp is not None:
        router.udp.reboot()


def change_ports(lab: Lab, router: Router) -> None:
    """Let the kernel's NAT give other ports to what it translates from now on; an exact one does so by itself."""
    rules = (
        'flush chain ip translation outgoing; add rule ip translation outgoing oifname "wan" masquerade fully-random'
    )
    lab.shell(router.node.namespace, f"nft '{rules}'")


def renumber(lab: Lab, router: Router) -> None:
    """Give a router on the net another public IPv4 address, of the same /28, and let it forget every binding."""
    old = router.node.ipv4
    assert old is not None
    new, gateway = old + 1, IPv4Address(int(old) & ~0xF | 1)
    lab.shell(
        router.node.namespace,
        f"""
echo 1 > /proc/sys/net/ipv4/conf/wan/promote_secondaries
ip address add {new}/28 dev wan
ip address del {old}/28 dev wan
ip route replace default via {gateway} dev wan""",
    )
    router.node = replace(router.node, ipv4=new)
    if router.udp is not None:
        router.udp.reboot(new)
        lab.route_udp(router)
    forget_flows(lab, router)


# Paths


def block(lab: Lab, one: Node | Router, other: Node | Router, only_udp: bool = False) -> None:
    """Let nothing through between two sites any more, silently; each still reaches everybody else."""
    here, there = sorted((lab.site_port(one), lab.site_port(other)))
    what = "meta l4proto udp " if only_udp else ""
    lab.nft(
        lab.core,
        f"""
table inet block-{here}-{there} {{
  chain passing {{
    type filter hook forward priority filter;
    iifname "{here}" oifname "{there}" {what}drop
    iifname "{there}" oifname "{here}" {what}drop
  }}
}}""",
    )


def unblock(lab: Lab, one: Node | Router, other: Node | Router) -> None:
    """Let traffic between two sites pass again."""
    here, there = sorted((lab.site_port(one), lab.site_port(other)))
    lab.nft(lab.core, f"delete table inet block-{here}-{there}")


def lose(lab: Lab, place: Node | Router, percent: float) -> None:
    """Lose so many of the packets that pass an uplink, each way, but none by which neighbours find each other."""
    for namespace, device in ends(place):
        lab.nft(
            namespace,
            f"""
table netdev loss-{device}
delete table netdev loss-{device}
table netdev loss-{device} {{
  chain arriving {{
    type filter hook ingress device "{device}" priority -500;
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    meta protocol {{ ip, ip6 }} numgen random mod 10000 < {round(100 * percent)} drop
  }}
}}""",
        )


def limit_size(lab: Lab, router: Router, mtu: int, is_silent: bool = False) -> None:
    """Lower the MTU of a router's uplink, which hosts only learn of by ICMP; silent: they don't.

    A host's own uplink would not do: the host knows its own MTU.
    """
    for namespace, device in ends(router):
        lab.shell(namespace, f"ip link set {device} mtu {mtu}")
        lab.nft(namespace, _NO_ICMP if is_silent else "table inet silence\ndelete table inet silence")
    if router.udp is not None:
        lab.shell(router.node.namespace, f"ip link set {DEVICE} mtu {mtu}")


_NO_ICMP = """
table inet silence {
  chain leaving {
    type filter hook output priority filter;
    icmp type destination-unreachable icmp code frag-needed drop
    icmpv6 type packet-too-big drop
  }
}"""
