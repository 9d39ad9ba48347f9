"""What the node says, as people, programs and the tunnel's own tasks get it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from p2ptun.daemon.event import CandidateEvent, ErrorEvent, Event, PathEvent, PeerEvent, RelayEvent, RestartEvent
from p2ptun.daemon.narrator import Narrator
from p2ptun.ice.event import RestartReason
from p2ptun.node.event import (
    FailureReason,
    GatheringCompleted,
    LocalCandidateFound,
    NodeEvent,
    PathSelected,
    PeerHeard,
    PeerRekeyed,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
    RelayFound,
    RelayLost,
    RemoteCandidateFound,
    StandbySelected,
)
from p2ptun.node.event import (
    PeerEvent as NodePeerEvent,
)
from tests.daemon.test_event import LOCAL, PATH, RELAY, REMOTE
from tests.sim.network import at

pytestmark = pytest.mark.trio


class Listener:
    """A narrator, and what it told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.narrator = Narrator(self.told.append)

    def hear(self, *events: NodePeerEvent) -> list[Event]:
        """Let the node say something; return what was told of it."""
        before = len(self.told)
        for event in events:
            self.narrator.handle(NodeEvent("nas", event))
        return self.told[before:]


async def test_candidates_of_both_sides_are_told() -> None:
    listener = Listener()
    told = listener.hear(LocalCandidateFound(LOCAL), RemoteCandidateFound(REMOTE))
    assert [each.side for each in told if isinstance(each, CandidateEvent)] == ["local", "remote"]
    assert not listener.narrator.gathered.is_set()
    assert listener.hear(GatheringCompleted()) == []
    assert listener.narrator.gathered.is_set()


async def test_a_path_is_told_once_there_is_a_session_over_it(autojump_clock: trio.testing.MockClock) -> None:
    listener = Listener()
    listener.narrator.mtu = 1400
    await trio.sleep(1)
    listener.narrator.began_at = trio.current_time()
    await trio.sleep(0.25)
    assert listener.hear(PathSelected(PATH)) == []
    assert not listener.narrator.connected.is_set()
    peer, path = listener.hear(PeerStateChanged(PeerState.CONNECTED))
    assert peer == PeerEvent("nas", "connected", None)
    assert isinstance(path, PathEvent)
    assert (path.setup_ms, path.mtu, path.kind) == (250.0, 1400, "direct")
    assert listener.narrator.connected.is_set()
    assert listener.hear(PathSelected(PATH)) == [], "the same path again is no news"


@pytest.mark.parametrize("state", [PeerState.CONNECTED, PeerState.IDLE, PeerState.SUSPECT])
async def test_any_state_with_a_session_is_connected(state: PeerState) -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH))
    assert len(listener.hear(PeerStateChanged(state))) == 2
    assert listener.narrator.connected.is_set()


async def test_another_path_is_told_without_a_setup_time() -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    other = type(PATH)(PATH.base, REMOTE.endpoint, LOCAL, REMOTE, None)
    [told] = listener.hear(PathSelected(other))
    assert isinstance(told, PathEvent)
    assert told.setup_ms is None


async def test_the_clock_of_the_joining_side_starts_when_it_is_heard(autojump_clock: trio.testing.MockClock) -> None:
    listener = Listener()
    listener.hear(PeerHeard())
    assert listener.narrator.began_at is None, "nobody has our description yet"
    listener.narrator.is_described = True
    await trio.sleep(100)
    listener.hear(PeerHeard())
    await trio.sleep(0.5)
    listener.hear(PeerHeard(), PathSelected(PATH))
    _, path = listener.hear(PeerStateChanged(PeerState.CONNECTED))
    assert isinstance(path, PathEvent)
    assert path.setup_ms == 500.0


@pytest.mark.parametrize("reason", list(FailureReason))
async def test_a_failure_ends_it_with_its_reason(reason: FailureReason) -> None:
    listener = Listener()
    assert listener.hear(PeerStateChanged(PeerState.FAILED, reason)) == [PeerEvent("nas", "failed", reason.value)]
    assert listener.narrator.ended.is_set()
    assert listener.narrator.reason is reason
    assert not listener.narrator.connected.is_set()


