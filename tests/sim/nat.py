"""Gateways: NATs in the words of RFC 4787, and firewalls that translate nothing.

A NAT has one of three mappings and one of three filterings; it may preserve ports, hairpin, be refreshed from outside,
block a transport, stand behind another NAT, be rebooted. Filters belong to a binding, as connection tracking has them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address, ip_network
from random import Random

from p2ptun.types import Endpoint, IPAddress, Transport

FIRST_PORT, LAST_PORT = 40000, 65000
LIFETIME = 120.0  # RFC 4787 4.3: REQ-5's least


class Behaviour(Enum):
    """What a mapping or a filter depends on, besides the socket inside (RFC 4787 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    def key(self, remote: Endpoint) -> tuple[object, ...]:
        """Give what of the remote side counts."""
        match self:
            case Behaviour.ENDPOINT_INDEPENDENT:
                return ()
            case Behaviour.ADDRESS_DEPENDENT:
                return (remote.address,)
            case Behaviour.ADDRESS_AND_PORT_DEPENDENT:
                return (remote.address, remote.port)


class Ports(Enum):
    """Which port a new binding gets (RFC 4787 4.2.1)."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    PRESERVED = "preserved"
    """The port inside, where no other binding for the same remote has it; else a sequential one.

    A NAT that maps by destination may so use one port for many destinations, and then looks the same to all of them.
    """


@dataclass(frozen=True, slots=True)
class Habit:
    """What a NAT does besides mapping and filtering.

    Attributes:
        ports: How it chooses ports; `seed` is that of random ones.
        lifetime: Of a binding and of a filter, in seconds after their last use.
        has_hairpin: Whether two hosts inside reach each other at their public addresses (RFC 4787 6).
        is_refreshed_inbound: Whether what comes in counts as use (RFC 4787 4.3, REQ-6 lets it).
        is_tracking: Whether the answer to a remote that was let in leaves by the binding that let it in, although that
            one is meant for others. RFC 4787 doesn't say; a NAT that doesn't makes a binding of its own.
        blocked: Transports that it lets out to nobody.
    """

    ports: Ports = Ports.SEQUENTIAL
    lifetime: float = LIFETIME
    has_hairpin: bool = False
    is_refreshed_inbound: bool = False
    is_tracking: bool = False
    blocked: Collection[Transport] = ()
    seed: int = 0


@dataclass(slots=True)
class _Binding:
    inside: Endpoint
    used_at: float
    permitted: dict[tuple[object, ...], float] = field(default_factory=dict)


class Gateway:
    """Stands between the addresses in `inside` and the rest of the world; `behind` is the next gateway outwards."""

    def __init__(self, inside: str, blocked: Collection[Transport] = ()) -> None:
        self.inside = ip_network(inside)
        self.behind: Gateway | None = None
        self.has_hairpin = False
        self.blocked = blocked

    def covers(self, address: IPAddress) -> bool:
        """Tell whether a host with that address is behind this gateway."""
        return address.version == self.inside.version and address in self.inside

    def faces(self, address: IPAddress) -> bool:
        """Tell whether what is sent to that address from outside comes to it."""
        return self.covers(address)

    def reboot(self) -> None:
        """Forget everything."""

    def outbound(self, source: Endpoint, destination: Endpoint, now: float) -> Endpoint:
        """Give the source that a datagram has outside."""
        return source

    def inbound(self, destination: Endpoint, source: Endpoint, now: float) -> Endpoint | None:
        """Give the destination that a datagram has inside; None when it is filtered."""
        return destination


class Nat(Gateway):
    """Translates for the addresses in `inside`. A binding lives for so long after its last use outwards."""

    def __init__(
        self,
        public: str,
        inside: str,
        mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT,
        filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT,
        lifetime: float = LIFETIME,
        habit: Habit | None = None,
    ) -> None:
        habit = habit or Habit(lifetime=lifetime)
        super().__init__(inside, habit.blocked)
        self.address: IPAddress = ip_address(public)
        self.has_hairpin = habit.has_hairpin
        self._habit = habit
        self._mapping = mapping
        self._filtering = filtering
        self._random = Random(f"{habit.seed} {public}")
        self._next_port = FIRST_PORT
        self._ports: dict[tuple[object, ...], int] = {}
        self._bindings: dict[tuple[Transport, int], dict[tuple[object, ...], _Binding]] = {}

    def faces(self, address: IPAddress) -> bool:
        """Tell whether that is the public address."""
        return address == self.address

    def reboot(self) -> None:
        """Forget every binding; later ones get other ports, but for those that are preserved."""
        self._ports.clear()
        self._bindings.clear()

    def outbound(self, source: Endpoint, destination: Endpoint, now: float) -> Endpoint:
        """Translate the source of a datagram that leaves."""
        remote = self._mapping.key(destination)
        key = (source, *remote)
        port = self._ports.get(key)
        binding = self._binding(source, port, remote) if port is not None else None
        if port is None or binding is None or self._is_stale(binding.used_at, now):
            port = self._ports[key] = self._choose_port(source, remote, now)
            binding = _Binding(source, now)
            self._bindings.setdefault((source.transport, port), {})[remote] = binding
        binding.used_at = now
        binding.permitted[self._filtering.key(destination)] = now
        return Endpoint(self.address, port, source.transport)

    def inbound(self, destination: Endpoint, source: Endpoint, now: float) -> Endpoint | None:
        """Translate the destination of a datagram that arrives; None when it is filtered."""
        bindings = self._bindings.get((destination.transport, destination.port), {})
        own = bindings.get(self._mapping.key(source))
        for binding in ([own] if own else []) + [each for each in bindings.values() if each is not own]:
            if self._admits(binding, source, now):
                self._note_inbound(binding, destination.port, source, now)
                return binding.inside
        return None

    def _binding(self, inside: Endpoint, port: int, remote: tuple[object, ...]) -> _Binding | None:
        """Find a binding by its port; one that was made for others may serve this remote too, see `is_tracking`."""
        bindings = self._bindings.get((inside.transport, port), {})
        own = [bindings[remote]] if remote in bindings else list(bindings.values())
        return next((binding for binding in own if binding.inside == inside), None)

    def _choose_port(self, source: Endpoint, remote: tuple[object, ...], now: float) -> int:
        if self._habit.ports is Ports.PRESERVED:
            rival = self._bindings.get((source.transport, source.port), {}).get(remote)
            if rival is None or rival.inside == source or self._is_stale(rival.used_at, now):
                return source.port
        if self._habit.ports is Ports.RANDOM:
            self._next_port = self._random.randrange(FIRST_PORT, LAST_PORT)
        while (source.transport, self._next_port) in self._bindings:
            self._next_port += 1
        self._next_port += 1
        return self._next_port - 1

    def _admits(self, binding: _Binding, source: Endpoint, now: float) -> bool:
        if self._is_stale(binding.used_at, now):
            return False
        permitted_at = binding.permitted.get(self._filtering.key(source))
        return permitted_at is not None and not self._is_stale(permitted_at, now)

    def _note_inbound(self, binding: _Binding, port: int, source: Endpoint, now: float) -> None:
        if self._habit.is_refreshed_inbound:
            binding.used_at = binding.permitted[self._filtering.key(source)] = now
        key = (binding.inside, *self._mapping.key(source))
        if self._habit.is_tracking and key not in self._ports:
            self._ports[key] = port

    def _is_stale(self, used_at: float, now: float) -> bool:
        return now > used_at + self._habit.lifetime


class Firewall(Gateway):
    """Lets in what was asked for from inside, and translates nothing: before IPv6, or before public addresses."""

    def __init__(
        self,
        inside: str,
        filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT,
        lifetime: float = LIFETIME,
        blocked: Collection[Transport] = (),
    ) -> None:
        super().__init__(inside, blocked)
        self._filtering = filtering
        self._lifetime = lifetime
        self._permitted: dict[tuple[object, ...], float] = {}

    def reboot(self) -> None:
        """Forget who was asked."""
        self._permitted.clear()

    def outbound(self, source: Endpoint, destination: Endpoint, now: float) -> Endpoint:
        """Let a datagram out, and answers to it in."""
        key = (source, *self._filtering.key(destination))
        self._permitted[key] = now
        return source

    def inbound(self, destination: Endpoint, source: Endpoint, now: float) -> Endpoint | None:
        """Let an answer in."""
        asked_at = self._permitted.get((destination, *self._filtering.key(source)))
        return None if asked_at is None or now > asked_at + self._lifetime else destination
