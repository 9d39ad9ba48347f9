"""All allocations of a node: servers raced, lost ones replaced, old ones renewed."""

from __future__ import annotations

from collections import Counter

from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.channel import Channel
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import DropReason, Event
from p2ptun.turn.framing import Parcel
from p2ptun.turn.order import Order
from p2ptun.turn.server import Server
from p2ptun.turn.status import AllocationStatus
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit


class Pool:
    """Five doors, and a hot path in two functions.

    After any command or input drain `next_order`, then `next_transmit`, then `next_order` again (a socket is closed
    only after the last that it has to send), then `next_event`, and read `next_timeout`.
    """

    def __init__(self, random_bytes: RandomBytes, config: PoolConfig = PoolConfig()) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._random_bytes = random_bytes
        self._config = config

    # Getters

    @property
    def allocations(self) -> tuple[AllocationStatus, ...]:
        """Every allocation, and every server without one, for people."""
        return ()

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be expected soon: all servers are known, and enough of them serve or all failed."""
        return True

    @property
    def next_timer(self) -> str | None:
        """Name what `next_timeout` waits for."""
        return None

    def owns(self, base: Endpoint) -> bool:
        """Tell whether `base` is a relayed address of ours: what it sends goes through `send` or `channel`."""
        return False

    def is_socket(self, token: Endpoint) -> bool:
        """Tell whether `token` names a socket that is open."""
        return False

    # Commands

    def add_server(
        self, server: Server, credential: LongTermCredential | None, expires_at: float | None, now: float
    ) -> None:
        """Take in a server and try it. All servers of one name share the credential that was given last.

        `expires_at` is when the credential ends, in seconds of `now`; None when it never does.
        """

    def end_of_servers(self, now: float) -> None:
        """Know that no more servers come."""

    def set_credential(self, name: str, credential: LongTermCredential, expires_at: float | None, now: float) -> None:
        """Use another credential for the server called `name`: its allocation is replaced by a second one."""

    def permit(self, peer: Endpoint, now: float) -> None:
        """Let `peer` in through every allocation of its family, those to come included. Repeated calls are cheap."""

    def forget(self, peer: Endpoint, now: float) -> None:
        """Let `peer` in no longer than what was granted lasts."""

    def send(self, payload: bytes, relayed: Endpoint, peer: Endpoint, now: float) -> None:
        """Send a datagram to `peer` from `relayed`, as ChannelData where a channel is bound. Permits the peer."""

    def probe(self, relayed: Endpoint, now: float) -> None:
        """Ask the server behind `relayed` at once; it is lost unless it answers in a few seconds."""

    def reset(self, now: float) -> None:
        """Give up all sockets and allocations and begin anew: the network changed, or we were asleep."""

    def close(self, now: float) -> None:
        """Give everything back (Refresh with a lifetime of 0, best effort) and end."""

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take in one STUN message or ChannelData frame that came to the socket `local`, a token."""

    def record_send_error(self, token: Endpoint, server: Endpoint, error: SendError, now: float) -> None:
        """Take in that a socket could not be opened, connected or trusted, could not send, or was closed."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    # Outputs

    def next_order(self) -> Order | None:
        """Give a socket to open or to close."""
        return None

    def next_transmit(self) -> Transmit | None:
        """Give a message to send: source is a token. Frames for streams are padded already."""
        return None

    def next_event(self) -> Event | None:
        """Give what has happened."""
        return None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return None

    # Hot path

    def channel(self, relayed: Endpoint, peer: Endpoint) -> Channel | None:
        """Give the channel by which data goes from `relayed` to `peer`; None while none is bound: use `send`."""
        return None

    def locate(self, raw: bytes | bytearray | memoryview, start: int, end: int, token: Endpoint) -> Parcel | None:
        """Find the payload in the ChannelData frame `raw[start:end]` that came to the socket `token`.

        None, and counted, when it is none or for no channel of ours. The caller knows that it came from the server.
        """
        return None
