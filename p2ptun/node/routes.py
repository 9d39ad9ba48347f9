"""Which peer a packet goes to: the inner destination decides (cryptokey routing)."""

from __future__ import annotations

from collections import Counter

from p2ptun.aead.buffer import Batch
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.packet import destination_of, packet_length
from p2ptun.node.drop import DropReason


class Routes:
    """Sorts the packets of a batch by the peer that their destination belongs to.

    `table` is also what the peers' inner sources are checked against.
    """

    def __init__(self) -> None:
        self.table: AllowedIPs[str] = AllowedIPs()

    def split(self, packets: Batch, drops: Counter[DropReason]) -> list[tuple[str, Batch]]:
        """Return each peer's share of `packets`, in order; what belongs to nobody is counted in `drops`."""
        raw = packets.buffer.raw
        lookup = self.table.lookup
        shares: dict[str, list[tuple[int, int]]] = {}
        for span in packets.spans:
            if not packet_length(raw, *span):
                drops[DropReason.NO_PACKET] += 1
                continue
            name = lookup(destination_of(raw, span[0]))
            if name is None:
                drops[DropReason.NO_PEER] += 1
            else:
                shares.setdefault(name, []).append(span)
        return [(name, packets.share(spans)) for name, spans in shares.items()]
