"""A coturn that `p2ptun serve` announces: those in a room get credentials that it takes, and new ones when they ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from p2ptun.rendezvous.base import Context, IceServer
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.registry import open_rendezvous
from p2ptun.types import Endpoint
from tests.interop.test_turn_coturn import SECRET, Coturn
from tests.server.serving import ADDRESS, HttpServing, private_file
from tests.server.turn_client import TurnClient, connect_udp

pytestmark = pytest.mark.skipif(
    shutil.which("turnserver") is None, reason="needs turnserver of the Debian package coturn"
)


async def offers(url: str) -> list[IceServer]:
    """Open a room; return what is on offer there, and what is after asking once more."""
    rendezvous = open_rendezvous((url,), Context(print, LineReader(0)))
    try:
        room = await rendezvous.open_room()
        return [*room.ice.servers, *(await room.renew_ice()).servers]
    finally:
        await rendezvous.aclose()


def test_a_relay_with_the_same_secret_takes_what_the_rendezvous_gives(tmp_path: Path) -> None:
    coturn = Coturn(tmp_path, "--use-auth-secret", f"--static-auth-secret={SECRET}")
    try:
        secret = private_file(tmp_path / "secret", SECRET)
        announced = f"turn:{ADDRESS}:{coturn.port}?transport=udp"
        with HttpServing("--announce", announced, "--secret-file", str(secret)) as server:
            offered = trio.run(offers, server.url)
        assert [(each.uri.host, each.uri.port) for each in offered] == [(ADDRESS, coturn.port)] * 2
        for each in offered:
            assert each.credential is not None
            client = TurnClient(connect_udp(Endpoint.of(ADDRESS, coturn.port)), each.credential)
            assert client.allocate().port >= 1024
            client.release()
            client.socket.close()
    finally:
        coturn.stop()
