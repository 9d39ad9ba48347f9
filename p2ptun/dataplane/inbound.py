"""From sealed datagrams to IP packets that the kernel may see."""

from __future__ import annotations

from collections import Counter
from typing import Generic

from p2ptun.aead.buffer import Batch
from p2ptun.dataplane.allowed import AllowedIPs, PeerT
from p2ptun.dataplane.drop import DropReason
from p2ptun.dataplane.packet import packet_length, source_of
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from p2ptun.tunnel.wire import DATA_HEADER, DATA_HEADER_SIZE, FrameKind

_BUNDLE = int(FrameKind.BUNDLE)


class Inbound(Generic[PeerT]):
    """Opens the datagrams of one peer: authenticate, check replay, check every inner source, and only then hand on.

    The peer is authenticated, not trusted: whatever is wrong inside is dropped and counted in `drops`, and costs that
    peer's datagram at most. Nothing here raises because of what came in.
    """

    def __init__(self, allowed: AllowedIPs[PeerT], peer: PeerT) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._allowed = allowed
        self._peer = peer

    def open(
        self, datagrams: Batch, span: tuple[int, int], keypair: Keypair, packets: Batch, controls: list[bytes]
    ) -> bool:
        """Open the datagram at `span` with the keypair that its index names; True when it was authentic and new.

        IP packets go as spans to the end of `packets`, control messages as bytes to `controls`. `packets` needs room
        for as much as the datagram holds, and a datagram that doesn't find it is dropped before it counts as seen.
        """
        start, end = span
        source = datagrams.buffer
        out = packets.buffer
        at = packets.end
        body = start + DATA_HEADER_SIZE
        if end < body:
            return self._drop(DropReason.TRUNCATED)
        if keypair.is_wiped:
            return self._drop(DropReason.NO_KEY)
        if end - body > out.size - at:
            return self._drop(DropReason.NO_ROOM)
        counter: int = DATA_HEADER.unpack_from(source.raw, start)[1]
        if counter >= REJECT_AFTER_MESSAGES:
            return self._drop(DropReason.COUNTER)
        size = keypair.receive_key.open_into(out, at, source, body, end, counter)
        if size < 0:
            return self._drop(DropReason.UNAUTHENTIC)
        if not keypair.replay.accept(counter):
            return self._drop(DropReason.REPLAYED)
        if size == 0:
            self._drop(DropReason.EMPTY)
            return True
        self._take_frame(at, at + size - 1, keypair, packets, controls)
        return True

    def _take_frame(self, at: int, end: int, keypair: Keypair, packets: Batch, controls: list[bytes]) -> None:
        """Sort a plaintext by its last byte, which stands at `end`."""
        kind = packets.buffer.raw[end]
        if kind == _BUNDLE:
            keypair.has_unanswered_data = True
            self._unbundle(at, end, packets)
        elif kind == FrameKind.CONTROL:
            controls.append(bytes(packets.buffer.view[at:end]))
        elif kind == FrameKind.SEGMENT:
            self._drop(DropReason.UNNEGOTIATED)
        else:
            self._drop(DropReason.UNKNOWN_FRAME)

    def _unbundle(self, at: int, end: int, packets: Batch) -> None:
        """Add a span for each sound packet of a bundle. Behind one that lies about its length nothing can be found."""
        raw = packets.buffer.raw
        spans = packets.spans
        source_owner = self._allowed.source_owner
        if at == end:
            self._drop(DropReason.EMPTY)
        while at < end:
            start = at + 1
            length = packet_length(raw, start, end)
            if not length:
                self._drop(DropReason.MALFORMED)
                return
            flags = raw[at]
            at = start + length
            if flags:
                self._drop(DropReason.UNNEGOTIATED)
            elif source_owner(source_of(raw, start)) != self._peer:
                self._drop(DropReason.FOREIGN_SOURCE)
            else:
                spans.append((start, at))

    def _drop(self, reason: DropReason) -> bool:
        self.drops[reason] += 1
        return False
