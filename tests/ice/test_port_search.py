from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from p2ptun.ice.nat_hint import MappingKind, NatHint
from p2ptun.ice.port_search import (
    BLOCK,
    FIRST_PORT,
    FORETOLD,
    Approach,
    choose_approach,
    guesses,
    meeting_points,
)
from tests.sim.network import at

from .material import random_bytes_from

HARD, EASY, UNKNOWN = (
    NatHint(kind, has_search=True) for kind in (MappingKind.DEPENDENT, MappingKind.INDEPENDENT, MappingKind.UNKNOWN)
)
COUNTING = NatHint(MappingKind.DEPENDENT, 2, True)


@pytest.mark.parametrize(
    ("ours", "theirs", "approach"),
    [
        (HARD, EASY, Approach.OPEN),
        (HARD, UNKNOWN, Approach.OPEN),
        (EASY, HARD, Approach.GUESS),
        (UNKNOWN, COUNTING, Approach.GUESS),
        (COUNTING, COUNTING, Approach.FORETELL),
        (COUNTING, HARD, None),
        (HARD, HARD, None),
        (EASY, EASY, None),
        (UNKNOWN, EASY, None),
        (HARD, NatHint(MappingKind.INDEPENDENT), None),
        (NatHint(MappingKind.DEPENDENT), EASY, None),
    ],
)
def test_approach_follows_from_both_hints(ours: NatHint, theirs: NatHint, approach: Approach | None) -> None:
    assert choose_approach(ours, theirs) is approach


def test_every_port_is_guessed_once_in_an_order_of_its_own() -> None:
    seen = [at("198.51.100.1:5000"), at("198.51.100.1:6000")]
    first, second = (list(guesses(seen, 0, random_bytes_from(seed))) for seed in (1, 2))
    assert len(first) == len(set(first)) == 65536 - FIRST_PORT - 2
    assert set(first) == set(second)
    assert first[:100] != second[:100]
    assert not set(seen) & set(first)


def test_a_counting_nat_is_foretold_first() -> None:
    found = list(
        islice(guesses([at("198.51.100.1:5000"), at("198.51.100.1:5002")], 2, random_bytes_from(1)), FORETOLD + 1)
    )
    assert [each.port for each in found[:FORETOLD]] == [5004 + 2 * number for number in range(FORETOLD)]
    assert found[FORETOLD].port != 5004 + 2 * FORETOLD


def test_several_addresses_take_turns() -> None:
    seen = [at("198.51.100.1:5000"), at("198.51.100.2:5000")]
    foretold = list(islice(guesses(seen, 1, random_bytes_from(1)), 4))
    assert [str(each.address) for each in foretold] == ["198.51.100.1", "198.51.100.2"] * 2
    guessed = list(islice(guesses(seen, 0, random_bytes_from(1)), 4))
    assert [str(each.address) for each in guessed] == ["198.51.100.1", "198.51.100.2"] * 2


def test_256_mappings_among_all_ports_are_met_by_2000_guesses() -> None:
    """The birthday of the two: 99.96 of 100 by theory; here 199 of 200 seeds at least."""
    hits = 0
    for seed in range(200):
        mappings = set(Random(seed).sample(range(FIRST_PORT, 65536), 256))
        tries = islice(guesses([at("198.51.100.1:5000")], 0, random_bytes_from(seed)), 2000)
        hits += any(guess.port in mappings for guess in tries)
    print(f"{hits} of 200")
    assert hits >= 199


@pytest.mark.parametrize("drift_here", range(4))
@pytest.mark.parametrize("drift_there", [0, 5, 17, 40])
def test_two_counting_nats_meet_whatever_both_have_drifted(drift_here: int, drift_there: int) -> None:
    """Each packet makes a mapping; one pair of packets must go to each other's mappings."""
    here, there = at("198.51.100.1:40000"), at("198.51.100.2:50000")
    budget = 32 * BLOCK
    to_there = list(islice(meeting_points(there, 1, is_steady=True), budget))
    to_here = list(islice(meeting_points(here, 2, is_steady=False), budget))
    mappings_here = [40000 + 2 * (number + 1 + drift_here) for number in range(budget)]
    mappings_there = [50000 + number + 1 + drift_there for number in range(budget)]
    sent_here = {(mappings_here[number], target.port) for number, target in enumerate(to_there)}
    sent_there = {(target.port, mappings_there[number]) for number, target in enumerate(to_here)}
    assert bool(sent_here & sent_there) is (drift_here + drift_there <= 20)
    assert len(set(to_there)) == len(set(to_here)) == budget


def test_ports_stay_in_range() -> None:
    points = islice(meeting_points(at("198.51.100.1:65530"), 4, is_steady=True), 100)
    assert all(FIRST_PORT <= each.port <= 65535 for each in points)
    assert all(
        each.port >= FIRST_PORT for each in islice(guesses([at("198.51.100.1:1030")], -4, random_bytes_from(1)), 100)
    )
