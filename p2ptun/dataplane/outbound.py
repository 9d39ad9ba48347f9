"""From IP packets to sealed datagrams."""

from __future__ import annotations

from collections import Counter

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Batch, Buffer
from p2ptun.dataplane.drop import DropReason
from p2ptun.dataplane.packet import packet_length
from p2ptun.errors import LocalProtocolError
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from p2ptun.tunnel.wire import DATA_HEADER, DATA_HEADER_SIZE, FrameKind

FRAMING = 2  # a flag byte before a packet, the frame kind behind the last one
MAX_PLAINTEXT = 65535
_NO_FLAGS = 0


def plaintext_limit(datagram_size: int, algorithm: Algorithm) -> int:
    """Return how long the plaintext of a datagram of `datagram_size` bytes may be."""
    return datagram_size - DATA_HEADER_SIZE - algorithm.tag_size


def inner_mtu(datagram_size: int, algorithm: Algorithm) -> int:
    """Return the largest IP packet that a datagram of `datagram_size` bytes carries."""
    return plaintext_limit(datagram_size, algorithm) - FRAMING


class Outbound:
    """Bundles IP packets and seals them: as many packets as are there and fit go into one datagram.

    It only bundles what one batch holds, so nothing waits. `limit` is the longest plaintext in bytes, `drops` counts
    packets that didn't go out.

    `plain` is where a plaintext is put together, MAX_PLAINTEXT bytes. It holds nothing between two calls, so one serves
    any number of peers.
    """

    def __init__(self, limit: int, plain: Buffer | None = None) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._plain = Buffer(MAX_PLAINTEXT) if plain is None else plain
        self._limit = 0
        self.limit = limit

    @property
    def limit(self) -> int:
        """The longest plaintext; change it when the path or the algorithm changes."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if not FRAMING < limit <= MAX_PLAINTEXT:
            raise LocalProtocolError(f"a plaintext limit of {limit} bytes")
        self._limit = limit

    def seal(self, packets: Batch, keypair: Keypair, datagrams: Batch) -> int:
        """Seal every packet of `packets` behind what is in `datagrams`; return how many datagrams that made.

        A packet that isn't as long as its own header says can't be bundled, for that is how the other side finds the
        next one: it is dropped, like one that is larger than `limit` allows.
        """
        raw, view = packets.buffer.raw, packets.buffer.view
        plain, plain_view = self._plain.raw, self._plain.view
        room = self._limit - 1  # the frame kind comes last
        at = count = sealed = 0
        for start, end in packets.spans:
            size = end - start
            if not size or packet_length(raw, start, end) != size:
                self.drops[DropReason.MALFORMED] += 1
                continue
            if size >= room:
                self.drops[DropReason.TOO_BIG] += 1
                continue
            if at + size >= room:
                sealed += self._seal_bundle(at, count, keypair, datagrams)
                at = count = 0
            plain[at] = _NO_FLAGS
            after = at + 1 + size
            plain_view[at + 1 : after] = view[start:end]
            at = after
            count += 1
        return sealed + self._seal_bundle(at, count, keypair, datagrams)

    def _seal_bundle(self, size: int, count: int, keypair: Keypair, datagrams: Batch) -> bool:
        """Seal what stands in the plaintext buffer; `count` packets are lost when that can't be done.

        Does in place what `Keypair.take_counter` does: calling it takes 0.12 us more, 7 % of sealing 1400 bytes.
        """
        if not count:
            return False
        out = datagrams.buffer
        start = datagrams.end
        body = start + DATA_HEADER_SIZE
        counter = keypair.next_counter
        if counter >= REJECT_AFTER_MESSAGES or keypair.is_wiped:
            self.drops[DropReason.NO_KEY] += count
            return False
        if body + size + 1 + keypair.tag_size > out.size:
            self.drops[DropReason.NO_ROOM] += count
            return False
        self._plain.raw[size] = FrameKind.BUNDLE
        keypair.next_counter = counter + 1
        DATA_HEADER.pack_into(out.raw, start, keypair.header, counter)
        written = keypair.send_key.seal_into(out, body, self._plain, 0, size + 1, counter)
        datagrams.spans.append((start, body + written))
        return True
