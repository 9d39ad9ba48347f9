"""A gateway on loopback that maps ports by NAT-PMP, or by PCP, or by neither."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address

import trio

from p2ptun.io.address import LocalAddress
from p2ptun.io.network import DefaultRoute, Network
from p2ptun.nat.pcp import PORT

HERE, THERE = IPv4Address("127.0.53.10"), IPv4Address("127.0.53.1")
OUTSIDE = IPv4Address("203.0.113.7")
LOOPBACK = socket.if_nametoindex("lo")


def network(*addresses: IPv4Address, gateway: IPv4Address | None = THERE) -> Network:
    """Make a network of loopback addresses whose default route leads to a gateway on loopback."""
    candidates = tuple(LocalAddress(address, 24, "lo", LOOPBACK, "", True) for address in addresses or (HERE,))
    return Network(candidates, candidates, (DefaultRoute(4, "lo", LOOPBACK, gateway),))


class LoopbackGateway:
    """Answers until its nursery ends. `mappings` is what it forwards, by client and internal port."""

    def __init__(self, address: IPv4Address = THERE, external: IPv4Address = OUTSIDE, speaks_pcp: bool = True) -> None:
        self.mappings: dict[tuple[str, int], int] = {}
        self.requests: list[bytes] = []
        self.external = external
        self.is_silent = False
        self._speaks_pcp = speaks_pcp
        self._address = address
        self._born_at = trio.current_time()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; it listens when the task has started."""
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.bind((str(self._address), PORT))
            task_status.started()
            while True:
                request, client = await sock.recvfrom(2000)
                self.requests.append(request)
                answer = None if self.is_silent else self._answer(request, client[0])
                if answer is not None:
                    await sock.sendto(answer, client)

    def _answer(self, request: bytes, client: str) -> bytes:
        epoch = int(trio.current_time() - self._born_at)
        if request[0] == 2 and not self._speaks_pcp:
            return struct.pack(">BBHI", 0, 128, 1, epoch)
        if request[0] == 2:
            lifetime, internal = int.from_bytes(request[4:8], "big"), int.from_bytes(request[40:42], "big")
            external = self._map(client, internal, lifetime)
            header = struct.pack(">BBBBII12x", 2, 0x81, 0, 0, lifetime, epoch)
            mapped = bytes(10) + b"\xff\xff" + self.external.packed
            return header + request[24:42] + external.to_bytes(2, "big") + mapped
        if request == b"\0\0":
            return struct.pack(">BBHI", 0, 128, 0, epoch) + self.external.packed
        _, _, _, internal, _, lifetime = struct.unpack(">BBHHHI", request)
        return struct.pack(">BBHIHHI", 0, 129, 0, epoch, internal, self._map(client, internal, lifetime), lifetime)

    def _map(self, client: str, internal: int, lifetime: int) -> int:
        if lifetime == 0:
            self.mappings.pop((client, internal), None)
            return 0
        self.mappings[client, internal] = external = 1024 + internal % 1024
        return external
