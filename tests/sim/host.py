"""What can be plugged into the network, what it may do besides, and what is counted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from p2ptun.stun.codec import MAGIC_COOKIE
from p2ptun.types import Endpoint, SendError, Transmit

USERNAME = b"\0\x06"  # RFC 8489 18.3.1
BINDING_REQUEST = b"\0\x01"


class Host(Protocol):
    """What can be plugged into the network: an owner of machines."""

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def next_transmit(self) -> Transmit | None: ...

    def next_timeout(self) -> float | None: ...


@runtime_checkable
class ErrorHost(Protocol):
    """A host that wants to hear what its kernel refuses to send, and which connections fail."""

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram, or the frame of a stream, as it left its host."""

    at: float
    host: Host
    packet: Transmit


@dataclass(slots=True)
class Count:
    """What a host sent: datagrams and their payload, and how many of them were connectivity checks (requests)."""

    datagrams: int = 0
    octets: int = 0
    checks: int = 0

    def add(self, payload: bytes) -> None:
        """Count one datagram."""
        self.datagrams += 1
        self.octets += len(payload)
        self.checks += is_check(payload)


def is_check(payload: bytes) -> bool:
    """Tell whether a datagram is a connectivity check: a binding request with a user name (RFC 8445 7.1).

    A server is asked without one. Our own checks begin with it, so that nothing needs to be decoded here.
    """
    return payload[:2] == BINDING_REQUEST and payload[4:8] == MAGIC_COOKIE and payload[20:22] == USERNAME
