"""Why a relay can't be used, in a sentence for people, and what they can do about it."""

from __future__ import annotations

from datetime import datetime, timezone

from p2ptun.daemon.event import server_text
from p2ptun.daemon.turn_credentials import OPTION, PASSWORD, USERNAME, Issued
from p2ptun.stun.error import Code
from p2ptun.turn.server import Server
from p2ptun.types import SendError, Transport

_OVERLOADED = (Code.ALLOCATION_QUOTA_REACHED, Code.INSUFFICIENT_CAPACITY)


def explain(server: Server, reason: str, code: int | None, issued: Issued | None) -> tuple[str, str]:
    """Say what is wrong with a relay, and what helps; `issued` is the credential that it was shown, if any.

    `reason` continues a sentence; `code` is the relay's own, if it said one (RFC 8656 19).
    """
    name = server_text(server)
    if code in (Code.UNAUTHENTICATED, Code.WRONG_CREDENTIALS):
        return _refused_credentials(name, issued)
    if code in _OVERLOADED:
        return (
            f"The relay {name} has no room for us: {reason}.",
            "Wait until others, or old tunnels with the same user name, are gone; or name another relay with --turn.",
        )
    if code is not None:
        return f"The relay {name} refuses us: {reason} ({code}).", "Ask whoever runs it, or name another with --turn."
    if reason == SendError.UNTRUSTED.value:
        return (
            f"The relay {name} can't prove that it is {server.name}: its certificate isn't one that we trust.",
            "Write the name that stands in its certificate, and name who signed it with --ca-file, "
            "unless that is a public authority.",
        )
    return f"The relay {name} can't be reached: {reason}.", _way_round(server)


def _refused_credentials(name: str, issued: Issued | None) -> tuple[str, str]:
    if issued is None:
        return (
            f"The relay {name} wants a user name and a password.",
            f"Give them with {OPTION} FILE, or in ${USERNAME} and ${PASSWORD}.",
        )
    if issued.is_overdue:
        at = datetime.fromtimestamp(issued.ends_at or 0, timezone.utc)
        return (
            f"The relay {name} doesn't accept the user name: it was good until {at:%Y-%m-%d %H:%M} UTC.",
            "Make new credentials: p2ptun genturn < SECRET > FILE",
        )
    if issued.is_minted:
        return (
            f"The relay {name} doesn't accept what we make of the secret.",
            "Give it the secret that the relay has, and check that both machines' clocks are right.",
        )
    return (
        f"The relay {name} doesn't accept the user name and password.",
        f"Check them in the {OPTION} file, or in ${USERNAME} and ${PASSWORD}.",
    )


def _way_round(server: Server) -> str:
    if server.endpoint.transport is Transport.UDP:
        return "Check its address and port. Where UDP is blocked, try it with ?transport=tcp, or turns: and port 443."
    return "Check its address and port, and that nothing between blocks them."