async def test_a_path_that_dies_and_another_that_is_found() -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    assert (listener.narrator.has_met, listener.narrator.lost.is_set()) == (True, False)
    reason = FailureReason.CONSENT_EXPIRED
    assert listener.hear(PeerStateChanged(PeerState.CONNECTING, reason)) == [
        PeerEvent("nas", "connecting", reason.value)
    ]
    assert listener.narrator.lost.is_set()
    assert not listener.narrator.connected.is_set()
    assert not listener.narrator.ended.is_set()
    other = type(PATH)(PATH.base, REMOTE.endpoint, LOCAL, REMOTE, None)
    assert listener.hear(PathSelected(other)) == [], "there is no session over it yet"
    peer, path = listener.hear(PeerStateChanged(PeerState.CONNECTED))
    assert isinstance(peer, PeerEvent)
    assert isinstance(path, PathEvent)
    assert path.setup_ms is None, "that is for the first time"
    assert (listener.narrator.connected.is_set(), listener.narrator.lost.is_set()) == (True, False)


async def test_a_path_that_comes_back_as_it_was_is_no_other_path() -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    told = listener.hear(
        PeerStateChanged(PeerState.CONNECTING), PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED)
    )
    assert [type(each) for each in told] == [PeerEvent, PeerEvent]


async def test_restarts_are_told() -> None:
    listener = Listener()
    told = listener.hear(PeerRestarted(2, RestartReason.NETWORK_CHANGED))
    assert told == [RestartEvent("nas", 2, "the network changed")]


async def test_a_description_with_addresses_that_are_gone_waits_for_the_new_ones() -> None:
    listener = Listener()
    listener.hear(GatheringCompleted())
    listener.narrator.outdate()
    assert isinstance(listener.told[-1], ErrorEvent)
    assert listener.narrator.changed.is_set()
    assert not listener.narrator.gathered.is_set()
    listener.hear(GatheringCompleted())
    assert listener.narrator.gathered.is_set()


async def test_a_changed_address_makes_a_description_out_of_date_until_connected() -> None:
    listener = Listener()
    change = LocalCandidateFound(LOCAL, replaced=REMOTE)
    assert len(listener.hear(change)) == 1, "nobody has the old one"
    listener.narrator.is_described = True
    candidate, note = listener.hear(change)
    assert isinstance(candidate, CandidateEvent)
    assert isinstance(note, ErrorEvent)
    assert str(LOCAL.endpoint) in note.message
    assert listener.narrator.changed.is_set()
    listener.narrator.changed = trio.Event()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    assert len(listener.hear(change)) == 1, "it goes through the tunnel now"
    assert not listener.narrator.changed.is_set()


async def test_new_keys_and_what_stands_by_are_no_news() -> None:
    assert Listener().hear(PeerRekeyed(), StandbySelected(PATH), StandbySelected(None)) == []


async def test_a_path_over_a_relay_of_ours_names_it() -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    over = replace(PATH, base=at("192.0.2.9:50000"))
    listener.narrator.handle(NodeEvent("", RelayFound(RELAY, over.base)))
    [told] = listener.hear(PathSelected(over))
    assert isinstance(told, PathEvent)
    assert (told.server, told.server_transport) == ("turn.example.net:443", "tls")
    listener.narrator.handle(NodeEvent("", RelayLost(RELAY, over.base, "gone")))
    [back] = listener.hear(PathSelected(PATH))
    assert isinstance(back, PathEvent)
    assert back.server is None
    assert [each.state for each in listener.told if isinstance(each, RelayEvent)] == ["ready", "lost"]


async def test_who_is_met_anew_is_met_as_for_the_first_time() -> None:
    listener = Listener()
    narrator = listener.narrator
    narrator.began_at = trio.current_time()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    lost = narrator.lost
    narrator.start_over()
    assert (narrator.has_met, narrator.connected.is_set(), lost.is_set()) == (False, False, True)
    narrator.began_at = trio.current_time()
    told = listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    assert [each.setup_ms is not None for each in told if isinstance(each, PathEvent)] == [True]


async def test_who_has_failed_is_lost() -> None:
    listener = Listener()
    listener.hear(PathSelected(PATH), PeerStateChanged(PeerState.CONNECTED))
    lost = listener.narrator.lost
    listener.hear(PeerStateChanged(PeerState.FAILED, FailureReason.PEER_CLOSED))
    assert (lost.is_set(), listener.narrator.ended.is_set(), listener.narrator.connected.is_set()) == (
        True,
        True,
        False,
    )
    listener.narrator.start_over()
    assert (listener.narrator.ended.is_set(), listener.narrator.reason) == (False, None)
