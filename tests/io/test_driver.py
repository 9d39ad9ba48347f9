"""The driver over real loopback sockets: packets both ways, back-pressure, time, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2ptun.aead.buffer import Batch
from p2ptun.daemon.group import single_error
from p2ptun.errors import DeviceError, LocalProtocolError
from p2ptun.ice.role import Role
from p2ptun.io.udp import UdpSocket
from p2ptun.types import Endpoint, SendError, Transmit
from tests.sim.node import ip_packet

from .machine import LOOPBACK, FullSocket, Machine, two_machines

pytestmark = pytest.mark.trio


def ping(number: int, size: int = 100) -> bytes:
    return ip_packet("10.9.0.1", "10.9.0.2", number.to_bytes(4, "big").rjust(size, b"."))


def pong(number: int) -> bytes:
    return ip_packet("10.9.0.2", "10.9.0.1", number.to_bytes(4, "big"))


def pair() -> tuple[Machine, Machine]:
    return Machine(Role.CONTROLLING), Machine(Role.CONTROLLED)


async def until(holds: Callable[[], bool], pause: float = 0.01) -> None:
    """Wait for something that nobody announces."""
    with trio.fail_after(max(20.0, 1000 * pause)):
        while not holds():  # noqa: ASYNC110 (bounded by a deadline)
            await trio.sleep(pause)


async def until_written(machine: Machine, count: int) -> None:
    await until(lambda: len(machine.tun.written) >= count)


async def test_packets_go_both_ways() -> None:
    left, right = pair()
    async with two_machines(left, right):
        left.tun.give(*(ping(number) for number in range(200)))
        right.tun.give(*(pong(number) for number in range(200)))
        await until_written(right, 200)
        await until_written(left, 200)
    assert right.tun.written == [ping(number) for number in range(200)]
    assert left.tun.written == [pong(number) for number in range(200)]
    assert left.states == right.states == ["connected"]
    assert left.driver.sockets.keys() == {candidate.base for candidate in left.peer.agent.local_candidates}


async def test_a_full_socket_leaves_packets_in_the_device_and_loses_none() -> None:
    left, right = pair()
    async with two_machines(left, right, FullSocket):
        left.tun.give(ping(0))
        await until_written(right, 1)
        left.tun.give(*(ping(number, 1300) for number in range(1, 500)))
        await trio.testing.wait_all_tasks_blocked()
        await until_written(right, 500)
        [full] = left.driver.sockets.values()
    assert [packet[-4:] for packet in right.tun.written] == [number.to_bytes(4, "big") for number in range(500)]
    assert isinstance(full, FullSocket)
    assert full.waits >= 500 // 64 * 2
    lost = {name for name in left.peer.drops + right.peer.drops if not name.startswith("tunnel: ")}
    assert lost == set(), "handshakes may cross, for whoever has a path first begins; nothing else is dropped"


class StuckSocket(UdpSocket):
    """A socket that stays full until it is told otherwise; single datagrams go."""

    def send_batch(self, batch: object, destination: Endpoint) -> bool:
        return False

    async def wait_writable(self) -> None:
        await trio.sleep_forever()


async def test_while_the_socket_is_full_the_device_is_not_read() -> None:
    left, right = pair()
    async with two_machines(left, right, StuckSocket):
        await until(lambda: left.states == right.states == ["connected"])
        left.tun.give(*(ping(number) for number in range(1000)))
        await trio.sleep(0.2)
        assert left.tun.unread == 1000 - 64
        right.node.close(trio.current_time())
        right.driver.flush()
        await until(lambda: left.states[-1] == "failed")  # what comes in is still heard


@pytest.mark.parametrize("side", [0, 1])
async def test_a_device_that_somebody_removed_ends_the_run_with_that_one_error(side: int) -> None:
    machines = pair()
    with pytest.raises(DeviceError, match="removed by somebody") as caught, single_error():  # noqa: PT012
        async with two_machines(*machines):
            machines[0].tun.give(ping(0))
            await until_written(machines[1], 1)
            machines[side].tun.remove()
            await trio.sleep(10)
    assert caught.value.remedy


async def test_a_device_that_goes_while_a_packet_comes_in_ends_it_too() -> None:
    left, right = pair()
    with pytest.raises(DeviceError), single_error():  # noqa: PT012
        async with two_machines(left, right):
            left.tun.give(ping(0))
            await until_written(right, 1)
            right.tun._is_gone = True  # the reader sleeps on
            left.tun.give(ping(1))
            await trio.sleep(10)


async def test_timers_fire_in_their_time(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody is there: checks are repeated until patience is over, hours of idle tunnels take no time to test."""
    autojump_clock.autojump_threshold = 0.01
    left, right = pair()
    async with two_machines(left, right):
        right.node.close(trio.current_time())
        left.peer.end_of_candidates(trio.current_time())
        left.node.end_of_servers(trio.current_time())
        left.driver.flush()
        began = trio.current_time()
        await until(lambda: left.states == ["failed"], 1.0)
        assert 30 < trio.current_time() - began < 100


