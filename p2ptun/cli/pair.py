"""`p2ptun pair NAME`: two machines get to know each other, once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.markup import escape

from p2ptun.cli.address_options import ADDRESS, ROUTE, offered_networks, own_addresses
from p2ptun.cli.option import with_options
from p2ptun.cli.prompt import ask_code
from p2ptun.cli.relay_options import authorities
from p2ptun.cli.rendezvous_options import CODE_FILE, VERIFY, Places, find_code, find_places
from p2ptun.cli.talk import JsonView, Story, View
from p2ptun.cli.text import print_line
from p2ptun.daemon.config import DIRECTORY, check_peer_name, config_path
from p2ptun.daemon.event import CodeEvent, ErrorEvent, Event, PairedEvent
from p2ptun.daemon.pair_options import PairOptions, check_files, host_name
from p2ptun.daemon.secret import hide_memory, read_secret
from p2ptun.errors import ConfigError, P2ptunError
from p2ptun.noise.keypair import KeyPair
from p2ptun.signal.description import Kind

TYPED = "-"
"""What stands for a code that is asked for."""

ADVICE = """On the other side run:

    [bold]{command}[/]

NAME is what the tunnel is called there. The code is good for one try, of one
machine. Whoever hears of it before can take the other side's place."""

OPTIONS = [
    click.option("--rendezvous", metavar="URL", multiple=True,
                 help="Where the two sides meet, now and later: https://HOST of a `p2ptun serve`; several may be given."
                 "  [default: $P2PTUN_RENDEZVOUS, then `rendezvous` in ~/.config/p2ptun/config.toml]"),
    click.option("--directory", type=click.Path(path_type=Path, file_okay=False), default=DIRECTORY, show_default=True,
                 help="Where the configuration and its secrets are written."),
    click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False),
                 help="Private key that this machine has already (`p2ptun genkey`).  [default: a new one, NAME.key]"),
    click.option("--peer", "peer_name", metavar="PEER",
                 help="What the other side is called here.  [default: as it calls itself]"),
    ADDRESS,
    ROUTE,
    click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False),
                 help="Certificates (PEM) to trust for the rendezvous, besides this machine's own."),
    CODE_FILE,
    VERIFY,
    click.option("--timeout", metavar="S", type=click.FloatRange(min=0, min_open=True),
                 help="Give up after so many seconds.  [default: wait]"),
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines on stdout."),
]  # fmt: skip


@click.command(short_help="Make two machines know each other for good.")
@click.argument("name")
@click.argument("code", required=False)
@with_options(OPTIONS)
def pair(name: str, code: str | None, as_json: bool, **options: object) -> int:
    """Make two machines know each other, so that the tunnel NAME needs no code any more.

    Without CODE it prints one, for the other side's `p2ptun pair`; with it, or one from --code-file or $P2PTUN_CODE, it
    takes it, and asks for it when it is given as `-`. Both sides write /etc/p2ptun/NAME.toml, its key and a shared
    secret: both, or neither.
    """
    view: View = JsonView(Kind.OFFER) if as_json else PairStory()
    hide_memory()
    try:
        _pair(view, name, code, **options)  # type: ignore[arg-type]
    except P2ptunError as error:
        if as_json:
            view.show(ErrorEvent(str(error), error.remedy))
        raise
    except KeyboardInterrupt:  # at the prompt, before anything began
        return 1
    finally:
        view.close()
    return 0


class PairStory(Story):
    """The events as a person wants to read them, on stderr; the code alone goes to stdout."""

    def __init__(self) -> None:
        super().__init__(Kind.OFFER)

    def show(self, event: Event) -> None:
        """Tell the event, if it is worth telling."""
        match event:
            case CodeEvent(code=code):
                print_line(code)
                command = f"p2ptun pair NAME {self._places.options()} {code}"
                self._console.print(ADVICE.format(command=escape(command)))
                self._spin("waiting     for the other side")
            case PairedEvent():
                self._tell_paired(event)
            case _:
                super().show(event)

    def _tell_paired(self, event: PairedEvent) -> None:
        """Say what there is now, and what comes next."""
        here, there = (
            ", ".join(each.split("/")[0] for each in side) for side in (event.addresses, event.peer_addresses)
        )
        self._tell("paired", f"with {event.peer}: {here} here, {there} there", "bold green")
        if event.peer_routes:
            self._tell("behind it", f"{', '.join(event.peer_routes)}; if that is too much, take it out of allowed_ips")
        self._tell("written", "\n".join(event.files))
        directory = Path(event.files[-1]).parent
        where = "" if directory == DIRECTORY else f" --directory {shlex.quote(str(directory))}"
        self._console.print("Now run it here, and over there what was said there:\n")
        self._console.print(f"    [bold]p2ptun daemon {escape(event.name + where)}[/]")


def _pair(
    view: View,
    name: str,
    code: str | None,
    rendezvous: Sequence[str],
    directory: Path,
    key_file: Path | None,
    peer_name: str | None,
    addresses: Sequence[str],
    routes: Sequence[str],
    ca_file: Path | None,
    code_file: Path | None,
    verifies: bool,
    timeout: float | None,
) -> None:
    """Check what was asked for, find out the code, and pair. What that takes is imported here: help does without."""
    places = _places(rendezvous)
    view.meet_at(places)
    config_path(name, directory)
    key_file = None if key_file is None else key_file.absolute()
    certificates = authorities(ca_file)
    options = PairOptions(
        name=name,
        rendezvous=places.texts,
        directory=directory,
        addresses=own_addresses(addresses),
        routes=offered_networks(routes),
        keys=None if key_file is None else KeyPair.of_private(read_secret(key_file, "--key-file")),
        key_file=key_file,
        peer_name=None if peer_name is None else check_peer_name(peer_name, "--peer"),
        host_name=host_name(),
        ca_file=None if certificates is None else certificates.absolute(),
        verifies=verifies,
        timeout=timeout,
    )
    check_files(options)
    found = ask_code("p2ptun pair") if code == TYPED else find_code(code, code_file, os.environ, places)
    _run(replace(options, code=found), view)


def _places(given: Sequence[str]) -> Places:
    """Find out where the two sides meet. Raises ConfigError when nothing says where."""
    places = find_places(given, os.environ)
    if not places.have_rooms:
        remedy = "Name a server that runs p2ptun serve: --rendezvous https://HOST"
        raise ConfigError("", "--rendezvous", "nothing says where the two sides meet", remedy)
    return places


def _run(options: PairOptions, view: View) -> None:
    import trio

    from p2ptun.daemon.pairing import Pairing
    from p2ptun.rendezvous.base import Context
    from p2ptun.rendezvous.line import LineReader
    from p2ptun.rendezvous.registry import open_rendezvous

    async def run() -> None:
        lines = LineReader(sys.stdin.fileno())
        context = Context(
            view.show_blob, lines, options.ca_file, lambda message, remedy: view.show(ErrorEvent(message, remedy))
        )
        await Pairing(options, open_rendezvous(options.rendezvous, context), lines, view.show).run()

    trio.run(run, strict_exception_groups=True)
