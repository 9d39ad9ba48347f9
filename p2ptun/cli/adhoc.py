"""`p2ptun share` and `p2ptun join`: a tunnel for as long as the command runs."""

from __future__ import annotations

import importlib
import os
import sys
import termios
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.cli.address_options import ADDRESS, ROUTE, offered_networks, own_addresses
from p2ptun.cli.loading import loading
from p2ptun.cli.option import with_options
from p2ptun.cli.prompt import ask_code
from p2ptun.cli.relay_options import authorities, relay_credentials, relays
from p2ptun.cli.rendezvous_options import CODE_FILE, QR, RENDEZVOUS, VERIFY, Places, find_code, find_places
from p2ptun.cli.talk import JsonView, Story, View
from p2ptun.daemon.event import ErrorEvent
from p2ptun.daemon.options import MAX_MTU, MIN_MTU, AdhocOptions, Side
from p2ptun.daemon.outcome import Outcome
from p2ptun.daemon.secret import hide_memory, read_secret
from p2ptun.errors import ConfigError, P2ptunError
from p2ptun.ice.config import PathPolicy
from p2ptun.signal.code import Code
from p2ptun.stun.uri import Scheme, StunUri, parse_uri
from p2ptun.tunnel.config import MIN_REKEY_INTERVAL
from p2ptun.tunnel.timing import REKEY_INTERVAL
from p2ptun.types import Transport

EXIT_CODES = {Outcome.STOPPED: 0, Outcome.PEER_CLOSED: 0, Outcome.FAILED: 1, Outcome.TIMED_OUT: 1}

OPTIONS = [
    RENDEZVOUS,
    click.option("--name", metavar="IFNAME", help="Name of the interface.  [default: first free p2ptunN]"),
    ADDRESS,
    ROUTE,
    click.option("--stun", metavar="URI", multiple=True, envvar="P2PTUN_STUN",
                 help="STUN server that tells this side's public address (stun:host[:port]); may be repeated; also "
                 "$P2PTUN_STUN."),
    click.option("--turn", metavar="URI", multiple=True, envvar="P2PTUN_TURN",
                 help="Relay for when nothing direct works (turn:host[:port][?transport=tcp], or turns: for TLS); may "
                 "be repeated; also $P2PTUN_TURN."),
    click.option("--turn-credentials", type=click.Path(path_type=Path, dir_okay=False),
                 help="File with the relays' username and password, or their shared secret (`p2ptun genturn`); else "
                 "$P2PTUN_TURN_USERNAME and $P2PTUN_TURN_PASSWORD."),
    click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False),
                 help="Certificates (PEM) to trust for relays and rendezvous over TLS, besides this machine's own."),
    click.option("--path", "policy", type=click.Choice([each.value for each in PathPolicy]),
                 default=PathPolicy.ANY.value, show_default=True,
                 help="Paths that traffic may take: `direct` asks no relay, `relay` hides this machine's addresses "
                 "from the other side."),
    click.option("--mdns", is_flag=True,
                 help="Hide this machine's addresses behind .local names, which only its own network can resolve."),
    click.option("--no-port-mapping", is_flag=True,
                 help="Don't ask the router to forward this tunnel's ports (PCP, NAT-PMP)."),
    click.option("--no-hard-nat", is_flag=True,
                 help="Don't search for ports where the NATs let no direct path come up by itself."),
    click.option("--psk-file", type=click.Path(path_type=Path, dir_okay=False),
                 help="File with a pre-shared key (`p2ptun genpsk`), the same on both sides."),
    click.option("--mtu", type=click.IntRange(MIN_MTU, MAX_MTU),
                 help="MTU of the interface.  [default: fits 1500 below]"),
    click.option("--aead", type=click.Choice(["auto", *(each.value for each in Algorithm)]), default="auto",
                 show_default=True, help="Cipher to offer."),
    click.option("--rekey-interval", metavar="S", type=click.FloatRange(MIN_REKEY_INTERVAL, 86400),
                 default=REKEY_INTERVAL, show_default=True, help="Change keys after so many seconds of use."),
    click.option("--timeout", metavar="S", type=click.FloatRange(min=0, min_open=True),
                 help="Give up after so many seconds without a connection, at the start or later.  [default: wait]"),
    VERIFY,
    QR,
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines on stdout."),
]  # fmt: skip


@click.command(short_help="Start a tunnel: prints a code, waits for the other side.")
@with_options(OPTIONS)
def share(**options: object) -> int:
    """Start a tunnel: prints what the other side's `join` wants, waits for it, stays in the foreground.

    That is a code where the two sides meet at a rendezvous, else a line to paste, which another answers.
    """
    return _run(Side.SHARE, options)


@click.command(short_help="Join a tunnel: takes the other side's code.")
@click.argument("code", required=False)
@with_options([CODE_FILE, *OPTIONS])
def join(**options: object) -> int:
    """Join a tunnel by the CODE that the other side's `share` has printed; stay in the foreground.

    Without CODE it is asked for, unless it is in a --code-file or $P2PTUN_CODE. Where people carry lines, it asks for
    the other side's line and prints the answer.
    """
    return _run(Side.JOIN, options)


