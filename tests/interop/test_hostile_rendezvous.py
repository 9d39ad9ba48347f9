"""Four people in two rooms of a rendezvous that is up to mischief: nobody meets anybody whom he shouldn't.

Everything is real but the clock, which jumps over every wait, and the server, which speaks HTTP and means no good.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
import trio
import trio.testing

from p2ptun.daemon.introduction import Introduced
from p2ptun.daemon.options import Side
from p2ptun.errors import RendezvousError, WrongCode
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.tunnel.psk import PskSource
from tests.daemon.person import Person
from tests.interop.hostile_rendezvous import HARMLESS, HostileRendezvous, Mischief
from tests.interop.meeting import check_introduced
from tests.rendezvous.place import Surroundings, stand_in
from tests.rendezvous.scripted import JUMP

LONG_ENOUGH = 100.0  # seconds of a clock that jumps: who isn't introduced or refused by then waits for ever
MIXED_SEEDS = 20


@dataclass(frozen=True)
class Pair:
    """Two who have told each other a code."""

    alice: Person
    bob: Person

    def outcome(self) -> str:
        """Check what became of them, and name it."""
        introduced = [person for person in (self.alice, self.bob) if isinstance(person.result, Introduced)]
        for person in introduced:
            self._check_side(person)
        for person in (self.alice, self.bob):
            if isinstance(person.result, RendezvousError):
                assert str(person.result).endswith(".")
                assert person.result.remedy.endswith(".")
        if len(introduced) == 2:
            check_introduced(self.alice, self.bob)
            return "introduced"
        if introduced:
            return "one introduced"
        return "wrong code" if any(isinstance(each.result, WrongCode) for each in (self.alice, self.bob)) else "neither"

    def _check_side(self, person: Person) -> None:
        """Check that who believes to know the other one does, whatever that one knows."""
        result = person.result
        assert isinstance(result, Introduced)
        assert result.offer.public_key == self.alice.tunnel.keys.public
        assert result.answer.public_key == self.bob.tunnel.keys.public
        assert result.offer.credentials == self.alice.peer.agent.local_credentials
        assert result.answer.credentials == self.bob.peer.agent.local_credentials
        assert set(result.secrets) >= {PskSource.PAKE}
        assert result.offer.session_id == result.answer.session_id


def meet(seed: int, mood: frozenset[Mischief]) -> tuple[list[str], HostileRendezvous]:
    """Let two pairs meet at once; return what became of each, and the server."""
    random = Random(seed)
    server = HostileRendezvous(random, mood)
    clock = trio.testing.MockClock()
    outcomes: list[str] = []

    async def person(url: str, side: Side, friend: Person | None = None) -> Person:
        rendezvous = HttpRendezvous(url, Surroundings().context, random)
        await rendezvous.prepare()
        return Person(side, rendezvous, friend.codes()[0] if friend else None)

    async def main() -> None:
        async with stand_in(server) as place, trio.open_nursery() as nursery:
            alices = [await person(place.url, Side.SHARE) for _ in range(2)]
            for alice in alices:
                nursery.start_soon(alice.run, nursery)
                await alice.coded.wait()
            pairs = [Pair(alice, await person(place.url, Side.JOIN, alice)) for alice in alices]
            for pair in pairs:
                nursery.start_soon(pair.bob.run, nursery)
            if not mood <= HARMLESS:  # else nobody waits for anything, and the clock stands still
                clock.autojump_threshold = JUMP
            people = [each for pair in pairs for each in (pair.alice, pair.bob)]
            with trio.move_on_after(LONG_ENOUGH):
                for each in people:
                    await each.done.wait()
            outcomes.extend(pair.outcome() for pair in pairs)
            for each in people:
                await each.rendezvous.aclose()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    return outcomes, server


@pytest.mark.parametrize("mischief", [each for each in Mischief if each is not Mischief.DENY])
def test_nobody_meets_whom_he_should_not(mischief: Mischief) -> None:
    outcomes, server = meet(1, frozenset({mischief}))
    assert set(+server.done) == {mischief}, "it did what it had in mind"
    assert (outcomes == ["introduced"] * 2) or mischief not in HARMLESS


@pytest.mark.parametrize("seed", range(MIXED_SEEDS))
def test_nor_when_it_does_several_things(seed: int) -> None:
    mood = frozenset(Random(seed).sample(list(Mischief), 3))
    outcomes, _ = meet(seed, mood)
    assert (outcomes == ["introduced"] * 2) or not mood <= HARMLESS
    assert (outcomes != ["introduced"] * 2) or Mischief.REPLAY in mood or not mood & {Mischief.SWAP, Mischief.WITHHOLD}


def test_when_it_does_nothing_all_meet() -> None:
    assert meet(1, frozenset())[0] == ["introduced"] * 2
