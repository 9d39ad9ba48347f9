"""How long bindings live, measured on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.nat.behavior import Lifetime
from p2ptun.nat.drop import DropReason
from p2ptun.nat.event import LifetimeEvent, LifetimeMeasured, LifetimeNarrowed, LifetimeProblem
from p2ptun.nat.lifetime import BASES, CLOSE, CLOSE_RATIO, WAITS, LifetimeDiscovery
from p2ptun.stun.attribute import RESPONSE_PORT
from p2ptun.stun.message import decode_message
from p2ptun.types import Endpoint, Transmit
from tests.nat.world import INSIDE, LOCAL, NOW, OUTSIDE, SERVER, Explorer, Responder, sockets
from tests.sim.nat import Behaviour, Firewall, Gateway, Habit, Nat, Ports
from tests.sim.network import Network

APDM = Behaviour.ADDRESS_AND_PORT_DEPENDENT


class Bench:
    """A measurement in a network."""

    def __init__(
        self,
        gateway: Gateway,
        seed: int = 1,
        loss: float = 0.0,
        local: str = LOCAL,
        waits: Sequence[float] = WAITS,
    ) -> None:
        self.network = Network(seed=seed, loss=loss)
        self.network.add_nat(gateway)
        self.responder = Responder(SERVER, None)
        self.network.plug(self.responder, SERVER)
        self.bases = sockets(local, BASES, seed)
        self.machine = LifetimeDiscovery(SERVER, self.bases, random.Random(seed).randbytes, NOW, waits)
        self.network.plug(Explorer(self.machine), *self.bases)

    def measure(self) -> tuple[LifetimeMeasured, list[LifetimeEvent], float]:
        """Wait for the result: it, what was told before, and how long it took."""
        assert self.network.run(3600, lambda: self.machine.is_complete)
        events: list[LifetimeEvent] = list(iter(self.machine.next_event, None))
        last = events.pop()
        assert isinstance(last, LifetimeMeasured)
        assert all(isinstance(each, LifetimeNarrowed) for each in events)
        return last, events, self.network.now - NOW


def nat(lifetime: float, ports: Ports = Ports.SEQUENTIAL, is_refreshed_inbound: bool = True) -> Nat:
    habit = Habit(lifetime=lifetime, ports=ports, is_refreshed_inbound=is_refreshed_inbound)
    return Nat(OUTSIDE, INSIDE, APDM, APDM, habit=habit)


@pytest.mark.parametrize("lifetime", [10.0, 22.0, 30.0, 61.0, 120.0, 180.0, 290.0])
@pytest.mark.parametrize("is_refreshed_inbound", [True, False])
def test_it_is_between_the_bounds(lifetime: float, is_refreshed_inbound: bool) -> None:
    bench = Bench(nat(lifetime, is_refreshed_inbound=is_refreshed_inbound))
    result, narrowed, took = bench.measure()
    assert result.problem is None
    assert result.lifetime is not None
    assert result.lifetime.at_most is not None
    assert result.lifetime.at_least <= lifetime + 0.5  # it began when the answer came
    assert lifetime < result.lifetime.at_most
    assert result.lifetime.at_most - result.lifetime.at_least <= max(CLOSE, CLOSE_RATIO * result.lifetime.at_most)
    assert narrowed[-1] == LifetimeNarrowed(result.lifetime)
    assert took < 4 * lifetime + 60
    assert bench.machine.lifetime == result.lifetime


def test_a_long_one_is_only_known_to_be_long() -> None:
    result, _, took = Bench(nat(7200.0)).measure()
    assert result.lifetime == Lifetime(WAITS[-1], None)
    assert took < WAITS[-1] + 5


def test_a_firewall_forgets_too() -> None:
    local = "198.51.100.7"
    result, _, _ = Bench(Firewall("198.51.100.0/24", lifetime=45.0), local=local).measure()
    assert result.lifetime is not None
    assert result.lifetime.at_most is not None
    assert result.lifetime.at_least < 45.5 < result.lifetime.at_most + 0.5


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_loss_hides_but_never_lies(loss: float) -> None:
    for seed in range(6):
        bench = Bench(nat(70.0, ports=Ports.RANDOM), seed, loss)
        result, _, _ = bench.measure()
        if result.lifetime is not None:
            story = f"seed {seed}: {result}"
            assert result.lifetime.at_least <= 70.5, story
            assert result.lifetime.at_most is None or result.lifetime.at_most > 70, story


def test_no_server() -> None:
    bench = Bench(nat(30.0))
    bench.network.is_cut = lambda packet: True
    result, narrowed, took = bench.measure()
    assert result == LifetimeMeasured(None, LifetimeProblem.NO_ANSWER)
    assert narrowed == []
    assert took < 3


def test_a_server_that_answers_to_no_other_port() -> None:
    bench = Bench(nat(30.0))

    def back(answer: Transmit) -> Transmit:
        request = bench.responder.requests[-1]
        return replace(answer, destination=request.source)

    bench.responder.change = back
    result, _, took = bench.measure()
    assert result == LifetimeMeasured(None, LifetimeProblem.NO_RESPONSE_PORT)
    assert took < 3


def test_a_server_that_dies_meanwhile() -> None:
    """What was known by then stays."""
    bench = Bench(nat(7200.0))
    bench.network.later(30.0, lambda: setattr(bench.network, "is_cut", lambda packet: True))
    result, _, _ = bench.measure()
    assert result == LifetimeMeasured(Lifetime(25.0, None))


def test_a_server_that_dies_at_once() -> None:
    bench = Bench(nat(7200.0))
    bench.network.later(5.0, lambda: setattr(bench.network, "is_cut", lambda packet: True))
    result, _, _ = bench.measure()
    assert result == LifetimeMeasured(None, LifetimeProblem.NO_ANSWER)


def test_bindings_that_were_never_made_are_passed_over() -> None:
    bench = Bench(nat(7200.0))
    dead = set(bench.bases[3:])
    bench.network.is_cut = lambda packet: packet.source in dead
    result, _, _ = bench.measure()
    assert result.lifetime == Lifetime(WAITS[1], None)


def test_who_lives_proves_more_than_who_is_silent() -> None:
    """All copies that a binding should have got after 3 s were lost; meanwhile one of 4 s turned out to live."""
    bench = Bench(nat(7200.0), waits=(3.0, 4.0))
    ports: list[int] = []

    def lose(answer: Transmit) -> Transmit | None:
        wanted = decode_message(bench.responder.requests[-1].payload).get(RESPONSE_PORT)
        if bench.network.now > NOW + 2 and wanted is not None:
            ports.append(wanted)
        return None if ports and wanted == ports[0] else answer

    bench.responder.change = lose
    result, narrowed, _ = bench.measure()
    assert len(set(ports)) == 2
    assert narrowed == [LifetimeNarrowed(Lifetime(4.0, None))]
    assert result == LifetimeMeasured(Lifetime(4.0, None))


def test_progress_can_be_read() -> None:
    bench = Bench(nat(100.0))
    assert (bench.machine.lifetime, bench.machine.ends_at) == (None, None)
    bench.network.run(20)
    assert bench.machine.lifetime == Lifetime(15.0, None)
    assert bench.machine.ends_at == pytest.approx(NOW + WAITS[-1], abs=1)


def test_garbage_is_counted() -> None:
    bench = Bench(nat(30.0))
    bench.machine.receive_datagram(b"", SERVER, bench.bases[0], NOW)
    bench.machine.receive_datagram(bytes(20), SERVER, bench.bases[0], NOW)
    [request] = list(iter(bench.machine.next_transmit, None))
    bench.machine.receive_datagram(request.payload, SERVER, bench.bases[0], NOW)
    assert bench.machine.drops == {DropReason.MALFORMED: 2, DropReason.UNKNOWN_TRANSACTION: 1}


def test_it_wants_enough_sockets() -> None:
    with pytest.raises(LocalProtocolError):
        LifetimeDiscovery(SERVER, sockets(count=BASES - 1), random.Random(1).randbytes, NOW)


@pytest.mark.parametrize("seed", range(4))
def test_its_time_goes_forward(seed: int) -> None:
    draw = random.Random(seed)
    machine = LifetimeDiscovery(SERVER, sockets(count=BASES), draw.randbytes, NOW, (3.0, 6.0, 60.0))
    responder, now = Responder(SERVER, None), NOW
    while not machine.is_complete:
        for transmit in iter(machine.next_transmit, None):
            if draw.random() < 0.7:
                responder.receive(transmit.payload, transmit.source, SERVER, now)
        for answer in iter(responder.next_transmit, None):
            bound = Endpoint.of(LOCAL, answer.destination.port)
            machine.receive_datagram(answer.payload, SERVER, bound, now)
        now += draw.choice([0.0, 0.001, 0.3])
        machine.handle_timeout(now)
        following = machine.next_timeout()
        assert following is None or following > now, f"seed {seed}"
        now = now if following is None else following + draw.choice([0.0, 0.2])
    assert now < NOW + 600
    machine.handle_timeout(now)
    assert machine.next_timeout() is None