def _run(side: Side, options: dict[str, Any]) -> int:
    as_json, draws_qr = options.pop("as_json"), options.pop("draws_qr")
    view: View = JsonView(side.kind) if as_json else Story(side.kind, draws_qr)
    hide_memory()
    try:
        if as_json and draws_qr:
            raise ConfigError("", "--qr", "with --json nobody looks at it", "Leave out one of the two.")
        places = find_places(options.pop("rendezvous"), os.environ)
        view.meet_at(places)
        return EXIT_CODES[_carry(_wishes(side, options, places), side, view)]
    except P2ptunError as error:
        if as_json:
            view.show(ErrorEvent(str(error), error.remedy))
        raise
    except KeyboardInterrupt:  # before there was a tunnel, which takes it for a signal like others
        return EXIT_CODES[Outcome.STOPPED]
    finally:
        view.close()
        _forget_typed_ahead()


def _carry(wishes: AdhocOptions, side: Side, view: View) -> Outcome:
    """Run the tunnel. What it is made of is imported here: help and mistakes do without."""
    with loading():
        import trio

        from p2ptun.daemon.adhoc import AdhocTunnel

    tunnel = AdhocTunnel(wishes, side, view.show_blob, view.show)
    return trio.run(tunnel.run, strict_exception_groups=True)


def _wishes(side: Side, options: dict[str, Any], places: Places) -> AdhocOptions:
    """Check what was asked for, and at last find out the code. Raises P2ptunError, as `ask_code` does."""
    code = None
    if side is Side.JOIN:
        code = find_code(options.pop("code"), options.pop("code_file"), os.environ, places)
    verifies = options.pop("verifies")
    if verifies and not places.have_rooms:
        problem = "only who meets by a code has words to compare"
        raise ConfigError("", "--verify", problem, "Meet by a code with --rendezvous, or use --psk-file on both sides.")
    wishes = _options(places, **options)
    if side is Side.JOIN and code is None and places.have_rooms:
        code = _ask_code()
    return replace(wishes, rendezvous=places.texts, code=code, verifies=verifies)


def _ask_code() -> Code:
    """Ask for the code, and let the tunnel's modules load while a person types."""
    threading.Thread(target=importlib.import_module, args=["p2ptun.daemon.adhoc"]).start()
    return ask_code()


def _forget_typed_ahead() -> None:
    """Throw away what was typed while the tunnel ran: else the shell would take a pasted line for a command."""
    if sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _options(
    places: Places,
    name: str | None,
    addresses: Sequence[str],
    routes: Sequence[str],
    stun: Sequence[str],
    turn: Sequence[str],
    turn_credentials: Path | None,
    ca_file: Path | None,
    policy: str,
    mdns: bool,
    no_port_mapping: bool,
    no_hard_nat: bool,
    psk_file: Path | None,
    mtu: int | None,
    aead: str,
    rekey_interval: float,
    timeout: float | None,
) -> AdhocOptions:
    """Check the options and build what the tunnel takes. Raises ConfigError: option, problem and remedy."""
    return AdhocOptions(
        name=name,
        addresses=own_addresses(addresses),
        routes=offered_networks(routes),
        stun=tuple(_stun_server(each) for each in stun),
        turn=relays(turn, PathPolicy(policy), are_offered=places.have_rooms),
        turn_credentials=relay_credentials(turn_credentials, turn),
        ca_file=authorities(ca_file),
        path_policy=PathPolicy(policy),
        hides_addresses=mdns,
        maps_ports=not no_port_mapping,
        hard_nat=not no_hard_nat,
        psk=read_secret(psk_file, "--psk-file") if psk_file else None,
        mtu=mtu,
        algorithms=_algorithms(aead),
        rekey_interval=rekey_interval,
        timeout=timeout,
        is_interactive=sys.stdin.isatty(),
    )


def _stun_server(text: str) -> StunUri:
    """Read a server that is asked over UDP: over anything else it would see another socket than the tunnel's.

    Raises:
        ConfigError: If it is no such server.
    """
    try:
        uri = parse_uri(text, key="--stun")
    except ConfigError as error:
        remedy = error.remedy if text.lower().startswith("stun:") else "Write stun:HOST or stun:HOST:PORT."
        raise ConfigError("", error.key, error.problem, remedy) from error
    if uri.scheme.is_turn:
        raise ConfigError("", "--stun", f"{uri} names a relay", f"Write --turn {uri}")
    if uri.scheme is not Scheme.STUN or uri.transport not in (None, Transport.UDP):
        problem = f"{uri} isn't asked over UDP, and only that shows the tunnel's socket from outside"
        raise ConfigError("", "--stun", problem, f"Write stun:{uri.host}")
    return uri


def _algorithms(aead: str) -> tuple[Algorithm, ...]:
    """List what this side offers, the preferred first.

    Raises:
        ConfigError: If this machine can't run the one that was asked for.
    """
    if aead == "auto":
        return available_algorithms()
    if not Algorithm(aead).is_available:
        names = ", ".join(each.value for each in Algorithm if each.is_available)
        raise ConfigError("", "--aead", f"{aead} doesn't run on this machine's processor", f"Choose from: {names}")
    return (Algorithm(aead),)
