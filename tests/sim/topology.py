"""Who is where, and which way a datagram takes: sockets in realms, and gateways between the realms.

A realm is what is behind one gateway, or the internet (None). The same private address may stand in two realms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from p2ptun.types import Endpoint, IPAddress, Transmit

from .host import Host
from .nat import Gateway

Realm: TypeAlias = Gateway | None


@dataclass(frozen=True, slots=True)
class Climb:
    """A datagram that left its realm and the ones around it, as far as it had to.

    Attributes:
        packet: As it looks there.
        realm: Where it is now: its destination is a host or a gateway in it.
        wires: Addresses of the interfaces that it left by, the sender's own first.
    """

    packet: Transmit
    realm: Realm
    wires: tuple[IPAddress, ...]


class Topology:
    """The map of the network."""

    def __init__(self) -> None:
        self._gateways: list[Gateway] = []
        self._hosts: dict[tuple[Realm, Endpoint], Host] = {}
        self._homes: dict[tuple[Host, Endpoint], Realm] = {}
        self._faces: dict[tuple[Realm, IPAddress], Gateway | None] = {}

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """Every gateway that was put up."""
        return tuple(self._gateways)

    def add_gateway(self, gateway: Gateway, behind: Realm) -> None:
        """Put a gateway up, before sockets too that are there already; without `behind` its address says where."""
        address = getattr(gateway, "address", None)
        gateway.behind = behind or (self.realm_around(address, gateway) if address else None)
        self._gateways.append(gateway)
        self._faces.clear()
        for (host, socket), realm in list(self._homes.items()):
            if realm is gateway.behind and gateway.covers(socket.address):
                self.unplug(host, socket)
                self.plug(host, socket, gateway)

    def forget_faces(self) -> None:
        """Look anew who stands at which address: a gateway got another one."""
        self._faces.clear()

    def realm_around(self, address: IPAddress, besides: Realm = None) -> Realm:
        """Find the smallest realm that covers an address."""
        around = [each for each in self._gateways if each is not besides and each.covers(address)]
        return max(around, key=lambda each: each.inside.prefixlen, default=None)

    def plug(self, host: Host, socket: Endpoint, realm: Realm) -> None:
        """Put a socket of a host into a realm."""
        self._hosts[realm, socket] = host
        self._homes[host, socket] = realm

    def unplug(self, host: Host, socket: Endpoint) -> None:
        """Take a socket away."""
        del self._hosts[self._homes.pop((host, socket)), socket]

    def owners(self, socket: Endpoint) -> list[Host]:
        """Give the hosts that have such a socket, in whatever realm."""
        return [host for (_, other), host in self._hosts.items() if other == socket]

    def has_socket(self, host: Host, socket: Endpoint) -> bool:
        """Tell whether a host may send from there."""
        return (host, socket) in self._homes

    def home(self, host: Host, socket: Endpoint) -> Realm:
        """Give the realm of a socket."""
        return self._homes[host, socket]

    def host_at(self, realm: Realm, socket: Endpoint) -> Host | None:
        """Give the host with that socket in a realm."""
        return self._hosts.get((realm, socket))

    def gateway_at(self, realm: Realm, address: IPAddress) -> Gateway | None:
        """Give the gateway that what is sent to an address in a realm comes to."""
        key = realm, address
        if key not in self._faces:
            inner = (each for each in self._gateways if each.behind is realm and each.faces(address))
            self._faces[key] = next(inner, None)
        return self._faces[key]

    def owner_of(self, realm: Realm, address: IPAddress) -> Host | None:
        """Give the host that has an address in a realm."""
        owners = (host for (other, socket), host in self._hosts.items() if (other, socket.address) == (realm, address))
        return next(owners, None)

    def climb(self, realm: Realm, packet: Transmit, now: float) -> Climb | str:
        """Take a datagram outwards from its realm, through one gateway after the other, until its destination is near.

        Gives the reason when it doesn't get so far.
        """
        destination = packet.destination
        wires, gateways = [packet.source.address], list[Gateway]()
        while self.host_at(realm, destination) is None and self.gateway_at(realm, destination.address) is None:
            if realm is None and self.realm_around(destination.address) is not None:
                return "no route to a private address"
            if realm is None or realm.covers(destination.address):
                break  # nobody is there, which shows on arrival
            if destination.transport in realm.blocked:
                return "blocked"
            packet = replace(packet, source=realm.outbound(packet.source, destination, now))
            wires.append(packet.source.address)
            gateways.append(realm)
            realm = realm.behind
        inner = self.gateway_at(realm, destination.address)
        if inner in gateways and not inner.has_hairpin:
            return "no hairpin"
        return Climb(packet, realm, tuple(wires))
