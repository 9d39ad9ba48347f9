"""What the driver asks of the socket behind an ICE base, be it one of UDP or stand it for many connections of TCP."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from p2ptun.aead.buffer import Batch
from p2ptun.ice.candidate_type import TcpType
from p2ptun.types import Endpoint, SendError


class Socket(Protocol):
    """Sends and receives datagrams for one base, never blocking. `UdpSocket` and `TcpBase` say what each door does."""

    @property
    def local(self) -> Endpoint: ...

    @property
    def tcp_type(self) -> TcpType | None: ...

    @property
    def send_errors(self) -> Counter[SendError]: ...

    @property
    def receive_errors(self) -> Counter[str]: ...

    async def wait_readable(self) -> None: ...

    async def wait_writable(self) -> None: ...

    def receive_batch(self, batch: Batch, sources: list[Endpoint]) -> int: ...

    def next_failure(self) -> tuple[Endpoint, SendError] | None: ...

    def send(self, payload: bytes | bytearray | memoryview, destination: Endpoint) -> SendError | None: ...

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool: ...

    def forget_routes(self) -> None: ...

    def close(self) -> None: ...
