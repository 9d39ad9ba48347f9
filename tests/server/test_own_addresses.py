"""The addresses of this machine, which come and go while the server runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
import trio
from trio.testing import MockClock

from p2ptun.errors import DeviceError
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.server import Server
from p2ptun.server import service
from p2ptun.server.service import ADDRESS_INTERVAL, keep_out_of_machine
from p2ptun.types import IPAddress


@dataclass(frozen=True)
class Held:
    """An address as the kernel lists it."""

    address: IPAddress


@pytest.mark.trio
async def test_the_core_gets_to_know_them(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[list[Held] | DeviceError] = [
        [Held(ip_address("203.0.113.1")), Held(ip_address("fe80::1%3"))],
        DeviceError("no", "remedy"),
        [Held(ip_address("203.0.113.2"))],
    ]

    def list_addresses() -> list[Held]:
        answer = answers.pop(0)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    monkeypatch.setattr(service, "list_addresses", list_addresses)
    core = Server(ServerConfig(), None, os.urandom)
    told: list[frozenset[IPAddress]] = []
    monkeypatch.setattr(Server, "set_own_addresses", lambda _, addresses: told.append(addresses))
    nursery.start_soon(keep_out_of_machine, core)
    await trio.sleep(3.5 * ADDRESS_INTERVAL)
    assert told == [frozenset(map(ip_address, each)) for each in (["203.0.113.1", "fe80::1"], ["203.0.113.2"])]
