"""How long keys live and how often we try: WireGuard's numbers, with a rekey interval that can be configured."""

from __future__ import annotations

from dataclasses import dataclass

REKEY_INTERVAL = 120.0  # seconds of use, as in WireGuard
REKEY_AFTER_MESSAGES = 1 << 60
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13)

FIRST_RETRY_INTERVAL = 1.0  # our choice: doubled until it is RETRY_INTERVAL, so that a lost message costs little
RETRY_INTERVAL = 5.0
RETRY_JITTER = 1 / 3  # two sides that started together must not go on doing so
ATTEMPT_TIMEOUT = 90.0
HEAD_START = 0.005  # our choice: what is sent together arrives together, and a path of less than this is fast anyway
REPEAT_INTERVAL = 0.5  # our choice: an initiation this old that meets another path was lost, or its answer was

PASSIVE_KEEPALIVE_DELAY = 0.5
"""Who gets data and has nothing to say speaks after this long.

The sender suspects its path after max(2 x RTT + 1 s, 2 s) without an answer; half a second lets one keepalive get lost.
"""

CONFIRM_INTERVAL = 0.5
CONFIRM_TRIES = 10  # as long as it takes until the next initiation could have been answered

SILENCE_TIMEOUT = 10.0
"""Data went out and nothing authentic came back for this long: the peer may have lost its keys, so make new ones.

The peer answers one-way traffic within half a second, so this is twenty lost keepalives; WireGuard waits 15 s.
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """The lifetimes of a keypair in seconds, by the configured rekey interval.

    With the default 120 s they are WireGuard's: 120, 180. A shorter interval leaves room for three tries to rekey
    before the old keys may no longer be used, so that a lost handshake message never loses data.
    """

    rekey_interval: float = REKEY_INTERVAL

    @property
    def margin(self) -> float:
        """From the time to rekey to the time at which keys may no longer seal."""
        return max(self.rekey_interval / 2, 3 * RETRY_INTERVAL)

    @property
    def reject_after(self) -> float:
        """The age at which keys may no longer seal."""
        return self.rekey_interval + self.margin

    @property
    def forget_after(self) -> float:
        """The age at which keys may no longer open: what was sealed last is still on its way at `reject_after`."""
        return self.reject_after + RETRY_INTERVAL

    def rekey_after(self, is_initiator: bool, chance: float) -> float:
        """Return the age at which a keypair in use wants a successor; `chance` in [0, 1) spreads it.

        Who initiated goes first; the other side only steps in when that is overdue by half of the margin.
        """
        jitter = chance * self.margin / 12
        return self.rekey_interval + jitter + (0.0 if is_initiator else self.margin / 2)
