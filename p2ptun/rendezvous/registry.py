"""From what people write after `--rendezvous` to a rendezvous. Ours are found as everybody's are: by entry points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from p2ptun.errors import ConfigError, P2ptunError
from p2ptun.rendezvous.base import ENTRY_POINTS, Context, Rendezvous
from p2ptun.signal.text import printable

KEY: Final = "--rendezvous"
PASTE: Final = "paste"
MAX_QUOTED: Final = 100  # characters of a text that an error repeats

Factory = Callable[[str, Context], Rendezvous]


def open_rendezvous(texts: Sequence[str], context: Context) -> Rendezvous:
    """Make the rendezvous that texts name: `paste`, `https://...`, `folder:/mnt/shared`. Several are used together.

    Raises:
        ConfigError: A text names none that is installed, or they can't be used together.
    """
    found = find_rendezvous(texts)
    several = list(found)
    factories = [_load(each) for each in found.values()]
    if len(several) == 1:
        return factories[0](several[0], context)
    from p2ptun.rendezvous.several import Member, SeveralRendezvous, Troubles

    troubles = Troubles(context)
    members = []
    for text, factory in zip(several, factories, strict=True):
        own = replace(context, warn=troubles.warner(text), recover=troubles.recoverer(text))
        members.append(Member(text, factory(text, own)))
    return SeveralRendezvous(members)


def find_rendezvous(texts: Sequence[str]) -> dict[str, EntryPoint]:
    """Find what makes the rendezvous of each text, each once, and load none of it.

    Raises:
        ConfigError: As from `open_rendezvous`, as far as it can be told without loading anything.
    """
    found = {text: _entry_point(text) for text in (each.strip() for each in texts)}
    if not found:
        raise ConfigError("", KEY, "names nothing", "Write a server's URL, or `paste`.")
    if len(found) > 1 and PASTE in map(_scheme, found):
        raise ConfigError("", KEY, "names paste beside others", "People carry blobs, or servers do: name one of them.")
    return found


def schemes() -> list[str]:
    """Name what is installed, in order."""
    return sorted({each.name for each in entry_points(group=ENTRY_POINTS)})


def _scheme(text: str) -> str:
    return text.partition(":")[0].lower()


def _entry_point(text: str) -> EntryPoint:
    scheme = _scheme(text)
    found = tuple(entry_points(group=ENTRY_POINTS, name=scheme))
    if not found or (scheme == PASTE and text.lower() != PASTE):
        known = ", ".join(f"{each}" if each == PASTE else f"{each}:" for each in schemes())
        raise ConfigError(
            "",
            KEY,
            f"{_quoted(text)} is unknown; there is {known or 'nothing'}",
            "Check the spelling: a server's is https://HOST. Others are Python packages with an entry point in"
            f" {ENTRY_POINTS}: install one beside p2ptun.",
        )
    return found[0]


def _load(entry_point: EntryPoint) -> Factory:
    try:
        factory = entry_point.load()
    except Exception as error:  # somebody else's code runs here: it may raise anything
        raise ConfigError(
            "",
            KEY,
            f"the plug-in for {entry_point.name}: ({printable(entry_point.value)}) can't be loaded:"
            f" {printable(str(error)) or type(error).__name__}",
            "Mend or remove the package that it is from.",
        ) from error
    if not callable(factory):
        raise ConfigError(
            "", KEY, f"the plug-in for {entry_point.name}: ({printable(entry_point.value)}) makes nothing"
        )

    def make(text: str, context: Context) -> Rendezvous:
        try:
            rendezvous: Rendezvous = factory(text, context)
        except P2ptunError:
            raise
        except Exception as error:
            raise ConfigError(
                "",
                KEY,
                f"the plug-in for {entry_point.name}: refused {_quoted(text)}:"
                f" {printable(str(error)) or type(error).__name__}",
                "Check the URL: how it is written is told by who wrote the plug-in.",
            ) from error
        return rendezvous

    return make


def _quoted(text: str) -> str:
    """Quote the beginning of a text, without what may be a password in a URL."""
    before, at, rest = text.rpartition("@")
    scheme = before.partition("://")[0] + "://" if "://" in before else ""
    return repr(printable(f"{scheme}...@{rest}" if at else text)[:MAX_QUOTED])
