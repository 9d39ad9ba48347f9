"""One client's stream, against the other end of it in memory."""

from __future__ import annotations

import struct

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from p2ptun.io.stream import STUCK_TIMEOUT
from p2ptun.server.connection import FRAMES_PER_TURN, IDLE_TIMEOUT, LARGEST_OF_STRANGER, Connection
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.turn import encode_channel_data
from p2ptun.types import Endpoint, Transport

REMOTE, LOCAL = (Endpoint.of(f"192.0.2.{number}", 3478, Transport.TCP) for number in (1, 2))
STUN = encode_message(Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12))))
DATA = encode_channel_data(0x4001, b"abcde", is_padded=True)


class Case:
    """A connection that runs, and what it handed on."""

    def __init__(self, nursery: trio.Nursery, local: Endpoint = LOCAL, turns: trio.Lock | None = None) -> None:
        self.far, near = memory_stream_pair()
        self.frames: list[bytes] = []
        self.turns = turns or trio.Lock()
        self.connection = Connection(near, REMOTE, local)
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await self.connection.run(lambda _, frame: self.frames.append(frame), self.turns)
        self.ended.set()

    async def wait_for(self, count: int) -> list[bytes]:
        with trio.fail_after(2):
            while len(self.frames) < count:
                await trio.lowlevel.checkpoint()
        return self.frames


@pytest.mark.trio
async def test_frames_are_cut_out_of_the_stream(nursery: trio.Nursery) -> None:
    case = Case(nursery)
    stream = STUN + DATA + STUN
    await case.far.send_all(stream[:30])
    await case.far.send_all(stream[30:])
    assert await case.wait_for(3) == [STUN, DATA, STUN]
    await case.far.aclose()
    await case.ended.wait()
    assert case.connection.problem == ""


@pytest.mark.trio
@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
async def test_stun_overtakes_data(nursery: trio.Nursery, transport: Transport) -> None:
    case = Case(nursery, Endpoint.of("192.0.2.2", 3478, transport))
    for frame in (DATA, DATA, STUN):
        case.connection.push(frame)
    case.connection.push_data(DATA)
    received = b""
    while len(received) < len(STUN + DATA * 3):
        received += await case.far.receive_some()
    assert received == STUN + DATA * 3


@pytest.mark.trio
async def test_many_floods_leave_room_for_whoever_else_waits(nursery: trio.Nursery) -> None:
    turns = trio.Lock()
    cases = [Case(nursery, turns=turns) for _ in range(5)]
    for case in cases:
        await case.far.send_all(STUN * 3000)
    taken, most = sum(len(case.frames) for case in cases), 0
    while taken < 5 * 3000:
        await trio.lowlevel.checkpoint()
        before, taken = taken, sum(len(case.frames) for case in cases)
        most = max(most, taken - before)
    assert most <= 2 * FRAMES_PER_TURN  # trio shuffles the tasks of a round: the turns of two may lie between


@pytest.mark.trio
async def test_garbage_ends_it(nursery: trio.Nursery) -> None:
    case = Case(nursery)
    await case.far.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await case.ended.wait()
    assert case.connection.problem
    assert case.frames == []


@pytest.mark.trio
async def test_a_stranger_sends_no_large_frames(nursery: trio.Nursery) -> None:
    frame = encode_channel_data(0x4001, bytes(LARGEST_OF_STRANGER), is_padded=True)
    stranger, guest = Case(nursery), Case(nursery)
    guest.connection.has_allocation = True
    for case in (stranger, guest):
        await case.far.send_all(frame)
    await stranger.ended.wait()
    assert str(len(frame)) in stranger.connection.problem
    assert await guest.wait_for(1) == [frame]
    await guest.far.aclose()
    await guest.ended.wait()


@pytest.mark.trio
async def test_who_is_silent_must_go(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    case = Case(nursery)
    began = trio.current_time()
    await trio.sleep(IDLE_TIMEOUT - 1)
    await case.far.send_all(STUN + STUN[:5])
    await trio.sleep(IDLE_TIMEOUT - 1)
    await case.far.send_all(STUN[5:7])  # no whole frame
    await case.ended.wait()
    assert trio.current_time() - began == pytest.approx(2 * IDLE_TIMEOUT - 1, abs=0.5)
    assert case.connection.problem == "silent"


@pytest.mark.trio
async def test_who_has_an_allocation_may_be_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    case = Case(nursery)
    await trio.sleep(1)
    case.connection.has_allocation = True
    await trio.sleep(100 * IDLE_TIMEOUT)
    assert not case.ended.is_set()
    case.connection.has_allocation = False
    await trio.sleep(IDLE_TIMEOUT + 1)
    assert case.ended.is_set()


@pytest.mark.trio
async def test_a_stuck_stream_drops_old_data_and_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far, near = trio.testing.lockstep_stream_pair()
    connection = Connection(near, REMOTE, LOCAL)
    ended = trio.Event()

    async def run() -> None:
        await connection.run(lambda *_: None, trio.Lock())
        ended.set()

    nursery.start_soon(run)
    for number in range(1000):
        connection.push_data(encode_channel_data(0x4001, struct.pack(">I", number) * 250, True))
    assert connection.dropped > 800
    began = trio.current_time()
    await ended.wait()
    assert connection.problem == "stuck"
    assert trio.current_time() - began == pytest.approx(STUCK_TIMEOUT, abs=0.5)
    await far.aclose()


@pytest.mark.trio
async def test_it_ends_when_its_owner_wants(nursery: trio.Nursery) -> None:
    case = Case(nursery)
    await trio.testing.wait_all_tasks_blocked()
    case.connection.end("enough")
    case.connection.end("twice")
    await case.ended.wait()
    assert case.connection.problem == "enough"


@pytest.mark.trio
async def test_a_broken_stream_is_an_end(nursery: trio.Nursery) -> None:
    case = Case(nursery)
    await trio.testing.wait_all_tasks_blocked()
    await trio.aclose_forcefully(case.far)
    case.connection.push(STUN)
    await case.ended.wait()
