"""What a running tunnel tells programs: one JSON object a line (`--json`).

Fields are only ever added. Every object has `event`, its kind.
"""

from __future__ import annotations

import msgspec

from p2ptun.ice.candidate import Candidate
from p2ptun.node.path import Path
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """The root of all events."""


class OfferEvent(Event, frozen=True, tag="offer"):
    """The blob that the other side's `join` wants."""

    blob: str


class AnswerEvent(Event, frozen=True, tag="answer"):
    """The blob that the other side's `share` waits for."""

    blob: str


class WaitingEvent(Event, frozen=True, tag="waiting"):
    """Nothing goes on until the other side's offer or answer comes."""

    kind: str


class ReachingEvent(Event, frozen=True, tag="reaching"):
    """The places where the two sides are to meet are being asked for a room."""

    rendezvous: list[str]


class CodeEvent(Event, frozen=True, tag="code"):
    """The code that the other side's `join` wants. A later one replaces it."""

    code: str


class MeetingEvent(Event, frozen=True, tag="meeting"):
    """Somebody has come into the room; whether he knows the code is being found out."""


class VerifyEvent(Event, frozen=True, tag="verify"):
    """Words that both sides have alike unless somebody sits in between. A line `yes` or `no` on stdin answers it."""

    words: list[str]


class PairedEvent(Event, frozen=True, tag="paired"):
    """Two machines know each other from now on. `files` were written for the tunnel `name`, whose peer is `peer`.

    `peer_routes` are the networks that the other side offered, and that lead to it from now on.
    """

    name: str
    peer: str
    files: list[str]
    addresses: list[str]
    peer_addresses: list[str]
    peer_routes: list[str] = []


class InterfaceEvent(Event, frozen=True, tag="interface"):
    """The TUN device is up and has its addresses; `peer_addresses` are the other side's.

    `routes` lead into it: what the other side offered, and its addresses that are outside of this side's networks.
    """

    name: str
    addresses: list[str]
    mtu: int
    peer_addresses: list[str] = []
    routes: list[str] = []


class CandidateEvent(Event, frozen=True, tag="candidate"):
    """A candidate came to be known. `side` is local or remote."""

    side: str
    type: str
    transport: str
    address: str
    port: int


class PeerEvent(Event, frozen=True, tag="peer"):
    """A peer changed its state: connecting, connected, suspect, idle or failed."""

    peer: str
    state: str
    reason: str | None


class RestartEvent(Event, frozen=True, tag="restart"):
    """Both sides look for a path anew, for the `generation`th time; the old one carries traffic while it works."""

    peer: str
    generation: int
    reason: str


class PathEnd(msgspec.Struct, frozen=True):
    """One end of a path: the candidate that stands there."""

    type: str
    transport: str
    address: str
    port: int

    def __str__(self) -> str:
        """Write it as an `Endpoint` is written."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class PathEvent(Event, frozen=True, tag="path"):
    """Traffic takes this path from now on. `setup_ms` counts from the other side's description to the first key.

    `server` is the relay of ours that it leads over, as `RelayEvent` names it; null when only the other side has one.
    """

    peer: str
    kind: str
    local: PathEnd
    remote: PathEnd
    rtt_ms: float | None
    mtu: int
    setup_ms: float | None
    server: str | None = None
    server_transport: str | None = None


class RelayEvent(Event, frozen=True, tag="relay"):
    """A relay: `ready` with an address there that is ours, which it has `lost`, or it `refused` to give one.

    `server` is its name and port, `transport` what we speak to it; `address` and `port` are those of the relayed
    address, null where there is none. `reason` is a sentence.
    """

    server: str
    transport: str
    address: str | None
    port: int | None
    state: str
    reason: str | None = None


class GatheringEvent(Event, frozen=True, tag="gathering"):
    """So many STUN servers and relays are being asked; `gathered` follows within a second, or five with relays."""

    servers: int
    relays: int = 0


class GatheredEvent(Event, frozen=True, tag="gathered"):
    """Gathering is over, or has gone on long enough: so many addresses, and those seen from outside.

    `servers` is how many servers were named to look from there. `relays` are those that have given an address, of
    `relay_servers` that were named.
    """

    hosts: int
    reflexive: list[str]
    servers: int = 0
    relays: list[str] = []
    relay_servers: int = 0


class ProgressEvent(Event, frozen=True, tag="progress"):
    """Connectivity checks: so many candidate pairs have been decided, of so many.

    `heard` tells whether the other side has shown that it knows us; until then it is people who take their time.
    """

    done: int
    total: int
    heard: bool = True


class AddressPlace(msgspec.Struct, frozen=True):
    """An address of this machine and where it has it."""

    interface: str
    address: str


class NetworkEvent(Event, frozen=True, tag="network"):
    """This machine's network changed: addresses that datagrams leave from were gained, lost, or away for a moment.

    `default_routes` says which ways lead everywhere now, the preferred first: an interface, and its gateway if any.
    """

    gained: list[AddressPlace]
    lost: list[AddressPlace]
    interrupted: list[AddressPlace]
    default_routes: list[str]


class ResumedEvent(Event, frozen=True, tag="resumed"):
    """This machine slept, or this process was stopped, for so long."""

    seconds: float


class ClosedEvent(Event, frozen=True, tag="closed"):
    """The tunnel is gone; it carried so many bytes of IP packets."""

    uptime_s: float
    tx_bytes: int
    rx_bytes: int


class ErrorEvent(Event, frozen=True, tag="error"):
    """Something a person has to know, and what to do."""

    message: str
    remedy: str


def candidate_event(side: str, candidate: Candidate) -> CandidateEvent:
    """Describe a local or remote candidate."""
    end = path_end(candidate, candidate.endpoint)
    return CandidateEvent(side, end.type, end.transport, end.address, end.port)


def path_event(peer: str, path: Path, mtu: int, setup: float | None, server: Server | None = None) -> PathEvent:
    """Describe a path over our relay `server`, or none; `setup` in seconds, None when it isn't the first one."""
    return PathEvent(
        peer=peer,
        kind=path.kind.value,
        local=path_end(path.local, path.local.endpoint),
        remote=path_end(path.remote, path.destination),
        rtt_ms=milliseconds(path.rtt),
        mtu=mtu,
        setup_ms=milliseconds(setup),
        server=None if server is None else server_text(server),
        server_transport=None if server is None else server.endpoint.transport.value,
    )


def relay_event(server: Server, relayed: Endpoint | None, state: str, reason: str | None = None) -> RelayEvent:
    """Describe what became of a relay; `relayed` is our address there."""
    address, port = (None, None) if relayed is None else (str(relayed.address), relayed.port)
    return RelayEvent(server_text(server), server.endpoint.transport.value, address, port, state, reason)


def server_text(server: Server) -> str:
    """Write a relay as `name:port`."""
    host = f"[{server.name}]" if ":" in server.name else server.name
    return f"{host}:{server.endpoint.port}"


def path_end(candidate: Candidate, endpoint: Endpoint) -> PathEnd:
    """Describe one end of a path by its candidate."""
    return PathEnd(candidate.type.value, candidate.transport.value, str(endpoint.address), endpoint.port)


def milliseconds(seconds: float | None) -> float | None:
    """Turn seconds into milliseconds with three digits behind the point."""
    return None if seconds is None else round(seconds * 1000, 3)


def encode_event(event: Event) -> str:
    """Write an event as the one line of JSON it travels as, without the line's end."""
    return msgspec.json.encode(event).decode()
