"""A spread of the matrix of NAT behaviours, and the README's table of the whole of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e import matrix as module
from tests.e2e.crossing import Kind, Outcome, Pair
from tests.e2e.matrix import BEGIN, END, chosen, pairs, read, run, table
from tests.sim.site import FULL_CONE, NATS, PORT_RESTRICTED, RESTRICTED, SYMMETRIC, Site
from tests.sim.table import block, with_block

README = Path(__file__).resolve().parents[2] / "README.md"
AD_EI, AD_AD, AD_APD, APD_EI, APD_AD = NATS[3:8]

SPREAD = [
    (FULL_CONE, SYMMETRIC),
    (RESTRICTED, AD_APD),
    (PORT_RESTRICTED, PORT_RESTRICTED),
    (AD_EI, RESTRICTED),
    (AD_AD, AD_EI),
    (APD_EI, AD_AD),
    (APD_EI, APD_EI),
    (SYMMETRIC, RESTRICTED),
    (PORT_RESTRICTED, SYMMETRIC),
    (APD_AD, AD_APD),
]
"""Every behaviour, on the one side or the other; both kinds of outcome; what is easy, hard and worst."""


def test_the_spread_has_every_behaviour_and_every_kind_of_outcome() -> None:
    assert {site for pair in SPREAD for site in pair} == set(NATS)
    expected = {Pair(left, right, has_relay).expected for left, right in SPREAD for has_relay in (False, True)}
    assert expected == set(Kind)


@pytest.mark.root
def test_a_spread_of_pairs_is_connected_as_theory_says(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [Pair(left, right, has_relay) for left, right in SPREAD for has_relay in (False, True)]
    outcomes = list(run(wanted))
    with capsys.disabled():
        print(*(f"\n  {outcome.pair}: {outcome}" for outcome in outcomes))
    assert [outcome.pair for outcome in outcomes] == wanted
    assert [outcome for outcome in outcomes if not outcome.is_right] == []


def test_the_readme_has_every_pair_in_its_kind() -> None:
    told = read(block(README.read_text("utf-8"), BEGIN, END))
    assert list(told) == pairs(), "python -m tests.e2e.matrix --write README.md"
    assert [pair for pair, kind in told.items() if kind not in pair.allowed] == []


# The table


def done(left: Site, right: Site, has_relay: bool, setup: float = 0.0714) -> Outcome:
    pair = Pair(left, right, has_relay)
    return Outcome(pair, pair.expected, pair.expected, setup)


def test_what_is_written_is_read_back() -> None:
    outcomes = [done(pair.sharing, pair.joining, pair.has_relay) for pair in pairs()]
    made = table(outcomes)
    assert read(made) == {outcome.pair: outcome.kind for outcome in outcomes}
    for hard in ("no path", "relay 71 ms"):
        assert f"\n| EIM/APDF |{' direct 71 ms |' * 3}{f' {hard} |' * 6}\n" in made


def test_a_table_has_what_was_run_and_no_more() -> None:
    made = table([done(SYMMETRIC, PORT_RESTRICTED, False), done(FULL_CONE, FULL_CONE, False)])
    assert len(read(made)) == 2
    assert "as relay" not in made


def test_a_failure_is_no_kind_of_path() -> None:
    pair = Pair(FULL_CONE, FULL_CONE, True)
    relayed = Outcome(pair, Kind.RELAY, Kind.RELAY)
    for outcome in (relayed, Outcome(pair, Kind.DIRECT, Kind.DIRECT, problem="it changed under traffic")):
        assert not outcome.is_right
        assert read(table([outcome])) == {}


def test_a_path_may_get_better() -> None:
    pair = Pair(FULL_CONE, FULL_CONE, True)
    made = table([Outcome(pair, Kind.RELAY, Kind.DIRECT, 0.06)])
    assert "| relay 60 ms, then direct |" in made
    assert read(made) == {pair: Kind.DIRECT}


@pytest.mark.parametrize("has_relay", [False, True])
def test_a_search_may_succeed_where_one_mapping_is_known(has_relay: bool) -> None:
    searched = Pair(SYMMETRIC, PORT_RESTRICTED, has_relay)
    assert searched.allowed == {Kind.DIRECT, Kind.RELAY if has_relay else Kind.NONE}
    assert Pair(SYMMETRIC, SYMMETRIC, has_relay).allowed == {Kind.RELAY if has_relay else Kind.NONE}
    assert Pair(SYMMETRIC, RESTRICTED, has_relay).allowed == {Kind.DIRECT}


def test_pairs_are_chosen_by_name() -> None:
    assert chosen(["EIM/APDF:APDM/APDF"], None) == [
        Pair(PORT_RESTRICTED, SYMMETRIC, False),
        Pair(PORT_RESTRICTED, SYMMETRIC, True),
    ]
    assert len(chosen(None, True)) == len(NATS) ** 2
    with pytest.raises(SystemExit, match="a pair is written A:B"):
        chosen(["full cone"], None)


def test_command_writes_only_when_all_went_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, old = tmp_path / "README.md", f"before\n{BEGIN}\nold\n{END}\nafter\n"
    good = done(FULL_CONE, FULL_CONE, False)
    bad = Outcome(good.pair, Kind.NONE, Kind.NONE)
    monkeypatch.setattr(module, "missing", str)
    monkeypatch.setattr(sys, "argv", ["matrix", "--write", str(file)])
    for outcomes, code, wanted in (([bad], 1, old), ([good], 0, with_block(old, table([good]), BEGIN, END))):
        file.write_text(old, "utf-8")
        monkeypatch.setattr(module, "run", lambda *_, made=outcomes: iter(made))
        assert module.main() == code
        assert file.read_text("utf-8") == wanted


@pytest.mark.parametrize("selection", [["--relay"], ["--no-relay"], ["--pairs", "EIM/EIF:EIM/EIF"]])
def test_a_part_of_the_matrix_is_not_written(selection: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["matrix", "--write", "README.md", *selection])
    with pytest.raises(SystemExit, match="2"):
        module.parsed()
