"""`p2ptun netcheck`: which NAT this machine is behind, which servers it reaches, and what that means."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import trio

from p2ptun.cli.netcheck_view import lifetime_words, render, render_lifetime
from p2ptun.cli.relay_options import authorities, relay_credentials, relays
from p2ptun.cli.text import duration, print_line, talk_console
from p2ptun.daemon.exploration import LifetimeMeasurement, route_guard
from p2ptun.daemon.group import single_error
from p2ptun.daemon.netcheck import Findings, Netcheck, NetcheckOptions
from p2ptun.daemon.netcheck_document import describe
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.io.monitor import read_network
from p2ptun.nat.behavior import Lifetime
from p2ptun.nat.event import LifetimeEvent, LifetimeMeasured
from p2ptun.stun.uri import StunUri, parse_uri

HOW_TO_WRITE = "Write stun:HOST or stun:HOST:PORT, or stuns:HOST:PORT for TLS."
NO_SERVER = "Name one: p2ptun netcheck --stun stun:HOST, or set P2PTUN_STUN; p2ptun serve is one."
PROGRESS_INTERVAL = 1.0  # seconds

ResultT = TypeVar("ResultT")


@click.command(short_help="Tell which NAT is before this machine, and what that means.")
@click.option(
    "--stun",
    metavar="URI",
    multiple=True,
    envvar="P2PTUN_STUN",
    help="STUN server to ask (stun:host[:port], or stuns: for TLS); may be repeated; also $P2PTUN_STUN. "
    "One with two addresses tells most.",
)
@click.option(
    "--turn",
    metavar="URI",
    multiple=True,
    envvar="P2PTUN_TURN",
    help="Relay to try (turn:host[:port][?transport=tcp], or turns: for TLS); may be repeated; also $P2PTUN_TURN.",
)
@click.option(
    "--turn-credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the relays' username and password, or their shared secret (`p2ptun genturn`); else "
    "$P2PTUN_TURN_USERNAME and $P2PTUN_TURN_PASSWORD. Without, relays are reached, but not used.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificates (PEM) to trust for servers over TLS, besides this machine's own.",
)
@click.option(
    "--lifetime",
    is_flag=True,
    help="Measure how long the NAT keeps an idle binding, too: takes minutes; Ctrl-C ends it early.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def netcheck(
    stun: Sequence[str],
    turn: Sequence[str],
    turn_credentials: Path | None,
    ca_file: Path | None,
    lifetime: bool,
    as_json: bool,
) -> int:
    """Tell which NAT is before this machine, which servers it reaches, and what that means. Needs no root."""
    options = NetcheckOptions(
        stun=tuple(dict.fromkeys(_server(text) for text in stun)),
        turn=relays(turn, PathPolicy.ANY),
        credentials=relay_credentials(turn_credentials, turn),
        ca_file=authorities(ca_file),
    )
    if not options.stun and not options.turn:
        raise ConfigError("", "--stun", "there is no server to ask", NO_SERVER)
    findings = trio.run(_until_interrupted, Netcheck(options).run, strict_exception_groups=True)
    if findings is None:
        raise click.Abort
    if not as_json:
        render(describe(findings))
    if lifetime:
        findings = _with_lifetime(findings, as_json)
    if as_json:
        print_line(msgspec.json.format(msgspec.json.encode(describe(findings)), indent=2).decode())
    return 0 if any(server.is_reached for server in findings.servers) else 1


def _server(text: str) -> StunUri:
    """Read a STUN server. Raises ConfigError."""
    try:
        uri = parse_uri(text, key="--stun")
    except ConfigError as error:
        remedy = error.remedy if text.lower().startswith(("stun:", "stuns:")) else HOW_TO_WRITE
        raise ConfigError("", error.key, error.problem, remedy) from error
    if uri.scheme.is_turn:
        raise ConfigError("", "--stun", f"{uri} names a relay", f"Write --turn {uri}")
    return uri


def _with_lifetime(findings: Findings, as_json: bool) -> Findings:
    """Measure the lifetime of a binding, and put it into what was found."""
    check = LifetimeCheck(findings)
    trio.run(_until_interrupted, check.run, strict_exception_groups=True)
    lifetime = check.lifetime
    if not as_json:
        render_lifetime(lifetime)
    best = findings.best_server
    if best is not None:
        findings.behaviors = [
            (vantage, replace(behavior, lifetime=lifetime) if vantage == best[0] else behavior)
            for vantage, behavior in findings.behaviors
        ]
    return findings


async def _until_interrupted(work: Callable[[], Awaitable[ResultT]]) -> ResultT | None:
    """Do some work; None when Ctrl-C or SIGTERM ends it. Raises P2ptunError by itself, not in a group."""
    result: ResultT | None = None
    with single_error(), trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as numbers:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, numbers, nursery.cancel_scope)
            result = await work()
            nursery.cancel_scope.cancel()
    return result


async def _cancel_when(numbers: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await numbers.__anext__()
    scope.cancel()


class LifetimeCheck:
    """A measurement that a person watches, and may end."""

    def __init__(self, findings: Findings) -> None:
        self._best = findings.best_server
        self._console = talk_console()
        self._measurement: LifetimeMeasurement | None = None

    @property
    def lifetime(self) -> Lifetime | None:
        """What is known, also when it was ended early."""
        machine = None if self._measurement is None else self._measurement.machine
        return None if machine is None else machine.lifetime

    async def run(self) -> None:
        """Measure until it is known, or cancelled."""
        if self._best is None:
            self._console.print("A binding's lifetime can't be measured: no STUN server answered over UDP.")
            return
        network = await read_network()
        with route_guard(network) as guard:
            self._measurement = LifetimeMeasurement(self._best[0], guard, self._best[1])
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._show_progress)
                    await self._measurement.run(self._handle)
                    nursery.cancel_scope.cancel()
            finally:
                self._clear_line()

    async def _show_progress(self) -> None:
        """Keep one line up to date; on a terminal only."""
        begins_at = trio.current_time()
        while sys.stderr.isatty():
            await trio.sleep(PROGRESS_INTERVAL)
            machine = None if self._measurement is None else self._measurement.machine
            if machine is not None and machine.ends_at is not None:
                left = max(0.0, machine.ends_at - trio.current_time())
                words = lifetime_words(machine.lifetime)
                elapsed = duration(trio.current_time() - begins_at)
                self._write(f"  {elapsed}: {words}; at most {duration(left)} to go (Ctrl-C ends it)")

    def _handle(self, event: LifetimeEvent) -> None:
        if isinstance(event, LifetimeMeasured) and event.problem is not None:
            self._clear_line()
            self._console.print(f"A binding's lifetime can't be measured: {event.problem.value}.")
        elif not sys.stderr.isatty():
            self._console.print(f"  A binding lives {lifetime_words(event.lifetime)}.")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    def _clear_line(self) -> None:
        if sys.stderr.isatty():
            self._write("")
