"""Where `share` and `join` meet, and by which code: from options, the environment and the user's file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from p2ptun.cli.user_config import read_user_config
from p2ptun.daemon.secret import read_private
from p2ptun.errors import ConfigError
from p2ptun.signal.code import Code, parse_code

PASTE = "paste"
ENVIRONMENT = "P2PTUN_RENDEZVOUS"
CODE_ENVIRONMENT = "P2PTUN_CODE"
MAX_CODE_SIZE = 1024
"""Bytes: many times the longest code, whatever surrounds it."""

RENDEZVOUS = click.option(
    "--rendezvous", metavar="URL", multiple=True,
    help="Where the two sides meet: https://HOST of a `p2ptun serve`; several may be given. Or `paste`: people carry "
    "lines between them.  [default: $P2PTUN_RENDEZVOUS, then `rendezvous` in ~/.config/p2ptun/config.toml, then paste]",
)  # fmt: skip
VERIFY = click.option("--verify", "verifies", is_flag=True,
                      help="Compare words with the other side before anything is carried.")  # fmt: skip
QR = click.option("--qr", "draws_qr", is_flag=True,
                  help="Draw what the other side needs as a QR code, too.")  # fmt: skip
CODE_FILE = click.option(
    "--code-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the code; only its owner may read it.",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the two sides meet. `are_usual` tells that the person has settled it for all commands of this machine."""

    texts: tuple[str, ...] = (PASTE,)
    are_usual: bool = True

    @property
    def have_rooms(self) -> bool:
        """Whether a code is what leads there; else people carry lines."""
        return self.texts != (PASTE,)

    def options(self) -> str:
        """Write the options that lead there, for a shell."""
        return " ".join(f"--rendezvous {shlex.quote(each)}" for each in self.texts)

    def command(self, code: str) -> str:
        """Write what the other side runs; where the places are usual, they are taken to be so over there as well."""
        return f"p2ptun join {code}" if self.are_usual else f"p2ptun join {self.options()} {code}"


def find_places(given: Sequence[str], environ: Mapping[str, str]) -> Places:
    """Take the first of options, environment and the user's file that names any place.

    Raises:
        ConfigError: If one of them can't be one, or the file makes no sense.
    """
    if given:
        return _places(given, "", "--rendezvous", are_usual=False)
    if texts := environ.get(ENVIRONMENT, "").split():
        return _places(texts, "", ENVIRONMENT, are_usual=True)
    config, path = read_user_config(environ)
    return _places(config.places, str(path), "rendezvous", are_usual=True) if config.places else Places()


def _places(texts: Sequence[str], where: str, key: str, *, are_usual: bool) -> Places:
    from p2ptun.rendezvous.registry import find_rendezvous

    try:
        known = [PASTE if text.lower() == PASTE else text for text in find_rendezvous(texts)]
    except ConfigError as error:
        raise ConfigError(where, key, error.problem, error.remedy) from error
    return Places(tuple(known), are_usual)


def find_code(argument: str | None, file: Path | None, environ: Mapping[str, str], places: Places) -> Code | None:
    """Read the code that was given, if one was: as a word, in a file, or by the environment.

    Raises:
        ConfigError: If it is given twice, its file can't be used, or no code leads to where the two sides meet.
        CodeError: If it is no code.
    """
    if argument is not None and file is not None:
        raise ConfigError("", "--code-file", "there is a code besides it", "Give one of the two.")
    found = _given(argument, file, environ)
    if found is None:
        return None
    key, text = found
    if not places.have_rooms:
        problem = "a code leads to a room, and nothing says where rooms are"
        raise ConfigError("", key, problem, "Name the place that the other side uses, too: --rendezvous https://HOST")
    return parse_code(text)


def _given(argument: str | None, file: Path | None, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if argument is not None:
        return "CODE", argument
    if file is not None:
        content = read_private(file, "--code-file", MAX_CODE_SIZE, "Name a file with the code in it.")
        return "--code-file", content.decode(errors="replace")
    text = environ.get(CODE_ENVIRONMENT, "")
    return (CODE_ENVIRONMENT, text) if text else None
