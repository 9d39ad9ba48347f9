"""What leaves as one: datagrams for one destination from one socket."""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.aead.buffer import Batch
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class Flight:
    """Datagrams ready to leave: from the socket bound to `source`, to `destination`."""

    datagrams: Batch
    source: Endpoint
    destination: Endpoint
