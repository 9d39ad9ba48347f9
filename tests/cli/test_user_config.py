"""The person's own file: where it is, what it may say, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.cli.user_config import config_path, read_user_config
from p2ptun.errors import ConfigError

URL, OTHER = "https://rv.example.net", "https://rv.example.org"


def write(base: Path, text: str) -> dict[str, str]:
    path = base / "p2ptun" / "config.toml"
    path.parent.mkdir()
    path.write_text(text)
    return {"XDG_CONFIG_HOME": str(base)}


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}, Path("/c/p2ptun/config.toml")),
        ({"HOME": "/h"}, Path("/h/.config/p2ptun/config.toml")),
        ({"XDG_CONFIG_HOME": "", "HOME": "/h"}, Path("/h/.config/p2ptun/config.toml")),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, Path("/h/.config/p2ptun/config.toml")),
        ({"HOME": ""}, None),
        ({}, None),
    ],
)
def test_where_the_file_is(environ: dict[str, str], path: Path | None) -> None:
    assert config_path(environ) == path


def test_no_file_says_nothing(tmp_path: Path) -> None:
    for environ in ({"XDG_CONFIG_HOME": str(tmp_path)}, {}):
        config, path = read_user_config(environ)
        assert (config.places, path) == ((), None)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", ()),
        (f'rendezvous = "{URL}"', (URL,)),
        (f'rendezvous = ["{URL}", "{OTHER}"]', (URL, OTHER)),
        ('rendezvous = "paste"', ("paste",)),
        ("rendezvous = []", ()),
    ],
)
def test_one_place_or_several(tmp_path: Path, text: str, places: tuple[str, ...]) -> None:
    config, path = read_user_config(write(tmp_path, text))
    assert config.places == places
    assert path == tmp_path / "p2ptun" / "config.toml"


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        (f'rendevous = "{URL}"', "rendevous", "rendezvous"),
        ("colour = 1", "colour", "rendezvous"),
        ("rendezvous = 7", "rendezvous", "list"),
        ("rendezvous = [7]", "rendezvous", "text in quotes"),
        ("rendezvous", "file", "key"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(tmp_path: Path, text: str, key: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_user_config(write(tmp_path, text))
    assert caught.value.where == str(tmp_path / "p2ptun" / "config.toml")
    assert caught.value.key.startswith(key)
    assert remedy in caught.value.remedy
