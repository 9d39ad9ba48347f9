"""Where a peer stands, and why."""

from __future__ import annotations

from p2ptun.node.event import FailureReason, PeerState, PeerStateChanged

_FINAL = (FailureReason.HANDSHAKE_FAILED, FailureReason.PEER_CLOSED)
"""What ends a peer for good. Where there was no path, another network may bring one."""


class Standing:
    """Follows the state of one peer and tells each change once.

    Attributes:
        state: Where it stands.
        reason: Why it failed; or why it is connecting again, until it is connected.
    """

    def __init__(self) -> None:
        self.state = PeerState.CONNECTING
        self.reason: FailureReason | None = None

    def enter(self, state: PeerState, reason: FailureReason | None = None) -> PeerStateChanged | None:
        """Change the state; return the event, if this changes anything. Whoever goes on connecting keeps the reason."""
        if self.state is PeerState.FAILED and (state is PeerState.FAILED or self.reason in _FINAL):
            return None
        if state is self.state is PeerState.CONNECTING:
            reason = reason or self.reason
        if (state, reason) == (self.state, self.reason):
            return None
        self.state = state
        self.reason = reason
        return PeerStateChanged(state, reason)
