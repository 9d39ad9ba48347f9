"""Debian's miniupnpd on a router of a laboratory: PCP and NAT-PMP as home routers have them.

::

    gateway = MiniUpnpd(lab, router, scratch)
    gateway.start()
    gateway.external         # what it says its address outside is; the net routes that to the router
    gateway.forwards()       # {(internal address, internal port): external port}

It maps nothing on a router whose address isn't a public one, and takes those of documentation, which the laboratory is
made of, for private. So each gets one of 11.0.0.0/8 besides, of which nothing is used on the internet: it is told with
`ext_ip`, and the laboratory leads it to the router.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

from tests.e2e.command import LabError, wait_until
from tests.e2e.lab import Lab, Router

PROGRAM = "miniupnpd"
FIREWALL = "firewall"  # the table of `tests.e2e.nat`
TABLE = "mapped"
_NUMBERS = itertools.count(1)


class Speech(Enum):
    """What is heard by it: rules for `nft` that drop the rest. A request begins with its version."""

    ANYTHING = ""
    NAT_PMP = 'insert rule inet firewall input iifname "lan" udp dport 5351 @th,64,8 2 drop'
    NOTHING = 'insert rule inet firewall input iifname "lan" udp dport 5351 drop'


def missing() -> str:
    """Say what this machine lacks; an empty string when it lacks nothing."""
    return "" if shutil.which(PROGRAM) else "needs miniupnpd-nftables"


class MiniUpnpd:
    """One gateway, on a router whose NAT is the kernel's."""

    def __init__(self, lab: Lab, router: Router, scratch: Path, hears: Speech = Speech.ANYTHING) -> None:
        self.external = IPv4Address(f"11.0.0.{next(_NUMBERS) % 250 + 1}")
        self._lab = lab
        self._router = router
        self._own = scratch / router.node.name
        self._process: subprocess.Popen[str] | None = None
        lab.shell(router.node.upstream, f"ip route replace {self.external} via {router.node.ipv4}")
        self._nft(_CHAINS + hears.value + "\n")
        self._own.with_suffix(".conf").write_text(_CONFIGURATION.format(external=self.external, lan=router.lan_v4))

    def start(self) -> None:
        """Start it; return when it listens."""
        own = self._own
        argv = [PROGRAM, "-d", "-f", str(own.with_suffix(".conf")), "-P", str(own.with_suffix(".pid"))]
        self._process = self._lab.popen(self._router.node, argv, stderr=subprocess.DEVNULL)
        wait_until(self._listens, 10, f"miniupnpd listens on {self._router.node.name}")

    def restart(self) -> None:
        """End it at once with all that it had mapped, and start it again: the router was switched off and on."""
        if self._process is None:
            raise LabError("miniupnpd doesn't run")
        self._process.kill()
        self._process.wait()
        self._nft(f"flush chain inet {FIREWALL} forward_mapped\nflush chain inet {TABLE} prerouting_mapped\n")
        self.start()

    def forwards(self) -> dict[tuple[str, int], int]:
        """List the UDP ports outside that it forwards."""
        rules = self._lab.shell(self._router.node.namespace, f"nft -n list chain inet {TABLE} prerouting_mapped")
        found = re.findall(r"th dport (\d+) dnat ip to ([\d.]+):(\d+)", rules)
        return {(address, int(internal)): int(external) for external, address, internal in found}

    def holes(self) -> int:
        """Count the flows of IPv6 that it lets in."""
        rules = self._lab.shell(self._router.node.namespace, f"nft -n list chain inet {FIREWALL} forward_mapped")
        return len(re.findall(r"@nh,192,128 \S+ .*accept", rules))

    def _nft(self, rules: str) -> None:
        done = self._lab.run(self._router.node, ["nft", "-f", "-"], stdin=rules)
        if done.returncode:
            raise LabError(f"{done.stderr}\n{rules}")

    def _listens(self) -> bool:
        return bool(self._lab.run(self._router.node, ["ss", "-Hlnu", "sport", "=", ":5351"]).stdout)


_CHAINS = f"""
table inet {TABLE} {{
  chain prerouting_mapped {{ }}
  chain postrouting_mapped {{ }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_mapped
  }}
}}
add chain inet {FIREWALL} forward_mapped
insert rule inet {FIREWALL} forward jump forward_mapped
"""

_CONFIGURATION = f"""
ext_ifname=wan
ext_ip={{external}}
listening_ip=lan
enable_natpmp=yes
enable_upnp=no
secure_mode=yes
uuid=00000000-0000-4000-8000-000000000000
upnp_table_name={FIREWALL}
upnp_nat_table_name={TABLE}
upnp_forward_chain=forward_mapped
upnp_nat_chain=prerouting_mapped
upnp_nat_postrouting_chain=postrouting_mapped
allow 1024-65535 {{lan}} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
