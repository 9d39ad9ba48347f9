"""What helps when a tunnel has failed depends on what it was allowed to try."""

from __future__ import annotations

import pytest

from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.outcome import remedy, sentence
from p2ptun.ice.config import PathPolicy
from p2ptun.node.event import FailureReason
from p2ptun.stun.uri import parse_uri

TURN = (parse_uri("turn:192.0.2.1"),)


@pytest.mark.parametrize(
    ("options", "has_relay", "hint"),
    [
        (AdhocOptions(), False, "give one of them a relay with --turn"),
        (AdhocOptions(turn=TURN), False, "what keeps this side from its relay"),
        (AdhocOptions(turn=TURN), True, "or a --turn server too"),
        (AdhocOptions(turn=TURN, path_policy=PathPolicy.RELAY), True, "both sides' networks"),
        (AdhocOptions(turn=TURN, path_policy=PathPolicy.DIRECT), False, "--path any"),
    ],
)
def test_no_path(options: AdhocOptions, has_relay: bool, hint: str) -> None:
    text = remedy(FailureReason.NO_PATH, options, has_relay=has_relay)
    assert hint in text
    assert text.endswith(".")


@pytest.mark.parametrize("reason", FailureReason)
def test_every_reason_is_a_sentence(reason: FailureReason) -> None:
    assert sentence(reason)[0].isupper()
    assert sentence(reason).lower() == f"{reason.value.lower()}."


@pytest.mark.parametrize("reason", [FailureReason.CONSENT_EXPIRED, FailureReason.HANDSHAKE_FAILED])
def test_other_ends_have_remedies_of_their_own(reason: FailureReason) -> None:
    assert remedy(reason, AdhocOptions(), has_relay=False).endswith(".")
