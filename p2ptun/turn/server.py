"""A TURN server as the client knows it."""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class Server:
    """One transport address of a server.

    Attributes:
        endpoint: Where it listens; the transport (UDP, TCP, TLS) is what we speak to it, whatever peers get is UDP.
        name: The host as the person wrote it: what people are shown, and what its certificate has to name.
    """

    endpoint: Endpoint
    name: str

    def __str__(self) -> str:
        return f"{self.name}:{self.endpoint.port} ({self.endpoint.transport.value})"
