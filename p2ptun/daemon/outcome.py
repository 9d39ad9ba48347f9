"""How an ad hoc tunnel ends, and what a person can do about it."""

from __future__ import annotations

from enum import Enum

from p2ptun.daemon.options import AdhocOptions
from p2ptun.ice.config import PathPolicy
from p2ptun.node.event import FailureReason


class Outcome(Enum):
    """How it ended."""

    STOPPED = "stopped"
    PEER_CLOSED = "peer closed"
    FAILED = "failed"
    TIMED_OUT = "timed out"


REMEDIES = {
    FailureReason.CONSENT_EXPIRED: "Check the network on both sides, then start again with p2ptun share.",
    FailureReason.HANDSHAKE_FAILED: (
        "Use the same --psk-file on both sides, or none, and an --aead that both can run. "
        "Or was a line changed on its way? Then start again, and carry the lines another way."
    ),
}

_HARD_NATS = "Two NATs that give every destination another port can't be joined directly"


def sentence(reason: FailureReason) -> str:
    """Tell a person why."""
    return f"{reason.value[:1].upper()}{reason.value[1:]}."


def remedy(reason: FailureReason, options: AdhocOptions, *, has_relay: bool) -> str:
    """Tell what helps when a tunnel failed that was asked for with `options`, and had a relay or had none."""
    if reason is not FailureReason.NO_PATH:
        return REMEDIES[reason]
    match options.path_policy:
        case PathPolicy.DIRECT:
            return f"{_HARD_NATS}: allow a relay with --path any and --turn."
        case PathPolicy.RELAY:
            return "Check that the other side runs, and that both sides' networks let it and the relay be reached."
    if has_relay:
        return "Give the other side a STUN server with --stun, so that the relay can let it in, or a --turn server too."
    if options.turn:
        return "Mend what keeps this side from its relay, or give the other side a --turn server."
    return (
        "Give both sides a STUN server with --stun, and check that UDP isn't blocked. "
        f"{_HARD_NATS}: give one of them a relay with --turn."
    )
