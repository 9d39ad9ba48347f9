"""What a router of the laboratory does to packets: as nftables rules, and as orders for the exact NAT of UDP.

A router has two interfaces, `lan` and `wan`. RFC 4787 describes a NAT by its mapping (section 4.1: does the external
port depend on whom the inner host talks to) and its filtering (section 5: who may answer). The kernel's masquerading
gives the two kinds of most homes and offices, fast; both filter by address and port. `exact` gives all nine for UDP, by
a process of the laboratory (`tests.e2e.usernat`); TCP and ICMP echo stay with the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from tests.e2e.usernat import DEVICE, Udp
from tests.sim.nat import Behaviour, Habit, Ports

TABLE = 100
"""The routing table of what goes through the exact NAT."""


class Mapping(Enum):
    """Whether one inner socket keeps one external port (RFC 4787 4.1)."""

    ENDPOINT_INDEPENDENT = "masquerade"
    ADDRESS_AND_PORT_DEPENDENT = "masquerade fully-random"


class Outbound(Enum):
    """What a network lets out."""

    ALL = "all"
    NO_UDP = "no UDP"
    ONLY_TCP_443 = "only TCP to port 443"


@dataclass(frozen=True, slots=True)
class Nat:
    """One behaviour.

    Attributes:
        mapping: The kernel's translation of IPv4; None for a router without any, its firewall only.
        udp: How UDP is translated, where not by the kernel.
        outbound: What is let out; `is_rejecting` tells whether the rest gets an error, or silence.
        lifetime: Of the kernel's UDP flows, in seconds after their last packet; None for its own, 30 and 120.
    """

    mapping: Mapping | None
    udp: Udp | None = None
    outbound: Outbound = Outbound.ALL
    is_rejecting: bool = field(default=False, kw_only=True)
    lifetime: int | None = field(default=None, kw_only=True)

    def ruleset(self) -> str:
        """Write the rules, for `nft -f`: translation of IPv4, a stateful firewall for both families."""
        rules = _FIREWALL.format(barrier=self._barrier(), device=DEVICE)
        rules += "" if self.mapping is None else _TRANSLATION.format(target=self.mapping.value)
        return rules + ("" if self.udp is None else _AROUND_THE_KERNEL.format(device=DEVICE))

    def _barrier(self) -> str:
        """Write the rules that stop what isn't let out; before all others, so that running flows stop too."""
        if self.outbound is Outbound.ALL:
            return ""
        stop = "reject with icmpx type admin-prohibited" if self.is_rejecting else "drop"
        if self.outbound is Outbound.NO_UDP:
            return f"{_LEAVING} meta l4proto udp {stop}"
        reset = "reject with tcp reset" if self.is_rejecting else "drop"
        return f"{_LEAVING} tcp dport != 443 {reset}\n    {_LEAVING} meta l4proto != tcp {stop}"

    def settings(self) -> str:
        """Write the shell commands that go with the rules."""
        if self.lifetime is None:
            return ""
        return "".join(
            f"echo {self.lifetime} > /proc/sys/net/netfilter/nf_conntrack_{name}\n"
            for name in ("udp_timeout", "udp_timeout_stream")
        )


def exact(
    mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT,
    filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    habit: Habit | None = None,
) -> Nat:
    """Make one of the nine NATs of RFC 4787. Ports are random unless `habit` says something else."""
    return Nat(Mapping.ENDPOINT_INDEPENDENT, Udp(mapping, filtering, habit or Habit(Ports.RANDOM)))


LINUX = Nat(Mapping.ENDPOINT_INDEPENDENT)
"""A Linux home router: the port is preserved where it is free, so the mapping looks endpoint-independent to ICE."""

SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT)
"""A "symmetric" NAT: every destination sees another random port."""

FIREWALL = Nat(None)
"""No translation: public addresses behind a stateful firewall."""

_LEAVING = 'iifname "lan" oifname != "lan"'

_FIREWALL = """
table inet firewall
delete table inet firewall
table inet firewall {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {barrier}
    iifname "{device}" accept
    oifname "{device}" accept
    ct state established,related accept
    iifname "lan" oifname {{ "wan", "lan" }} accept  # the latter with br_netfilter, which shows frames between ports
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname {{ "lo", "lan" }} accept
    meta l4proto {{ 1, 58 }} accept  # ICMP and ICMPv6, by number: a small machine has no /etc/protocols
  }}
}}
"""

_TRANSLATION = """
table ip translation
delete table ip translation
table ip translation {{
  chain outgoing {{
    type nat hook postrouting priority srcnat;
    oifname "wan" {target}
  }}
}}
"""

_AROUND_THE_KERNEL = """
table ip around
delete table ip around
table ip around {{
  chain arriving {{
    type filter hook prerouting priority raw;
    meta l4proto udp notrack
    iifname "lan" icmp type {{ 3, 11, 12 }} @th,136,8 17 drop
    iifname "wan" icmp type {{ 3, 11, 12 }} @th,136,8 17 notrack meta mark set 1  # errors about UDP
  }}
  chain leaving {{
    type filter hook output priority raw;
    meta l4proto udp notrack
  }}
}}
"""


def around_the_kernel(public: IPv4Address, lan: IPv4Network) -> str:
    """Write the shell commands that route UDP, and errors about it, through the exact NAT; they may be repeated.

    The kernel looks at its own addresses first (rule 0); here that comes after ours, but for the router's own services.
    """
    return f"""
echo 1 > /proc/sys/net/ipv4/conf/{DEVICE}/accept_local  # what leaves comes from there with our own address
echo 0 > /proc/sys/net/ipv4/conf/{DEVICE}/rp_filter
[ ! -d /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6
ip link set {DEVICE} up
ip rule flush
ip rule add pref 1 iif lan to {lan[1]} lookup local
ip rule add pref 2 iif lan ipproto udp lookup {TABLE}
ip rule add pref 3 iif wan to {public} ipproto udp lookup {TABLE}
ip rule add pref 4 fwmark 1 lookup {TABLE}
ip rule add pref 10 lookup local
ip rule add pref 32766 lookup main
ip rule del pref 0 2>/dev/null || true
ip route replace default dev {DEVICE} table {TABLE}
"""


_CUT = """
table netdev cut {{
  chain arriving {{
    type filter hook ingress device "{device}" priority -500; policy drop;
    ether type arp accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }} accept
  }}
}}
"""


def cut_ruleset(device: str) -> str:
    """Write the rules that silently drop all that arrives on `device`; neighbours stay known, so nobody is told."""
    return _CUT.format(device=device)
