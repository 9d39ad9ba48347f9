from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.base import ENTRY_POINTS, Rendezvous
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.paste import PasteRendezvous
from p2ptun.rendezvous.registry import open_rendezvous, schemes
from p2ptun.rendezvous.several import SeveralRendezvous
from tests.rendezvous.place import Surroundings

URL, OTHER = "https://rv.example.net", "http://[2001:db8::1]:8080/p2ptun"


def opened(*texts: str) -> Rendezvous:
    return open_rendezvous(texts, Surroundings().context)


def refusal(*texts: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        opened(*texts)
    assert str(caught.value).startswith("--rendezvous: ")
    return caught.value


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution with plug-ins of all sorts; give the folder where its modules are."""
    info = tmp_path / "plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\nnowhere = plugin_missing:Thing\nbroken = plugin_broken:Thing\n"
        "nothing = plugin_good:NOTHING\ngood = plugin_good:Good\npicky = plugin_good:picky\n"
    )
    (tmp_path / "plugin_broken.py").write_text("raise RuntimeError('no \\x1b[31mcolour')\n")
    (tmp_path / "plugin_good.py").write_text(
        "NOTHING = None\n"
        "class Good:\n    def __init__(self, text, context):\n        self.made = text, context\n"
        "def picky(text, context):\n    raise OSError(f'I do not like {text}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_ours_are_there() -> None:
    assert {"paste", "http", "https"} <= set(schemes())
    assert isinstance(opened("paste"), PasteRendezvous)
    assert isinstance(opened(URL), HttpRendezvous)
    assert isinstance(opened(f" {OTHER} "), HttpRendezvous)
    assert isinstance(opened("HTTPS://RV.EXAMPLE"), HttpRendezvous)


def test_several_are_used_together() -> None:
    assert isinstance(opened(URL, OTHER), SeveralRendezvous)
    assert isinstance(opened(URL, URL), HttpRendezvous)


def test_paste_stands_alone() -> None:
    assert "beside others" in str(refusal("paste", URL))


def test_a_third_partys_is_made_with_text_and_context(install: Path) -> None:
    surroundings = Surroundings()
    context = surroundings.context
    made = open_rendezvous(["good:/some/where"], context)
    assert made.made == ("good:/some/where", context)  # type: ignore[attr-defined]  # the plug-in's own


@pytest.mark.parametrize(
    "text", ["smoke:signals", "rv.example.net", "paste:", "paste:x", "", ":", "ftp://me:hunter2@x"]
)
def test_what_is_unknown_is_told_with_what_is_there(text: str) -> None:
    error = refusal(text)
    assert "is unknown; there is" in str(error)
    assert "http:, https:, paste" in str(error)
    assert ENTRY_POINTS in error.remedy
    assert "hunter2" not in str(error)


def test_nothing_at_all() -> None:
    assert "names nothing" in str(refusal())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere:x", "can't be loaded: No module named 'plugin_missing'"),
        ("broken:x", "can't be loaded: no [31mcolour"),
        ("nothing:x", "makes nothing"),
        ("picky:x", "refused 'picky:x': I do not like picky:x"),
    ],
)
def test_a_plug_in_that_fails_is_named(install: Path, text: str, words: str) -> None:
    error = refusal(text)
    assert words in str(error)
    assert text.partition(":")[0] in str(error)
    assert "picky" not in text or "Check the URL" in error.remedy


def test_a_bad_url_is_told_before_anything_is_opened() -> None:
    assert "user name" in str(refusal("https://me@rv.example.net"))
