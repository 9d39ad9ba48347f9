"""Names by key: always those that a search through everybody's keys would find."""

from __future__ import annotations

import random

import pytest

from p2ptun.node.directory import Directory


def test_keys_may_be_shared_and_change() -> None:
    directory: Directory[int] = Directory()
    directory.set("a", [1, 2])
    directory.set("b", [2, 3])
    assert [directory.find(key) for key in (1, 2, 3, 4)] == [("a",), ("a", "b"), ("b",), ()]
    directory.set("a", [3, 3])
    assert [directory.find(key) for key in (1, 2, 3)] == [(), ("b",), ("b", "a")]
    directory.forget("b")
    directory.forget("b")
    directory.set("nobody", [])
    assert [directory.find(key) for key in (1, 2, 3)] == [(), (), ("a",)]


@pytest.mark.parametrize("seed", range(10))
def test_it_finds_what_a_search_finds(seed: int) -> None:
    draw = random.Random(seed)
    directory, plain = Directory[int](), dict[str, list[int]]()
    for _ in range(500):
        name = str(draw.randrange(10))
        plain[name] = [draw.randrange(20) for _ in range(draw.randrange(5))]
        directory.set(name, plain[name])
        for key in range(20):
            assert set(directory.find(key)) == {each for each, keys in plain.items() if key in keys}, f"seed {seed}"
    for name in plain:
        directory.forget(name)
    assert not directory._names
    assert not directory._keys
