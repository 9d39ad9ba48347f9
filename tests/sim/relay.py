"""A TURN server made from our own core, as a host of the network."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

from p2ptun.relay.config import Limits, ServerConfig
from p2ptun.relay.event import RelayEvent
from p2ptun.relay.order import OpenRelay
from p2ptun.relay.server import Server
from p2ptun.stun.credential import LongTermCredential, StaticCredentials
from p2ptun.turn import server as turn
from p2ptun.types import Endpoint, IPAddress, SendError, Transmit, Transport

from .network import Network

REALM = "example.org"
CREDENTIAL = LongTermCredential("alice", "secret")
USERS = {CREDENTIAL.username: CREDENTIAL.password}
PORT, OTHER_PORT = 3478, 3479


class RelayServer:
    """Relays from its addresses, one of each family; listens there over UDP and TCP.

    A second address of one family makes it a server of RFC 5780. Who has killed it may revive it: it remembers nothing.

    Attributes:
        core: What runs; None while it is dead.
        events: What the core has told, over all its lives.
    """

    def __init__(
        self,
        network: Network,
        *addresses: str,
        limits: Limits | None = None,
        users: dict[str, str] | None = None,
        transports: tuple[Transport, ...] = (Transport.UDP, Transport.TCP),
        name: str = "",
    ) -> None:
        self.network = network
        self.name = name or f"relay-{addresses[0]}"
        self.addresses: list[IPAddress] = [ip_address(address) for address in addresses]
        self.core: Server | None = None
        self.events: list[RelayEvent] = []
        self._transports = transports
        self._relayed: set[Endpoint] = set()
        self._random = Random(f"{network.seed} {self.name}")
        own = {address.version: address for address in reversed(self.addresses)}
        self._config = ServerConfig(REALM, tuple(own.values()), limits=limits or Limits())
        self._credentials = StaticCredentials(users or USERS, REALM)
        network.plug(self)
        self.revive()

    def __repr__(self) -> str:
        return self.name

    @property
    def listeners(self) -> list[tuple[Endpoint, Endpoint | None]]:
        """The sockets for clients, each with that of the other address and port (RFC 5780)."""
        streams = [Endpoint(address, PORT, Transport.TCP) for address in self.addresses]
        found: list[tuple[Endpoint, Endpoint | None]] = [(stream, None) for stream in streams]
        for address in self.addresses:
            other = next((one for one in self.addresses if one.version == address.version and one != address), None)
            for port, alternate in ((PORT, OTHER_PORT), (OTHER_PORT, PORT)) if other else ((PORT, PORT),):
                found.append((Endpoint(address, port), Endpoint(other, alternate) if other else None))
        return found

    @property
    def servers(self) -> list[turn.Server]:
        """What clients are told of it: one server, by whichever of its transports."""
        first = self.addresses[0]
        return [turn.Server(Endpoint(first, PORT, transport), self.name) for transport in self._transports]

    @property
    def relayed(self) -> frozenset[Endpoint]:
        """The relay sockets that are open."""
        return frozenset(self._relayed)

    def kill(self) -> None:
        """End the process; the machine stays."""
        if self.core is not None:
            self.core = None
            self.network.unplug(*(local for local, _ in self.listeners), *self._relayed)
            self._relayed.clear()

    def revive(self) -> None:
        """Start the process."""
        if self.core is None:
            self.core = Server(self._config, self._credentials, self._random.randbytes)
            for local, alternate in self.listeners:
                self.core.add_listener(local, alternate)
                self.network.plug(self, local)

    # The host's doors

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take what comes from a client, or from a peer to a relay socket."""
        if self.core is not None and local in self._relayed:
            self.core.receive_relayed(data, source, local, now)
        elif self.core is not None:
            self.core.receive_datagram(data, source, local, now)

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        """Know that a client's stream has ended; UDP forgets what it couldn't send."""
        if self.core is not None and base.transport is Transport.TCP:
            self.core.connection_closed(remote, base, now)

    def handle_timeout(self, now: float) -> None:
        """Let what has expired end."""
        if self.core is not None:
            self.core.handle_timeout(now)

    def next_transmit(self) -> Transmit | None:
        """Give what is to be sent; a socket is closed after the last of it."""
        while self.core is not None:
            transmit = self.core.next_transmit()
            if transmit is not None:
                return transmit
            while (event := self.core.next_event()) is not None:
                self.events.append(event)
            if not self._obey(self.core):
                break
        return None

    def next_timeout(self) -> float | None:
        """Tell when something expires."""
        return None if self.core is None else self.core.next_timeout()

    def _obey(self, core: Server) -> bool:
        """Carry the next order out; tell whether there was one."""
        order = core.next_order()
        if order is None:
            return False
        if isinstance(order, OpenRelay):
            self._relayed.add(order.relayed)
            self.network.plug(self, order.relayed)
            core.relay_opened(order.order_id, order.relayed, self.network.now)
        else:
            self._relayed.remove(order.relayed)
            self.network.unplug(order.relayed)
        return True
