"""Why a relay can't be used, in a sentence for people, and what they can do about it."""

from __future__ import annotations

from datetime import datetime, timezone

from p2ptun.daemon.event import server_text
from p2ptun.daemon.turn_credentials import OPTION, PASSWORD, USERNAME, Issued
from p2ptun.turn.event import Problem
from p2ptun.turn.server import Server

_NAME_ANOTHER = "Ask whoever runs it, or name another relay with --turn."
_BLOCKED = "Check its address and port. If a network blocks them, turns: with port 443 may get through."

REMEDIES = {
    Problem.NO_CREDENTIALS: f"Give them with {OPTION} FILE, or in ${USERNAME} and ${PASSWORD}.",
    Problem.UNTRUSTED: (
        "Write the name that stands in its certificate, and name who signed that with --ca-file, "
        "unless it was a public authority."
    ),
    Problem.QUOTA_REACHED: "Wait until its old allocations are forgotten, or name another relay with --turn.",
    Problem.NO_CAPACITY: "Wait, or name another relay with --turn.",
    Problem.THROUGH_TUNNEL: "Name a relay with --turn that can be reached without that tunnel.",
    Problem.CONNECTION_REFUSED: "Check its address and port, and that it runs.",
    Problem.CONNECTION_LOST: _BLOCKED,
    Problem.UNREACHABLE: "Check its address, and this machine's network.",
    Problem.NO_ANSWER: _BLOCKED,
}
"""What helps. Where nothing stands here, it is up to whoever runs the relay."""


def explain(server: Server, reason: str, code: int | None, issued: Issued | None) -> tuple[str, str]:
    """Say what is wrong with a relay, and what helps; `issued` is the credential that it was shown, if any.

    `reason` is the end of a sentence, most often a `Problem`; `code` is what the relay answered (RFC 8656 19).
    """
    name = f"The relay {server_text(server)}"
    problem = Problem(reason) if reason in {each.value for each in Problem} else None
    if problem is Problem.WRONG_CREDENTIALS and issued is not None:
        sentence, remedy = _refused_credentials(issued)
        return f"{name} {sentence}.", remedy
    numbered = f" ({code})" if code is not None and problem not in REMEDIES else ""
    return f"{name} {reason}{numbered}.", _NAME_ANOTHER if problem is None else REMEDIES.get(problem, _NAME_ANOTHER)


def _refused_credentials(issued: Issued) -> tuple[str, str]:
    """Give the end of the sentence, and the remedy."""
    if issued.is_overdue and issued.ends_at is not None:
        at = datetime.fromtimestamp(issued.ends_at, timezone.utc)
        return (
            f"doesn't accept the user name: it was good until {at:%Y-%m-%d %H:%M} UTC",
            "Make new credentials: p2ptun genturn < SECRET > FILE",
        )
    if issued.is_minted:
        return (
            "doesn't accept what we make of the secret",
            "Give us the secret that the relay has, and check that both machines' clocks are right.",
        )
    return (
        "doesn't accept the user name and password",
        f"Check them in the {OPTION} file, or in ${USERNAME} and ${PASSWORD}.",
    )
