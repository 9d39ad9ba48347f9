"""One socket per candidate address; an address that can't be bound costs itself only."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio

from p2ptun.errors import DeviceError
from p2ptun.io import netlink
from p2ptun.io.address import LocalAddress
from p2ptun.io.underlay import open_sockets
from p2ptun.types import Endpoint

pytestmark = pytest.mark.trio


def local(address: str, interface: str = "lo", kind: str = "") -> LocalAddress:
    return LocalAddress(Endpoint.of(address, 0).address, 8, interface, 1, kind, True)


def let_machine_have(monkeypatch: pytest.MonkeyPatch, *addresses: LocalAddress) -> None:
    monkeypatch.setattr(netlink, "candidate_addresses", lambda: list(addresses))


NOT_OURS = "192.0.2.77"  # TEST-NET-1, RFC 5737


async def test_each_address_gets_a_socket_that_the_stack_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    let_machine_have(monkeypatch, local("127.0.0.1"), local("127.0.0.2"), local("127.0.0.3", kind="dummy"))
    with ExitStack() as stack:
        sockets = await open_sockets(stack)
        assert [str(each.local.address) for each in sockets] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert len({each.local.port for each in sockets} - {0}) >= 1
        assert sockets[0].send(b"x", sockets[1].local) is None
    with pytest.raises(trio.ClosedResourceError):
        await sockets[0].wait_readable()


async def test_a_port_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    let_machine_have(monkeypatch, local("127.0.0.1"))
    with ExitStack() as stack:
        [free] = await open_sockets(stack)
        port = free.local.port
    with ExitStack() as stack:
        [socket] = await open_sockets(stack, port)
        assert socket.local.port == port


async def test_an_address_that_is_gone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    let_machine_have(monkeypatch, local(NOT_OURS), local("127.0.0.1"))
    with ExitStack() as stack:
        assert [str(each.local.address) for each in await open_sockets(stack)] == ["127.0.0.1"]


async def test_when_none_can_be_bound_the_kernels_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    let_machine_have(monkeypatch, local(NOT_OURS))
    with ExitStack() as stack, pytest.raises(DeviceError, match=NOT_OURS) as caught:
        await open_sockets(stack)
    assert caught.value.remedy


async def test_a_machine_without_addresses_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    let_machine_have(monkeypatch)
    with ExitStack() as stack, pytest.raises(DeviceError, match="no network address") as caught:
        await open_sockets(stack)
    assert "ip -br address" in caught.value.remedy
