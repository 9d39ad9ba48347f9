"""Each change is told once, with its reason; some ends are final."""

from __future__ import annotations

import pytest

from p2ptun.node.event import FailureReason, PeerState, PeerStateChanged
from p2ptun.node.standing import Standing


def test_a_change_is_told_once() -> None:
    standing = Standing()
    assert standing.state is PeerState.CONNECTING
    assert standing.enter(PeerState.CONNECTING) is None
    assert standing.enter(PeerState.CONNECTED) == PeerStateChanged(PeerState.CONNECTED)
    assert standing.enter(PeerState.CONNECTED) is None


def test_the_reason_to_connect_again_lasts_until_it_is_connected() -> None:
    standing = Standing()
    standing.enter(PeerState.CONNECTED)
    lost = PeerStateChanged(PeerState.CONNECTING, FailureReason.CONSENT_EXPIRED)
    assert standing.enter(PeerState.CONNECTING, FailureReason.CONSENT_EXPIRED) == lost
    assert standing.enter(PeerState.CONNECTING) is None
    assert standing.reason is FailureReason.CONSENT_EXPIRED
    changed = PeerStateChanged(PeerState.CONNECTING, FailureReason.HANDSHAKE_FAILED)
    assert standing.enter(PeerState.CONNECTING, FailureReason.HANDSHAKE_FAILED) == changed
    assert standing.enter(PeerState.CONNECTED) == PeerStateChanged(PeerState.CONNECTED)
    assert standing.reason is None


@pytest.mark.parametrize("reason", [FailureReason.PEER_CLOSED, FailureReason.HANDSHAKE_FAILED])
def test_what_no_network_can_mend_is_final(reason: FailureReason) -> None:
    standing = Standing()
    assert standing.enter(PeerState.FAILED, reason) == PeerStateChanged(PeerState.FAILED, reason)
    for state in PeerState:
        assert standing.enter(state, FailureReason.NO_PATH) is None
    assert (standing.state, standing.reason) == (PeerState.FAILED, reason)


@pytest.mark.parametrize("reason", [FailureReason.NO_PATH, FailureReason.CONSENT_EXPIRED])
def test_where_there_was_no_path_another_network_may_bring_one(reason: FailureReason) -> None:
    standing = Standing()
    standing.enter(PeerState.FAILED, reason)
    assert standing.enter(PeerState.FAILED, FailureReason.PEER_CLOSED) is None, "the first reason is the true one"
    assert standing.enter(PeerState.CONNECTING) == PeerStateChanged(PeerState.CONNECTING)
    assert standing.reason is None
