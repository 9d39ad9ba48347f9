"""A transport keypair: what one handshake made, to seal one way and open the other."""

from __future__ import annotations

from p2ptun.aead.key import Key
from p2ptun.errors import LocalProtocolError
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.replay import ReplayWindow
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from p2ptun.tunnel.wire import DATA_HEADER, FrameKind, MessageType, header_word


class Keypair:
    """Two keys, their counters and their replay window. The data plane uses the fields directly.

    Attributes:
        send_key: seals; `next_counter` is the first number not used yet.
        receive_key: opens; `replay` is asked after it, never before.
        tag_size: how many bytes sealing adds.
        header: the first word of every datagram we send: type and `remote_index`.
        local_index: what the datagrams that we open carry.
        has_unanswered_data: set by the data plane when it opened IP packets, cleared by the session.
        created_at: when the handshake ended here, monotonic seconds; `rekey_at`: when use of it wants a successor.
        is_initiator: whether we initiated that handshake.
        is_bound: whether the initiation proved that it was made after an earlier session, see `admission`.
        is_proven: whether something authentic came under these keys, so that the other side surely has them.
        binder: the secret by which the next initiation proves it.
    """

    __slots__ = (
        "binder",
        "created_at",
        "has_unanswered_data",
        "header",
        "is_bound",
        "is_initiator",
        "is_proven",
        "is_wiped",
        "local_index",
        "next_counter",
        "receive_key",
        "rekey_at",
        "replay",
        "send_key",
        "tag_size",
    )

    def __init__(
        self,
        *,
        send_key: Key,
        receive_key: Key,
        local_index: SessionIndex,
        remote_index: SessionIndex,
        binder: bytes,
        is_initiator: bool,
        is_bound: bool,
        created_at: float,
        rekey_at: float,
    ) -> None:
        self.send_key = send_key
        self.receive_key = receive_key
        self.tag_size = send_key.algorithm.tag_size
        self.replay = ReplayWindow()
        self.next_counter = 0
        self.header = header_word(MessageType.DATA, remote_index)
        self.local_index = local_index
        self.binder = binder
        self.is_initiator = is_initiator
        self.is_bound = is_bound
        self.created_at = created_at
        self.rekey_at = rekey_at
        self.has_unanswered_data = False
        self.is_proven = False
        self.is_wiped = False

    def __repr__(self) -> str:
        side = "initiator" if self.is_initiator else "responder"
        return f"Keypair({self.send_key.algorithm.value}, {side}, index {self.local_index:#08x})"

    def take_counter(self) -> int:
        """Return a number that no datagram of this keypair had.

        Raises:
            LocalProtocolError: 2^64 - 2^13 were sealed, or the keys are wiped; ask `may_seal` first.
        """
        if not self.may_seal:
            raise LocalProtocolError("this keypair seals no more")
        counter = self.next_counter
        self.next_counter = counter + 1
        return counter

    @property
    def may_seal(self) -> bool:
        """Whether there is a key and a number left."""
        return self.next_counter < REJECT_AFTER_MESSAGES and not self.is_wiped

    def seal(self, payload: bytes, kind: FrameKind) -> bytes:
        """Build one datagram outside the data plane: convenient, but it allocates. Raises as `take_counter` does."""
        counter = self.take_counter()
        return DATA_HEADER.pack(self.header, counter) + self.send_key.seal(payload + bytes((kind,)), counter)

    def wipe(self) -> None:
        """Zero both keys. Harmless twice."""
        self.is_wiped = True
        self.send_key.wipe()
        self.receive_key.wipe()
