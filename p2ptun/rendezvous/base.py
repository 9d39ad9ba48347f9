"""What every rendezvous can do. It is all that the rest of p2ptun knows of one."""

from __future__ import annotations

from typing import Protocol


class Rendezvous(Protocol):
    """A way to the other side that exists before the tunnel does. Messages are opaque, whole, and come in order.

    Who carries them may read, drop, repeat or change them unless the rendezvous says otherwise. Every method may be
    cancelled, and leaves files, sockets and the terminal as it found them.

    Raises:
        RendezvousError: From any method, with one sentence for people and what to do.
    """

    async def send(self, message: bytes) -> None:
        """Give a message to the other side."""
        ...

    async def receive(self) -> bytes:
        """Wait for the other side's next message."""
        ...

    async def aclose(self) -> None:
        """Take leave. Harmless twice."""
        ...
