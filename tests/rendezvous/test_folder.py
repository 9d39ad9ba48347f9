"""The example of a third party's rendezvous. What it does is in test_room.py; here is how it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
import tomli
import trio
import trio.testing

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.base import ENTRY_POINTS, Rendezvous
from p2ptun.rendezvous.registry import open_rendezvous, schemes
from tests.rendezvous.place import NAME, Surroundings

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rendezvous_folder"
MODULE = "p2ptun_folder"


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install it as pip does, from what its pyproject.toml says: a module, and beside it what is told of it."""
    project = tomli.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = ConfigParser()
    points.read_dict(project["entry-points"])
    with (info / "entry_points.txt").open("w") as file:
        points.write(file)
    (site / f"{MODULE}.py").symlink_to(EXAMPLE / f"{MODULE}.py")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop(MODULE, None)


def test_it_is_short() -> None:
    lines = (EXAMPLE / f"{MODULE}.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 60


def test_it_is_not_there_unless_installed() -> None:
    assert "folder" not in schemes()


@pytest.mark.usefixtures("_installed")
def test_it_is_found_by_its_scheme_and_two_meet(tmp_path: Path) -> None:
    async def main() -> None:
        def make() -> Rendezvous:
            return open_rendezvous([f"folder:{tmp_path}"], Surroundings().context)

        ours = await make().enter_room(NAME, "o" * 43, b"ours")
        theirs = await make().enter_room(NAME, "t" * 43, b"theirs")
        assert await theirs.receive() == b"ours"
        while not isinstance(delivery := await ours.receive(), bytes):
            pass
        assert delivery == b"theirs"

    assert schemes() == ["folder", "http", "https", "paste"]
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))
    assert ENTRY_POINTS in (EXAMPLE / "pyproject.toml").read_text()


@pytest.mark.usefixtures("_installed")
def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"refused 'folder:.*No such file"):
        open_rendezvous([f"folder:{tmp_path}/missing"], Surroundings().context)
