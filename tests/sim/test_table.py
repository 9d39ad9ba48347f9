"""The README's table of set-up times is what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.types import Transport

from . import table as module
from .meeting import Meeting
from .site import BLOCKED, PUBLIC, Way
from .table import BEGIN, END, README_PAIRS, alternative, block, main, row, table, with_block

RELAYED = CandidateType.RELAYED
README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_holds_what_the_command_prints() -> None:
    assert block(README.read_text("utf-8")) == table(README_PAIRS), "python -m tests.sim.table --write README.md"


def test_rows_say_how_it_went() -> None:
    way = Way(CandidateType.HOST, CandidateType.PEER_REFLEXIVE, Transport.TCP)
    assert row(PUBLIC, BLOCKED, Meeting(way, 0.125, 5, 1603), None) == (
        "| public address | NAT, UDP blocked | host/prflx over TCP | 125 ms | 2.5 | 5 | 1603 | the same |\n"
    )
    relayed, nothing = Meeting(Way(RELAYED, RELAYED), 0.53, 10, 2000), Meeting(None, 60.0, 25, 2624)
    assert row(BLOCKED, BLOCKED, relayed, nothing) == (
        "| NAT, UDP blocked | NAT, UDP blocked | relay/relay | 530 ms | 10.6 | 10 | 2000 | no path |\n"
    )
    assert row(BLOCKED, BLOCKED, nothing, nothing) == (
        "| NAT, UDP blocked | NAT, UDP blocked | none | | | 25 | 2624 | no path |\n"
    )
    assert alternative(Meeting(way, 2.17, 49, 5000)) == "port search, 2.2 s, 49 checks"


def test_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "README_PAIRS", [(PUBLIC, PUBLIC)])
    monkeypatch.setattr("sys.argv", ["table"])
    main()
    printed = capsys.readouterr().out
    assert printed == table([(PUBLIC, PUBLIC)])
    file = tmp_path / "README.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    monkeypatch.setattr("sys.argv", ["table", "--write", str(file)])
    main()
    assert block(file.read_text("utf-8")) == printed
    assert file.read_text("utf-8") == with_block(f"before\n{BEGIN}\n{END}\nafter\n", printed)
