"""Which addresses this side has in the tunnel, and what it offers behind itself."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_interface, ip_network

import click

from p2ptun.cli.option import parse
from p2ptun.daemon.agreement import is_private
from p2ptun.errors import ConfigError
from p2ptun.stun.trust import PRIVATE_NETWORKS
from p2ptun.types import IPInterface, IPNetwork

ADDRESS = click.option(
    "--address", "addresses", metavar="CIDR", multiple=True,
    help="Address of this side in the tunnel; may be repeated.  [default: agreed with the other side]",
)  # fmt: skip
ROUTE = click.option("--route", "routes", metavar="CIDR", multiple=True,
                     help="Offer the other side a network behind this one; may be repeated.")  # fmt: skip


def own_addresses(texts: Sequence[str]) -> tuple[IPInterface, ...]:
    """Read this side's addresses. Raises ConfigError."""
    return tuple(parse(ip_interface, "--address", each, "10.77.0.1/24 or fd77::1/64") for each in texts)


def offered_networks(texts: Sequence[str]) -> tuple[IPNetwork, ...]:
    """Read networks for the other side. Raises ConfigError, also when the other side is sure to refuse one."""
    return tuple(_offered(each) for each in texts)


def _offered(text: str) -> IPNetwork:
    network = parse(ip_network, "--route", text, "192.168.1.0/24")
    if not is_private(network):
        *most, last = PRIVATE_NETWORKS
        remedy = f"Offer a network inside {', '.join(map(str, most))} or {last}."
        raise ConfigError("", "--route", f"{network} isn't private, so the other side would refuse it", remedy)
    return network
