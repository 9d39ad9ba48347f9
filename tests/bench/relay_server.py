"""Our relay as the benchmark wants it: `p2ptun serve` without the cap on answers to strangers, who are the load here.

python -m tests.bench.relay_server ADDRESS PORT CLIENT_ADDRESS
"""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_network

import trio

from p2ptun.relay.config import Limits, ServerConfig
from p2ptun.server.options import ServeOptions
from p2ptun.server.service import Service
from p2ptun.stun.credential import StaticCredentials
from p2ptun.types import Endpoint
from tests.server.turn_client import USERS

REALM = "bench"
FREELY = 1 << 40


def main(address: str, port: str, client: str) -> None:
    """Serve until SIGTERM."""
    core = ServerConfig(
        realm=REALM,
        relay_addresses=(ip_address(address),),
        allowed_peers=(ip_network(client),),
        limits=Limits(unauthenticated_rate=FREELY, unauthenticated_burst=FREELY),
    )
    options = ServeOptions((Endpoint.of(address, int(port)),), (), None, StaticCredentials(USERS, REALM), core)
    trio.run(Service(options, lambda _: None, lambda: None).run)


if __name__ == "__main__":
    main(*sys.argv[1:])
