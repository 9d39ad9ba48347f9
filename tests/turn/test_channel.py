"""Numbers stay with their peers for as long as the server may know them; what has run out isn't used."""

from __future__ import annotations

import pytest

from p2ptun.turn.channel import Channel, Channels
from p2ptun.types import Endpoint, Transport

from .world import NOWHERE

NOW = 1000.0
SERVER = Endpoint.of("203.0.113.1", 3478)
PEER, OTHER = Endpoint.of("192.0.2.1", 1), Endpoint.of("192.0.2.1", 2)


def make(transport: Transport = Transport.UDP) -> Channels:
    return Channels(Endpoint.of(NOWHERE, 1, transport), SERVER)


def bound(*peers: Endpoint) -> Channels:
    channels = make()
    for peer in peers:
        channels.want(peer, NOW)
    for peer, _ in channels.take_due(NOW):
        channels.bind(peer, NOW)
    return channels


@pytest.mark.parametrize("transport", Transport)
def test_a_channel_is_used_once_it_is_bound(transport: Transport) -> None:
    channels = make(transport)
    channels.want(PEER, NOW)
    assert channels.next_timeout() == NOW
    assert channels.take_due(NOW) == [(PEER, 0x4000)]
    assert channels.take_due(NOW) == []
    assert channels.channel(PEER) is None
    assert channels.peer(0x4000) == PEER  # data may overtake the answer
    channels.bind(PEER, NOW)
    token = Endpoint.of(NOWHERE, 1, transport)
    assert channels.channel(PEER) == Channel(0x4000, token, SERVER, transport is not Transport.UDP)
    assert channels.next_timeout() == NOW + 240
    assert channels.take_due(NOW + 240) == [(PEER, 0x4000)]
    assert channels.channel(PEER) is not None


def test_each_peer_has_a_number_of_its_own() -> None:
    channels = bound(PEER, OTHER)
    assert [channels.peer(number) for number in (0x4000, 0x4001, 0x4002)] == [PEER, OTHER, None]
    assert channels.channel(Endpoint.of("192.0.2.9", 1)) is None


def test_a_channel_that_is_not_refreshed_runs_out() -> None:
    channels = bound(PEER)
    channels.take_due(NOW + 240)  # and no answer: the server may have heard it
    channels.handle_timeout(NOW + 839)
    assert channels.channel(PEER) is not None
    assert channels.next_timeout() == NOW + 840
    channels.handle_timeout(NOW + 840)
    assert channels.channel(PEER) is None
    assert channels.peer(0x4000) == PEER
    assert channels.next_timeout() is None


def test_a_number_is_free_five_minutes_after_its_end() -> None:
    channels = bound(PEER)
    channels.unwant(PEER)
    assert channels.take_due(NOW + 300) == []
    assert channels.next_timeout() == NOW + 600
    channels.handle_timeout(NOW + 600)
    assert channels.channel(PEER) is None
    assert channels.next_timeout() == NOW + 900
    channels.handle_timeout(NOW + 899)
    assert channels.peer(0x4000) == PEER
    channels.handle_timeout(NOW + 900)
    assert channels.peer(0x4000) is None
    assert channels.next_timeout() is None


def test_wanted_again_it_has_the_same_number() -> None:
    channels = bound(PEER)
    channels.unwant(PEER)
    channels.handle_timeout(NOW + 700)
    channels.want(PEER, NOW + 700)
    assert channels.take_due(NOW + 700) == [(PEER, 0x4000)]
    channels.bind(PEER, NOW + 700)
    channels.handle_timeout(NOW + 900)
    assert channels.channel(PEER) is not None


def test_no_number_is_given_twice() -> None:
    channels = make()
    peers = [Endpoint.of("192.0.2.7", port) for port in range(1, 4099)]
    for peer in peers:
        channels.want(peer, NOW)
    due = channels.take_due(NOW)
    assert sorted(number for _, number in due) == list(range(0x4000, 0x5000))
    assert channels.peer(0x4FFF) == peers[4095]
    for unheard in (peers[4096], peers[4097]):
        channels.unwant(unheard)
        channels.bind(unheard, NOW)
        channels.refuse(unheard, NOW)
        assert channels.channel(unheard) is None


def test_a_freed_number_comes_round_again() -> None:
    channels = make()
    for port in range(1, 4097):
        channels.want(Endpoint.of("192.0.2.7", port), NOW)
    channels.take_due(NOW)
    gone = Endpoint.of("192.0.2.7", 100)
    channels.unwant(gone)
    channels.handle_timeout(NOW + 900)
    channels.want(PEER, NOW + 900)
    assert (PEER, 0x4000 + 99) in channels.take_due(NOW + 900)


def test_a_refused_channel_is_asked_for_again_when_it_would_be_refreshed() -> None:
    channels = make()
    channels.want(PEER, NOW)
    channels.take_due(NOW)
    channels.refuse(PEER, NOW)
    assert channels.channel(PEER) is None
    assert channels.take_due(NOW + 239) == []
    assert channels.take_due(NOW + 240) == [(PEER, 0x4000)]
    channels.postpone(PEER, NOW + 250)
    assert channels.take_due(NOW + 250) == [(PEER, 0x4000)]
