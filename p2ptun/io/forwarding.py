"""Whether this machine passes packets on between its interfaces."""

from __future__ import annotations

from pathlib import Path

SWITCHES = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
"""The sysctl that says so, by IP version."""


def is_forwarding(version: int, proc: Path = Path("/proc/sys")) -> bool:
    """Tell whether packets of IP version 4 or 6 are forwarded; False where the kernel doesn't say."""
    try:
        return (proc / SWITCHES[version].replace(".", "/")).read_text().strip() not in ("0", "")
    except OSError:
        return False
