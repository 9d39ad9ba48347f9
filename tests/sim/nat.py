"""NATs in the words of RFC 4787: three mappings, three filterings, lifetime, hairpin, reboot."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address, ip_network

from p2ptun.types import Endpoint, IPAddress

FIRST_PORT = 40000
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


@dataclass(slots=True)
class _Binding:
    inside: Endpoint
    used_at: float
    permitted: set[tuple[object, ...]] = field(default_factory=set)


class Nat:
    """Translates for the addresses in `inside`. A binding lives for `lifetime` seconds after its last use outwards."""

    def __init__(
        self,
        public: str,
        inside: str,
        mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT,
        filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT,
        lifetime: float = LIFETIME,
    ) -> None:
        self.address: IPAddress = ip_address(public)
        self.lifetime = lifetime
        self._inside = ip_network(inside)
        self._mapping = mapping
        self._filtering = filtering
        self._next_port = FIRST_PORT
        self._ports: dict[tuple[object, ...], int] = {}
        self._bindings: dict[int, _Binding] = {}

    def covers(self, address: IPAddress) -> bool:
        """Tell whether a host with that address is behind this NAT."""
        return address.version == self._inside.version and address in self._inside

    def reboot(self) -> None:
        """Forget every binding; later ones get other ports."""
        self._ports.clear()
        self._bindings.clear()

    def outbound(self, source: Endpoint, destination: Endpoint, now: float) -> Endpoint:
        """Translate the source of a datagram that leaves."""
        key = (source, *self._mapping.key(destination))
        port = self._ports.get(key)
        if port is None or self._is_stale(self._bindings[port], now):
            port = self._ports[key] = self._next_port
            self._next_port += 1
            self._bindings[port] = _Binding(source, now)
        binding = self._bindings[port]
        binding.used_at = now
        binding.permitted.add(self._filtering.key(destination))
        return Endpoint(self.address, port)

    def inbound(self, port: int, source: Endpoint, now: float) -> Endpoint | None:
        """Translate the destination of a datagram that arrives; None when it is filtered."""
        binding = self._bindings.get(port)
        if binding is None or self._is_stale(binding, now) or self._filtering.key(source) not in binding.permitted:
            return None
        return binding.inside

    def _is_stale(self, binding: _Binding, now: float) -> bool:
        return now > binding.used_at + self.lifetime
