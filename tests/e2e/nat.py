"""What a router of the laboratory does to packets, as nftables rules.

A router has two interfaces, `lan` and `wan`. RFC 4787 describes a NAT by its mapping (section 4.1: does the external
port depend on whom the inner host talks to) and its filtering (section 5: who may answer). The kernel's masquerading
gives the two kinds of most homes and offices; both filter by address and port.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mapping(Enum):
    """Whether one inner socket keeps one external port (RFC 4787 4.1)."""

    ENDPOINT_INDEPENDENT = "masquerade"
    ADDRESS_AND_PORT_DEPENDENT = "masquerade fully-random"


@dataclass(frozen=True, slots=True)
class Nat:
    """One behaviour. `mapping` None: a router without address translation, its firewall only."""

    mapping: Mapping | None

    def ruleset(self) -> str:
        """Write the rules, for `nft -f`: translation of IPv4, a stateful firewall for both families."""
        return _FIREWALL + ("" if self.mapping is None else _TRANSLATION.format(target=self.mapping.value))


LINUX = Nat(Mapping.ENDPOINT_INDEPENDENT)
"""A Linux home router: the port is preserved where it is free, so the mapping looks endpoint-independent to ICE."""

SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT)
"""A "symmetric" NAT: every destination sees another random port."""

FIREWALL = Nat(None)
"""No translation: public addresses behind a stateful firewall."""

_FIREWALL = """
table inet firewall {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" oifname { "wan", "lan" } accept  # the latter with br_netfilter, which shows even frames between ports
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname { "lo", "lan" } accept
    meta l4proto { 1, 58 } accept  # ICMP and ICMPv6, by number: a small machine has no /etc/protocols
  }
}
"""

_TRANSLATION = """
table ip translation {{
  chain outgoing {{
    type nat hook postrouting priority srcnat;
    oifname "wan" {target}
  }}
}}
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