async def test_a_connected_tunnel_keeps_itself_alive(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    left, right = pair()
    async with two_machines(left, right):
        for number in range(20):
            left.tun.give(ping(number))
            right.tun.give(pong(number))
            await trio.sleep(30)
    assert right.tun.written == [ping(number) for number in range(20)]
    assert left.tun.written == [pong(number) for number in range(20)]
    assert "failed" not in left.states + right.states


async def test_what_the_kernel_refuses_reaches_the_agent() -> None:
    """There is no way from a loopback socket to a global address: the kernel says so at once."""
    machine = Machine(Role.CONTROLLING)
    seen: list[tuple[str, str]] = []
    with await UdpSocket.bind(LOOPBACK) as socket:
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [socket])
            original = machine.node.record_send_error

            def record(source: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
                seen.append((str(destination), str(error)))
                original(source, destination, error, now)

            machine.node.record_send_error = record  # type: ignore[method-assign]
            machine.peer._outbox.add(Transmit(b"x", socket.local, Endpoint.of("2001:db8::1", 9)))
            machine.peer._outbox.add(Transmit(b"x", socket.local, socket.local))
            machine.peer.touched[machine.peer.name] = 0.0
            machine.driver.flush()
            nursery.cancel_scope.cancel()
    assert seen == [("[2001:db8::1]:9", "SendError.UNREACHABLE")]
    assert machine.driver.drops["send: no route"] == 1


async def test_everything_that_got_lost_is_counted_in_one_place() -> None:
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as socket, await UdpSocket.bind(LOOPBACK) as stranger:
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [socket])
            stranger.send(b"\xff", socket.local)
            await until(lambda: bool(machine.node.drops))
            socket.receive_errors["truncated"] += 2
            machine.tun.write_errors["EINVAL"] += 3
            nursery.cancel_scope.cancel()
    assert dict(machine.driver.drops) == {"unknown datagram": 1, "receive: truncated": 2, "interface: EINVAL": 3}


async def test_an_idle_driver_sleeps() -> None:
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as socket:
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [socket])
            await trio.testing.wait_all_tasks_blocked()
            assert machine.node.next_timeout() is None
            assert machine.driver._timer.deadline == float("inf")
            nursery.cancel_scope.cancel()
    assert [type(each.event).__name__ for each in machine.events] == ["LocalCandidateFound"]


# Sockets that come and go


async def test_traffic_moves_to_a_socket_that_came_when_the_other_one_goes() -> None:
    left, right = pair()
    async with two_machines(left, right):
        left.tun.give(ping(0))
        await until_written(right, 1)
        [old] = left.driver.sockets
        with await UdpSocket.bind(Endpoint.of("127.0.0.5", 0)) as fresh:
            left.driver.add_socket(fresh)
            left.driver.remove_socket(old)
            assert left.driver.sockets == {fresh.local: fresh}
            left.tun.give(*(ping(number) for number in range(1, 20)))
            await until_written(right, 20)
            await until(lambda: right.peer.path is not None and right.peer.path.destination == fresh.local)
            right.tun.give(pong(1))
            await until_written(left, 1)
            assert left.peer.path is not None
            assert left.peer.path.base == fresh.local
    assert right.tun.written == [ping(number) for number in range(20)]


async def test_a_closed_socket_ends_its_reader_and_nothing_else() -> None:
    machine = Machine(Role.CONTROLLING)
    async with trio.open_nursery() as nursery:
        with await UdpSocket.bind(LOOPBACK) as first, await UdpSocket.bind(LOOPBACK) as second:
            machine.driver.start(nursery, [first, second])
            await trio.testing.wait_all_tasks_blocked()
            tasks = len(nursery.child_tasks)
            machine.driver.remove_socket(first.local)
            first.close()
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == tasks - 1
            machine.driver.remove_socket(second.local)
            second.send(b"?", second.local)  # its reader wakes up and finds that it isn't ours any more
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == tasks - 2
        nursery.cancel_scope.cancel()
    assert machine.peer.agent.local_candidates == ()


async def test_what_should_leave_from_a_socket_that_is_gone_is_reported() -> None:
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as socket:
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [socket])
            socket.receive_errors["truncated"] += 1
            machine.driver.remove_socket(socket.local)
            machine.send(Transmit(b"x", socket.local, LOOPBACK))
            nursery.cancel_scope.cancel()
    assert dict(machine.driver.drops) == {"receive: truncated": 1, "send: local address gone": 1}


async def test_a_batch_that_waits_for_a_full_socket_is_lost_with_it() -> None:
    left, right = pair()
    async with two_machines(left, right, BlockedSocket):
        await until(lambda: left.states == right.states == ["connected"])
        [old] = left.driver.sockets.values()
        assert isinstance(old, BlockedSocket)
        old.is_full = True
        left.tun.give(ping(0))
        await until(lambda: old.waits > 0)
        left.driver.remove_socket(old.local)
        old.close()
        await until(lambda: left.driver.drops["send: local address gone"] > 0)
        with await UdpSocket.bind(LOOPBACK) as new:
            left.driver.add_socket(new)
            left.tun.give(ping(1))
            await until_written(right, 1)
    assert right.tun.written == [ping(1)]


class BlockedSocket(UdpSocket):
    """A socket that is full when told so, until it is closed."""

    is_full = False
    waits = 0
    _closed: trio.Event | None = None

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool:
        return not self.is_full and super().send_batch(batch, destination)

    async def wait_writable(self) -> None:
        self.waits += 1
        self._closed = trio.Event()
        await self._closed.wait()
        await super().wait_writable()

    def close(self) -> None:
        super().close()
        if self._closed is not None:
            self._closed.set()


async def test_a_socket_too_early_or_twice_is_a_bug_of_the_caller() -> None:
    machine = Machine(Role.CONTROLLING)
    with await UdpSocket.bind(LOOPBACK) as socket:
        with pytest.raises(LocalProtocolError, match="too early"):
            machine.driver.add_socket(socket)
        async with trio.open_nursery() as nursery:
            machine.driver.start(nursery, [socket])
            with pytest.raises(LocalProtocolError, match="twice"):
                machine.driver.add_socket(socket)
            machine.driver.remove_socket(socket.local)
            with pytest.raises(LocalProtocolError, match="there is no socket"):
                machine.driver.remove_socket(socket.local)
            nursery.cancel_scope.cancel()
