"""Every state and reason of an agent has its word for users."""

from __future__ import annotations

from p2ptun.ice import event as ice
from p2ptun.node.event import REASONS, STATES, FailureReason, PeerState


def test_every_state_an_agent_can_be_left_in_has_a_word() -> None:
    over = {ice.AgentState.FAILED, ice.AgentState.CLOSED}
    assert set(STATES) == set(ice.AgentState) - over
    assert PeerState.FAILED not in STATES.values()


def test_every_reason_has_a_sentence() -> None:
    assert set(REASONS) == set(ice.FailureReason)
    assert len({reason.value for reason in FailureReason}) == len(FailureReason)


def test_the_states_are_those_that_programs_were_promised() -> None:
    assert {state.value for state in PeerState} == {"connecting", "connected", "suspect", "idle", "failed"}
