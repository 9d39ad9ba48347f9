"""All allocations of a node: servers raced, lost ones replaced, old ones renewed."""

from __future__ import annotations

from collections import Counter

from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.turn import CHANNEL_HEADER_SIZE
from p2ptun.turn.allocation import Grant
from p2ptun.turn.broker import Broker
from p2ptun.turn.channel import Channel, Channels, Parcel
from p2ptun.turn.config import DEFAULT_CONFIG, PoolConfig
from p2ptun.turn.event import DropReason, Event, LossReason
from p2ptun.turn.host import Host
from p2ptun.turn.lease import PASSING_ERRORS
from p2ptun.turn.order import Order
from p2ptun.turn.server import Server
from p2ptun.turn.sockets import is_stream
from p2ptun.turn.status import AllocationState, AllocationStatus
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit


class Pool:
    """Five doors, and a hot path in two functions.

    After any command or input drain `next_order`, then `next_transmit`, then `next_order` again (a socket is closed
    only after the last that it has to send), then `next_event`, and read `next_timeout`.

    Addresses are tried like happy eyeballs (RFC 8305): UDP before TCP before TLS, otherwise in the order in which they
    came, one every 250 ms, and at once after a failure, until there are enough allocations. Addresses with the same
    name are one server, which gives one allocation, whichever transport is first.
    """

    def __init__(self, random_bytes: RandomBytes, config: PoolConfig = DEFAULT_CONFIG) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._config = config
        self._random_bytes = random_bytes
        self._broker = Broker(random_bytes, config, self.drops)
        self._has_all_servers = False
        self._timer: tuple[float, str] | None = None
        self._is_timer_known = False
        self._hot: tuple[Endpoint, Channels, Grant] | None = None

    # Getters

    @property
    def allocations(self) -> tuple[AllocationStatus, ...]:
        """Every allocation, and every server without one, for people."""
        leases, hosts = self._broker.leases.values(), self._broker.hosts.values()
        busy = {lease.host.name for lease in leases}
        idle = (_idle_status(host) for host in hosts if host.name not in busy)
        return (*(lease.status for lease in leases), *idle)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be expected soon: all servers are known, and enough serve or the rest failed."""
        broker = self._broker
        if not self._has_all_servers or broker.is_enough:
            return self._has_all_servers
        return all(host.failure is not None or broker.serving(host) for host in broker.hosts.values())

    @property
    def next_timer(self) -> str | None:
        """Name what `next_timeout` waits for."""
        timer = self._next_timer()
        return timer[1] if timer else None

    def owns(self, base: Endpoint) -> bool:
        """Tell whether `base` is a relayed address of ours: what it sends goes through `send` or `channel`."""
        return base in self._broker.relays

    def is_socket(self, token: Endpoint) -> bool:
        """Tell whether `token` names a socket that is open."""
        return token in self._broker.leases

    # Commands

    def add_server(
        self, server: Server, credential: LongTermCredential | None, expires_at: float | None, now: float
    ) -> None:
        """Take in a server and try it. All addresses of one name share the credential that was given last.

        `expires_at` is when the credential ends, in seconds of `now`; None when it never does.
        """
        if sum(len(host.servers) for host in self._broker.hosts.values()) >= self._config.max_servers:
            self.drops[DropReason.TOO_MANY_SERVERS] += 1
            return
        host = self._broker.hosts.get(server.name)
        if host is None:
            host = self._broker.hosts[server.name] = Host(server.name, self._config, self._random_bytes)
        if host.supply.credential != credential:
            host.supply.set(credential, expires_at, now)
        if server not in host.servers:
            host.add_server(server, self._broker.origin(host), now)
        if is_stream(server.endpoint) and not self._has_all_servers:
            self._broker.hold(now)
        else:
            self._broker.go()
        self._advance(now)

    def end_of_servers(self, now: float) -> None:
        """Know that no more servers come."""
        self._has_all_servers = True
        self._broker.go()
        self._advance(now)

    def set_credential(self, name: str, credential: LongTermCredential, expires_at: float | None, now: float) -> None:
        """Use another credential for the server called `name`: its allocation is replaced by a second one."""
        host = self._broker.hosts.get(name)
        if host is not None:
            host.supply.set(credential, expires_at, now)
            self._broker.renew(host, now)
            self._advance(now)

    def permit(self, peer: Endpoint, now: float) -> None:
        """Let `peer` in through every allocation of its family, those to come included. Repeated calls are cheap."""
        if peer in self._broker.peers:
            return
        if len(self._broker.peers) >= self._config.max_peers:
            self.drops[DropReason.TOO_MANY_PEERS] += 1
            return
        self._broker.peers[peer] = None
        for lease in self._broker.leases.values():
            lease.client.permit((peer,), now)
        self._advance(now)

    def forget(self, peer: Endpoint, now: float) -> None:
        """Let `peer` in no longer than what was granted lasts."""
        if self._broker.peers.pop(peer, peer) is None:
            for lease in self._broker.leases.values():
                lease.client.forget(peer)
            self._advance(now)

    def send(self, payload: bytes, relayed: Endpoint, peer: Endpoint, now: float) -> None:
        """Send a datagram to `peer` from `relayed`, as ChannelData where a channel is bound. Permits the peer."""
        lease = self._broker.relays.get(relayed)
        if lease is None:
            self.drops[DropReason.UNKNOWN_RELAY] += 1
            return
        self.permit(peer, now)
        lease.client.send(payload, peer)

    def occupy(self, base: Endpoint, now: float) -> None:
        """Know that a socket of ours is bound to `base`: it is relayed by nobody, whatever a server says."""
        self._broker.occupy(base, now)
        self._advance(now)

    def vacate(self, base: Endpoint) -> None:
        """Know that a socket of ours is gone. Harmless when it isn't known."""
        self._broker.own.discard(base)

    def probe(self, relayed: Endpoint, now: float) -> None:
        """Ask the server behind `relayed` at once; it is lost unless it answers in a few seconds."""
        lease = self._broker.relays.get(relayed)
        if lease is not None:
            lease.client.probe(now)
            self._advance(now)

    def reset(self, now: float) -> None:
        """Give up all sockets and allocations and begin anew: the network changed, or we were asleep."""
        self._broker.restart(now)
        self._advance(now)

    def close(self, now: float) -> None:
        """Give everything back (Refresh with a lifetime of 0, best effort) and forget servers and peers."""
        for lease in list(self._broker.leases.values()):
            self._broker.end(lease, LossReason.CLOSED, now)
        self._broker.hosts.clear()
        self._broker.peers.clear()
        self._advance(now)

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take in one STUN message or ChannelData frame that came to the socket `local`, a token."""
        lease = self._broker.leases.get(local)
        if lease is None:
            self.drops[DropReason.UNKNOWN_SOCKET] += 1
            return
        server = lease.client.server.endpoint
        if (source.address, source.port) != (server.address, server.port):
            self.drops[DropReason.FOREIGN_SOURCE] += 1
            return
        lease.client.receive(data, now)
        self._advance(now)

    def record_send_error(self, token: Endpoint, server: Endpoint, error: SendError, now: float) -> None:
        """Take in that a socket could not be opened, connected or trusted, could not send, or was closed.

        It is about the socket `token`; each has one `server`.
        """
        lease = self._broker.leases.get(token)
        if lease is not None and error not in PASSING_ERRORS:
            self._broker.record_error(lease, error, now)
            self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._broker.handle_timeout(now)
        self._advance(now)

    # Outputs

    def next_order(self) -> Order | None:
        """Give a socket to open or to close."""
        return self._broker.sockets.next_order(has_farewells=bool(self._broker.farewells))

    def next_transmit(self) -> Transmit | None:
        """Give a message to send: its source is a token. Frames for streams are padded already."""
        return self._broker.next_transmit()

    def next_event(self) -> Event | None:
        """Give what has happened."""
        return self._broker.events.popleft() if self._broker.events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        timer = self._next_timer()
        return timer[0] if timer else None

    # Hot path

    def channel(self, relayed: Endpoint, peer: Endpoint) -> Channel | None:
        """Give the channel by which data goes from `relayed` to `peer`; None while none is bound: use `send`."""
        lease = self._broker.relays.get(relayed)
        return None if lease is None else lease.client.channels.channel(peer)

    def locate(self, raw: bytes | bytearray | memoryview, start: int, end: int, token: Endpoint) -> Parcel | None:
        """Find the payload in the ChannelData frame `raw[start:end]` that came from the server to the socket `token`.

        None, and counted, when it is none or for no channel of ours. Who asks for one socket many times in a row with
        the same `token` object saves the look-up of an address, which costs more than all the rest.
        """
        hot = self._hot
        if hot is None or hot[0] is not token:
            lease = self._broker.leases.get(token)
            if lease is None or lease.client.grant is None:
                self.drops[DropReason.UNKNOWN_SOCKET] += 1
                return None
            hot = self._hot = (token, lease.client.channels, lease.client.grant)
        payload = start + CHANNEL_HEADER_SIZE
        if payload > end or payload + (raw[start + 2] << 8 | raw[start + 3]) > end:
            self.drops[DropReason.MALFORMED] += 1
            return None
        peer = hot[1].peer(raw[start] << 8 | raw[start + 1])
        relayed = None if peer is None else hot[2].relayed_for(peer)
        if peer is None or relayed is None:
            self.drops[DropReason.UNKNOWN_CHANNEL] += 1
            return None
        return Parcel(payload, payload + (raw[start + 2] << 8 | raw[start + 3]), peer, relayed)

    def _advance(self, now: float) -> None:
        self._broker.advance(now)
        self._is_timer_known = False
        self._hot = None

    def _next_timer(self) -> tuple[float, str] | None:
        """Find the next deadline, once after each change: a batch of data that changes nothing asks for it, too."""
        if not self._is_timer_known:
            running = [(at, name) for at, name in self._broker.timers() if at is not None]
            self._timer = min(running, default=None)
            self._is_timer_known = True
        return self._timer


def _idle_status(host: Host) -> AllocationStatus:
    """Tell of a server by which nothing runs: it failed and waits, or others serve."""
    failure = host.failure
    if failure is None:
        return AllocationStatus(host.servers[0], AllocationState.STANDBY)
    return AllocationStatus(failure.server, AllocationState.FAILED, problem=failure.problem, code=failure.code)
