"""Our ICE agent against aioice, over real sockets on loopback, in both roles."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import aioice
import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState
from p2ptun.ice.role import Role
from p2ptun.stun.message import is_stun
from p2ptun.types import Endpoint

DEADLINE = 20.0


class Shell(asyncio.DatagramProtocol):
    """A little driver around our machine: one socket, one timer."""

    def __init__(self, role: Role) -> None:
        self.loop = asyncio.get_running_loop()
        tie_breaker = int.from_bytes(os.urandom(8), "big")
        config = AgentConfig(refused_networks=())  # loopback is all that a test may use
        self.agent = Agent(config, Credentials.generate(os.urandom), role, tie_breaker, os.urandom)
        self.data: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Bind the socket and gather."""
        transport, _ = await self.loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._transport = transport
        address, port = transport.get_extra_info("sockname")
        self._base = Endpoint.of(address, port)
        self.agent.add_local_address(self._base, self.loop.time())
        self.agent.end_of_servers(self.loop.time())
        self.flush()

    def close(self) -> None:
        self.agent.close(self.loop.time())
        self.flush()
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if is_stun(data):
            self.agent.receive_datagram(data, Endpoint.of(*addr[:2]), self._base, self.loop.time())
            self.flush()
        else:
            self.data.put_nowait(data)

    def send(self, data: bytes) -> None:
        """Send data on the selected pair."""
        selected = self.agent.selected
        assert selected is not None
        assert self.agent.may_send(self.loop.time())
        self._transport.sendto(data, (str(selected.destination.address), selected.destination.port))
        self.agent.record_sent(self.loop.time())

    def flush(self) -> None:
        """Drain the machine and set the timer anew."""
        while (packet := self.agent.next_transmit()) is not None:
            self._transport.sendto(packet.payload, (str(packet.destination.address), packet.destination.port))
        while self.agent.next_event() is not None:
            self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
        timeout = self.agent.next_timeout()
        self._timer = self.loop.call_at(timeout, self._expire) if timeout is not None else None

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; it can change with an event only."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _expire(self) -> None:
        self.agent.handle_timeout(self.loop.time())
        self.flush()


async def introduce(ours: Shell, theirs: aioice.Connection) -> None:
    """Tell each side about the other."""
    await ours.open()
    await theirs.gather_candidates()
    theirs.remote_username = ours.agent.local_credentials.ufrag
    theirs.remote_password = ours.agent.local_credentials.password
    for candidate in ours.agent.local_candidates:
        await theirs.add_remote_candidate(aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:")))
    await theirs.add_remote_candidate(None)
    now = ours.loop.time()
    ours.agent.set_remote_credentials(Credentials(theirs.local_username, theirs.local_password), now)
    for found in theirs.local_candidates:
        ours.agent.add_remote_candidate(Candidate.from_sdp(found.to_sdp()), now)
    ours.agent.end_of_remote_candidates(now)
    ours.flush()


async def meet(role: Role, their_role: Role) -> None:
    """Connect, send data both ways, and end."""
    ours, theirs = Shell(role), aioice.Connection(ice_controlling=their_role is Role.CONTROLLING)
    try:
        await introduce(ours, theirs)
        await theirs.connect()
        await ours.wait_for(lambda: ours.agent.selected is not None and ours.agent.selected.is_nominated)
        assert ours.agent.state is AgentState.CONNECTED
        assert ours.agent.role is (Role.CONTROLLED if theirs.ice_controlling else Role.CONTROLLING)
        for number in range(10):
            ours.send(b"\xd4 there %d" % number)
            assert await theirs.recv() == b"\xd4 there %d" % number
            await theirs.send(b"\xd4 back %d" % number)
            assert await ours.data.get() == b"\xd4 back %d" % number
    finally:
        await theirs.close()
        ours.close()


@pytest.mark.parametrize("their_role", Role)
@pytest.mark.parametrize("role", Role)
def test_connects_and_carries_data_both_ways(role: Role, their_role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice never offers loopback by itself, so its list of addresses is given."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    async def run() -> None:
        await asyncio.wait_for(meet(role, their_role), DEADLINE)

    asyncio.run(run())
