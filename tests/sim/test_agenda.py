"""Whoever spins, creeps or never stops is found at once, instead of hanging the tests."""

from __future__ import annotations

import pytest

from p2ptun.types import Transmit

from .network import START, Network, at
from .talker import Talker

HERE, THERE = at("192.0.2.1:1"), at("192.0.2.2:2")


def test_host_that_spins_is_found_at_once() -> None:
    class Spinner(Talker):
        def next_timeout(self) -> float | None:
            return START

    network = Network()
    network.plug(Spinner(), HERE)
    with pytest.raises(AssertionError, match="spins, seed 1"):
        network.run(1)


def test_host_that_creeps_is_found_too() -> None:
    class Creeper(Talker):
        def next_timeout(self) -> float | None:
            return (self.woken[-1] if self.woken else START) + 1e-9

    network = Network()
    network.plug(Creeper(), HERE)
    with pytest.raises(AssertionError, match="busy loop at 1000"):
        network.run(1)


def test_host_that_never_stops_sending_is_found() -> None:
    class Chatterbox(Talker):
        def next_transmit(self) -> Transmit | None:
            return Transmit(b"!", HERE, THERE)

    network = Network()
    network.plug(Chatterbox(), HERE)
    with pytest.raises(AssertionError, match=r"never stops sending to .*, seed 1"):
        network.run(1)


def test_two_hosts_that_answer_each_other_without_end_are_found() -> None:
    network = Network(latency=0.0)
    left, right = Talker(b"no"), Talker(b"yes")
    network.plug(left, HERE)
    network.plug(right, THERE)
    left.say(b"?", HERE, THERE)
    with pytest.raises(AssertionError, match="busy loop"):
        network.run(1)
    assert right.heard
