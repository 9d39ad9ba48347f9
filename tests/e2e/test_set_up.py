"""How long it takes from `p2ptun join CODE` to the first reply to a ping, where a round trip takes 50 ms.

Times are printed; the bound is loose, for machines that do much else. aioice, in the same place and told of the other
side without any server and any delay, is there to compare; `tests.bench.bench_setup` has magic-wormhole as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.program import TunnelLab
from tests.e2e.setting_up import ROUND_TRIP, Place, meet_by_aioice, meet_by_code

pytestmark = pytest.mark.root

LIMIT = 10.0
"""Seconds. What is promised is one; timing decides no test."""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with TunnelLab() as lab:
        yield Place(lab)


def test_a_code_brings_the_first_reply_within_a_second(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    meeting = meet_by_code(place)
    with capsys.disabled():
        print(
            f"\n  from join to the first reply, round trip {ROUND_TRIP * 1000:.0f} ms: {meeting.total * 1000:.0f} ms;"
            f" {meeting.room * 1000:.0f} until the room, {meeting.keys * 1000:.0f} from meeting to keys"
        )
    assert meeting.total < LIMIT
    assert meeting.are_quantum_resistant


def test_another_ice_needs_as_long_without_any_server_in_between(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    took = meet_by_aioice(place)
    with capsys.disabled():
        print(f"\n  aioice, told at once of the other side: {took * 1000:.0f} ms to a path")
    assert took < LIMIT
