"""Whom an ad hoc tunnel asks, by what it was told."""

from __future__ import annotations

import pytest

from p2ptun.daemon.options import AdhocOptions, Side
from p2ptun.ice.config import PathPolicy
from p2ptun.signal.description import Kind
from p2ptun.stun.uri import parse_uri

STUN, UDP, TCP, TLS = map(parse_uri, ("stun:a", "turn:b", "turn:b?transport=tcp", "turns:c"))


@pytest.mark.parametrize(
    ("policy", "relays", "reflectors"),
    [
        (PathPolicy.ANY, (UDP, TCP, TLS), (STUN, UDP)),
        (PathPolicy.DIRECT, (), (STUN, UDP)),
        (PathPolicy.RELAY, (UDP, TCP, TLS), ()),
    ],
)
def test_who_is_asked_depends_on_the_paths_that_are_wanted(
    policy: PathPolicy, relays: tuple[object, ...], reflectors: tuple[object, ...]
) -> None:
    options = AdhocOptions(stun=(STUN,), turn=(UDP, TCP, TLS), path_policy=policy)
    assert (options.relays, options.reflectors) == (relays, reflectors)


def test_each_side_sends_its_kind() -> None:
    assert [side.kind for side in Side] == [Kind.OFFER, Kind.ANSWER]
