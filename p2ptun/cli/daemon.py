"""`p2ptun daemon NAME` and `p2ptun check FILE`: tunnels that are configured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from p2ptun.cli.rendezvous_options import ENVIRONMENT
from p2ptun.cli.talk import JsonView, Story, View
from p2ptun.daemon.config import DIRECTORY, TunnelConfig, check_urls, config_path, read_config
from p2ptun.daemon.event import ErrorEvent
from p2ptun.daemon.secret import hide_memory
from p2ptun.errors import ConfigError, P2ptunError
from p2ptun.signal.description import Kind

DIRECTORY_OPTION = click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), default=DIRECTORY, show_default=True,
    help="Where the configuration is.",
)  # fmt: skip


@click.command(short_help="Run a configured tunnel in the foreground.")
@click.argument("name")
@DIRECTORY_OPTION
@click.option(
    "--rendezvous",
    metavar="URL",
    multiple=True,
    help="Meet the other side here instead of where the configuration says; also $P2PTUN_RENDEZVOUS.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines on stdout.")
def daemon(name: str, directory: Path, rendezvous: tuple[str, ...], as_json: bool) -> int:
    """Run the tunnel NAME of /etc/p2ptun/NAME.toml in the foreground, until a signal ends it.

    It waits for the other side as long as it takes, and finds it again whatever happens. `p2ptun pair NAME` makes the
    configuration.
    """
    view: View = JsonView(Kind.OFFER) if as_json else Story(Kind.OFFER)
    hide_memory()
    try:
        _carry(_read(name, directory, rendezvous or os.environ.get(ENVIRONMENT, "").split()), view)
    except P2ptunError as error:
        if as_json:
            view.show(ErrorEvent(str(error), error.remedy))
        raise
    finally:
        view.close()
    return 0


@click.command(short_help="Check a configuration.")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> int:
    """Check the configuration FILE, and the files that it names, as `p2ptun daemon` does before it begins."""
    config = read_config(file)
    click.echo(f"{file}: a tunnel {config.name} to {config.peer.name}. All is well.")
    return 0


def _carry(config: TunnelConfig, view: View) -> None:
    """Run the tunnel. What it is made of is imported here: help and mistakes do without."""
    import trio

    from p2ptun.daemon.pinned import PinnedTunnel

    trio.run(PinnedTunnel(config, view.show).run, strict_exception_groups=True)


def _read(name: str, directory: Path, urls: Sequence[str]) -> TunnelConfig:
    """Read the configuration; `urls`, if there are any, take the place of what it says."""
    path = config_path(name, directory)
    if not path.exists():
        raise ConfigError(str(path), "file", "there is none", f"Make one: p2ptun pair {name}")
    config = read_config(path)
    return replace(config, rendezvous=check_urls(urls, "--rendezvous")) if urls else config
