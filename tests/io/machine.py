"""A driver over real loopback sockets and a TUN device that is a list: all of the product but the kernel's TUN."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError
from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.io.driver import Driver
from p2ptun.io.tun import TunDevice
from p2ptun.io.udp import UdpSocket
from p2ptun.node.event import NodeEvent, PeerStateChanged
from p2ptun.node.link import Identity
from p2ptun.node.node import Node
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair
from p2ptun.types import Endpoint, Transmit

LOOPBACK = Endpoint.of("127.0.0.1", 0)
READ_AT_ONCE = 64


class FakeTun(TunDevice):
    """What the kernel would read stands in `written`; what it would give is put in by `give`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write_errors: Counter[str] = Counter()
        self.waits = 0
        self._name = "fake0"
        self._incoming: deque[bytes] = deque()
        self._is_gone = False
        self._changed = trio.Event()

    def give(self, *packets: bytes) -> None:
        """Let the kernel route packets into the device."""
        self._incoming.extend(packets)
        self._changed.set()

    def remove(self) -> None:
        """Let somebody delete the interface."""
        self._is_gone = True
        self._changed.set()

    @property
    def unread(self) -> int:
        return len(self._incoming)

    async def wait_readable(self) -> None:
        self.waits += 1
        await trio.lowlevel.checkpoint()
        while not self._incoming and not self._is_gone:
            self._changed = trio.Event()
            await self._changed.wait()

    def read_batch(self, batch: Batch) -> int:
        self._check()
        count = 0
        while self._incoming and count < READ_AT_ONCE and batch.append(self._incoming[0]):
            self._incoming.popleft()
            count += 1
        return count

    def write_batch(self, batch: Batch) -> int:
        self._check()
        self.written.extend(bytes(packet) for packet in batch)
        return len(batch)

    def _check(self) -> None:
        if self._is_gone:
            raise DeviceError("The interface fake0 was removed by somebody else.", "Start the tunnel again.")


class FullSocket(UdpSocket):
    """A socket that takes one batch in three: before, it is full and says so."""

    refusals = 0
    waits = 0

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool:
        if self.refusals % 3 != 2:
            self.refusals += 1
            return False
        self.refusals += 1
        return super().send_batch(batch, destination)

    async def wait_writable(self) -> None:
        self.waits += 1
        await super().wait_writable()


class Machine:
    """One machine with one peer, called `peer`."""

    def __init__(self, role: Role, config: AgentConfig | None = None) -> None:
        self.keys = KeyPair.generate(os.urandom)
        self.node = Node(os.urandom)
        config = config or AgentConfig(refused_networks=())  # loopback is refused by default
        agent = Agent(config, Credentials.generate(os.urandom), role, int.from_bytes(os.urandom(8), "big"), os.urandom)
        self.peer = Peer("peer", agent)
        self.node.add_peer(self.peer, 0.0)
        self.tun = FakeTun()
        self.events: list[NodeEvent] = []
        self.driver = Driver(self.node, self.tun, self.events.append)

    @property
    def states(self) -> list[str]:
        changes = (each.event for each in self.events)
        return [change.state.value for change in changes if isinstance(change, PeerStateChanged)]

    def send(self, transmit: Transmit) -> None:
        """Let the peer want a datagram sent."""
        self.peer._outbox.add(transmit)
        self.peer.touched[self.peer.name] = 0.0
        self.driver.flush()

    def meet(self, other: Machine, allowed: str) -> None:
        """Take the other machine's description."""
        remote = IceParameters(other.peer.agent.local_credentials, other.peer.describe())
        identity = Identity(other.keys.public, (ip_network(allowed),))
        self.node.connect("peer", identity, self.keys, 1400, remote, trio.current_time())
        self.driver.flush()


@asynccontextmanager
async def two_machines(left: Machine, right: Machine, kind: type[UdpSocket] = UdpSocket) -> AsyncIterator[trio.Nursery]:
    """Run two machines that know each other; both carry packets from the start."""
    with await kind.bind(LOOPBACK) as one, await kind.bind(LOOPBACK) as other:
        async with trio.open_nursery() as nursery:
            left.driver.start(nursery, [one])
            right.driver.start(nursery, [other])
            left.meet(right, "10.9.0.2/32")
            right.meet(left, "10.9.0.1/32")
            for machine in (left, right):
                nursery.start_soon(machine.driver.carry)
            yield nursery
            nursery.cancel_scope.cancel()
