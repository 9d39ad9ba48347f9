"""One socket per candidate address, in step with the machine; an address that can't be bound costs itself only."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from p2ptun.errors import DeviceError
from p2ptun.ice.candidate_type import TcpType
from p2ptun.io.address import MAX_CANDIDATE_ADDRESSES, LocalAddress
from p2ptun.io.base import Socket
from p2ptun.io.network import DefaultRoute, Network
from p2ptun.io.server_socket import ServerSocket
from p2ptun.io.tcp import TcpBase
from p2ptun.io.tls import Trust
from p2ptun.io.udp import UdpSocket
from p2ptun.io.underlay import Underlay
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.free_port import free_port

pytestmark = pytest.mark.trio

NOT_OURS = "192.0.2.77"  # TEST-NET-1, RFC 5737
LOOPBACK = {1: False}


def local(address: str, interface: str = "lo", kind: str = "", index: int = 1) -> LocalAddress:
    return LocalAddress(ip_address(address), 8, interface, index, kind, True)


def network(*candidates: LocalAddress, leaving: tuple[LocalAddress, ...] = (), **fields: object) -> Network:
    known = Network(candidates, candidates + leaving, links=LOOPBACK)
    return replace(known, **fields)  # type: ignore[arg-type]


class User:
    """Who is told about sockets, and what was said."""

    def __init__(self, underlay: Underlay) -> None:
        self.sockets = {socket.local: socket for socket in underlay.sockets}
        self.said: list[str] = []
        self.removed: list[Endpoint] = []

    def add_socket(self, socket: Socket) -> None:
        assert socket.local not in self.sockets
        self.sockets[socket.local] = socket
        self._say("+", socket.local)

    def remove_socket(self, base: Endpoint) -> None:
        self.sockets.pop(base)
        self.removed.append(base)
        self._say("-", base)

    def _say(self, sign: str, base: Endpoint) -> None:
        """Note what happens to UDP sockets; those of TCP share their fate."""
        if base.transport is Transport.UDP:
            self.said.append(f"{sign}{base.address}")


def udp(underlay: Underlay) -> list[UdpSocket]:
    return [socket for socket in underlay.sockets if isinstance(socket, UdpSocket)]


def addresses(underlay: Underlay) -> list[str]:
    return [str(socket.local.address) for socket in udp(underlay)]


async def is_closed(socket: Socket) -> bool:
    try:
        with trio.move_on_after(0.01):
            await socket.wait_readable()
    except trio.ClosedResourceError:
        return True
    return False


async def test_each_address_gets_a_socket_that_is_closed_at_the_end() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1"), local("127.0.0.2"), local("127.0.0.3", kind="dummy")))
        sockets = udp(underlay)
        assert addresses(underlay) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert 0 not in {each.local.port for each in sockets}
        assert sockets[0].send(b"x", sockets[1].local) is None
        assert not sockets[2].is_confined
    assert [await is_closed(socket) for socket in sockets] == [True] * 3


async def test_a_port_can_be_asked_for() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        port = udp(underlay)[0].local.port
    with Underlay(port) as underlay:
        await underlay.open(network(local("127.0.0.1")))
        assert udp(underlay)[0].local.port == port


async def test_an_address_that_is_gone_is_passed_over() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local(NOT_OURS), local("127.0.0.1")))
        assert addresses(underlay) == ["127.0.0.1"]
        user = User(underlay)
        await underlay.follow(network(local(NOT_OURS), local("127.0.0.1"), local("127.0.0.2")), user)
        assert user.said == ["+127.0.0.2"]


async def test_when_none_can_be_bound_the_kernels_reason_is_told() -> None:
    with Underlay() as underlay, pytest.raises(DeviceError, match=NOT_OURS) as caught:
        await underlay.open(network(local(NOT_OURS)))
    assert caught.value.remedy


async def test_a_machine_without_addresses_is_told_so() -> None:
    with Underlay() as underlay, pytest.raises(DeviceError, match="no network address") as caught:
        await underlay.open(network())
    assert "ip -br address" in caught.value.remedy


async def test_a_new_address_takes_over_the_port_of_the_one_that_goes() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1"), local("::1")))
        user, before = User(underlay), udp(underlay)
        await underlay.follow(network(local("127.0.0.2"), local("::1")), user)
        assert user.said == ["+127.0.0.2", "-127.0.0.1"], "what is new is there before what is old goes"
        assert addresses(underlay) == ["::1", "127.0.0.2"]
        assert udp(underlay)[0] is before[1]
        assert udp(underlay)[1].local.port == before[0].local.port
        assert user.sockets.keys() == {socket.local for socket in underlay.sockets}
        assert [await is_closed(socket) for socket in before] == [True, False]


async def test_a_new_address_beside_others_gets_their_port_where_it_is_free() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        user, port = User(underlay), udp(underlay)[0].local.port
        with await UdpSocket.bind(Endpoint.of("127.0.0.3", port)):
            await underlay.follow(network(*(local(f"127.0.0.{number}") for number in (1, 2, 3))), user)
        assert [socket.local.port == port for socket in udp(underlay)] == [True, True, False]


async def test_after_a_break_an_address_gets_the_port_that_it_had() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1"), local("127.0.0.2"), local("::1")))
        user, [first, second, third] = User(underlay), [socket.local.port for socket in udp(underlay)]
        await underlay.follow(network(), user)
        await underlay.follow(network(local("127.0.0.3")), user)
        assert udp(underlay)[0].local.port == second, "the last one of its version"
        await underlay.follow(network(local("127.0.0.1", index=7), local("::1")), user)
        assert [socket.local.port for socket in udp(underlay)] == [first, third]


async def test_few_ports_are_remembered() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        user, port = User(underlay), udp(underlay)[0].local.port
        await underlay.follow(network(), user)
        with await UdpSocket.bind(Endpoint.of("127.0.1.1", port)):  # so that another port comes into use
            for number in range(1, MAX_CANDIDATE_ADDRESSES + 1):
                await underlay.follow(network(local(f"127.0.1.{number}")), user)
        await underlay.follow(network(), user)
        await underlay.follow(network(local("127.0.0.1")), user)
        assert udp(underlay)[0].local.port != port


async def test_an_address_that_moves_to_another_interface_gets_a_new_socket_with_the_same_port() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1"), local("127.0.0.2")))
        user, before = User(underlay), udp(underlay)
        await underlay.follow(network(local("127.0.0.1", index=7), local("127.0.0.2")), user)
        assert user.said == ["-127.0.0.1", "+127.0.0.1"], "no two with one base"
        assert [socket.local for socket in udp(underlay)] == [before[1].local, before[0].local]
        assert udp(underlay)[1] is not before[0]
        assert await is_closed(before[0])


async def test_an_address_on_its_way_out_keeps_its_socket_until_it_is_gone() -> None:
    old, new = local("127.0.0.1"), local("127.0.0.2")
    with Underlay() as underlay:
        await underlay.open(network(old))
        user = User(underlay)
        await underlay.follow(network(new, leaving=(old,)), user)
        assert (user.said, addresses(underlay)) == (["+127.0.0.2"], ["127.0.0.1", "127.0.0.2"])
        await underlay.follow(network(new), user)
        assert (user.said[1:], addresses(underlay)) == (["-127.0.0.1"], ["127.0.0.2"])
        await underlay.follow(network(), user)
        assert (user.said[2:], addresses(underlay)) == (["-127.0.0.2"], []), "none is left, and that is no error"
        await underlay.follow(network(old), user)
        assert addresses(underlay) == ["127.0.0.1"]


async def test_too_many_on_their_way_out_go_the_oldest_first() -> None:
    every = [local(f"127.0.0.{number}") for number in range(1, MAX_CANDIDATE_ADDRESSES + 1)]
    with Underlay() as underlay:
        await underlay.open(network(*every))
        user = User(underlay)
        await underlay.follow(network(local("127.0.1.1"), local("127.0.1.2"), leaving=tuple(every)), user)
        assert set(user.said[2:]) == {"-127.0.0.1", "-127.0.0.2"}
        assert len(udp(underlay)) == MAX_CANDIDATE_ADDRESSES


async def test_a_route_that_turns_into_a_tunnel_is_noticed_with_the_next_change() -> None:
    holder = local("127.0.0.1", kind="dummy")
    with Underlay() as underlay:
        await underlay.open(network(holder))
        [socket] = udp(underlay)
        destination = Endpoint.of("127.0.0.9", 9)
        assert socket.send(b"x", destination) is None
        underlay.learn(network(holder, links={1: True}))
        assert socket.send(b"x", destination) is SendError.THROUGH_TUNNEL
        await underlay.follow(network(holder), User(underlay))
        assert socket.send(b"x", destination) is None


async def test_each_address_also_opens_connections_and_takes_them_at_the_same_port() -> None:
    with Underlay(free_port()) as underlay:  # of those that the kernel gives, another test may have the TCP one
        await underlay.open(network(local("127.0.0.1"), local("::1")))
        kinds = [(str(each.local.address), each.local.transport, each.tcp_type) for each in underlay.sockets]
        for_one = [(Transport.UDP, None), (Transport.TCP, TcpType.ACTIVE), (Transport.TCP, TcpType.PASSIVE)]
        assert kinds == [(address, *kind) for address in ("127.0.0.1", "::1") for kind in for_one]
        ports = [each.local.port for each in underlay.sockets]
        assert ports[0] == ports[2]
        assert ports[3] == ports[5]


async def test_where_the_port_is_taken_connections_come_to_another() -> None:
    port = free_port()
    with await TcpBase.listen(Endpoint.of("127.0.0.1", port, Transport.TCP)), Underlay(port) as underlay:
        await underlay.open(network(local("127.0.0.1")))
        _, _, passive = underlay.sockets
        assert passive.tcp_type is TcpType.PASSIVE
        assert passive.local.port not in (0, port)


async def test_an_address_that_moves_takes_its_tcp_bases_along() -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        user, before = User(underlay), underlay.sockets
        await underlay.follow(network(local("127.0.0.1", index=7)), user)
        assert [socket.local for socket in underlay.sockets] == [socket.local for socket in before]
        assert user.sockets == {socket.local: socket for socket in underlay.sockets}
        assert [await is_closed(socket) for socket in before] == [True] * 3
        await underlay.follow(network(), user)
        assert user.sockets == {}


async def test_of_an_address_that_goes_the_best_socket_is_told_last() -> None:
    """Else traffic would move to the next best, which goes in the same moment."""
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        user, gone = User(underlay), [socket.local for socket in underlay.sockets]
        await underlay.follow(network(local("127.0.0.2")), user)
        assert user.removed == gone[::-1]
        assert gone[0].transport is Transport.UDP


# Sockets to servers


def token(number: int, transport: Transport) -> Endpoint:
    return Endpoint.of("0.0.0.0", number, transport)  # noqa: S104 (a token)


def server_at(endpoint: Endpoint, transport: Transport) -> Server:
    return Server(replace(endpoint, transport=transport), "turn.example")


def connect(underlay: Underlay, endpoint: Endpoint, transport: Transport) -> ServerSocket:
    opened = underlay.connect_server(token(1, transport), server_at(endpoint, transport))
    assert not isinstance(opened, SendError)
    return opened


TRANSPORTS = pytest.mark.parametrize("transport", list(Transport))
SOMEWHERE = Endpoint.of("127.0.0.1", 9)


@TRANSPORTS
async def test_a_server_is_reached_by_the_interface_of_the_route(transport: Transport) -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        opened = connect(underlay, SOMEWHERE, transport)
        assert opened.local == token(1, transport)
        assert opened.bound.address == SOMEWHERE.address
        assert opened.local not in {socket.local for socket in underlay.sockets}
        assert not opened.is_closed
    assert opened.is_closed


@TRANSPORTS
async def test_where_every_way_leads_through_a_tunnel_there_is_none(transport: Transport) -> None:
    with Underlay() as underlay:
        await underlay.open(network(local("127.0.0.1")))
        underlay.learn(network(local("127.0.0.1"), links={1: True}))
        refused = underlay.connect_server(token(1, transport), server_at(SOMEWHERE, transport))
        assert refused is SendError.THROUGH_TUNNEL


@TRANSPORTS
async def test_a_server_whose_route_is_through_a_tunnel_is_reached_by_the_uplink(transport: Transport) -> None:
    """The uplink is lo here, as is the tunnel; what counts is that the socket is bound to it by name."""
    uplink = DefaultRoute(4, "lo", 1, None)
    with Underlay() as underlay:
        underlay.learn(network(links={1: True}, default_routes=(DefaultRoute(6, "other0", 7, None), uplink)))
        opened = connect(underlay, SOMEWHERE, transport)
        assert opened.send(bytes(20), SOMEWHERE) is None


@TRANSPORTS
async def test_an_interface_that_has_just_gone_is_no_way(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with Underlay() as underlay:
        underlay.learn(network(links={1: False, 999999: False}))
        monkeypatch.setattr(underlay._guard, "way_out", lambda *_: 999999)
        refused = underlay.connect_server(token(1, transport), server_at(SOMEWHERE, transport))
        assert refused is SendError.UNREACHABLE
        monkeypatch.setattr(underlay._guard, "way_out", lambda *_: None)
        refused = underlay.connect_server(token(1, transport), server_at(SOMEWHERE, transport))
        assert refused is SendError.UNREACHABLE


@TRANSPORTS
async def test_a_socket_to_a_server_fails_when_its_address_goes(transport: Transport) -> None:
    stays, goes = local("127.0.0.2"), local("127.0.0.1")
    with Underlay() as underlay:
        await underlay.open(network(stays, goes))
        opened = connect(underlay, SOMEWHERE, transport)
        user = User(underlay)
        await underlay.follow(network(goes, leaving=(stays,)), user)
        assert opened.next_failure() is None
        await underlay.follow(network(stays), user)
        assert opened.next_failure() == (server_at(SOMEWHERE, transport).endpoint, SendError.SOURCE_GONE)
        assert opened.next_failure() is None
        opened.close()
        await underlay.follow(network(stays), user)
        assert underlay._servers == []


async def test_people_can_be_told_why_a_server_failed(tmp_path: Path) -> None:
    server = server_at(SOMEWHERE, Transport.TLS)
    with Underlay(trust=Trust(tmp_path / "nothing.pem")) as underlay:
        await underlay.open(network(local("127.0.0.1")))
        assert underlay.problem_of(server) == ""
        opened = connect(underlay, SOMEWHERE, Transport.TLS)
        with trio.fail_after(5):
            while opened.next_failure() is None:
                await opened.wait_readable()
        assert "nothing.pem" in underlay.problem_of(server)
        assert underlay.problem_of(server_at(SOMEWHERE, Transport.TCP)) == ""
