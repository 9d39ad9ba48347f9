"""How a network check looks on a terminal, and on a pipe."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from p2ptun.cli.text import duration, milliseconds
from p2ptun.daemon.netcheck_document import NatDocument, NetcheckDocument, ServerDocument, WayDocument
from p2ptun.nat.behavior import Filtering, Lifetime, Mapping
from p2ptun.signal.text import printable

FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}
TRANSPORTS = ("udp", "tcp", "tls")
UNKNOWN = "[dim]unknown[/]"
NARROW = 100  # columns; wider than that, lines are hard to read


def render(document: NetcheckDocument) -> None:
    """Print all of it."""
    console = Console(highlight=False)
    console.width = min(console.width, NARROW)
    with console.capture() as capture:
        _print_addresses(console, document)
        for nat in document.nat:
            _print_nat(console, nat)
        _print_servers(console, document.servers)
        for warning in document.warnings:
            console.print()
            console.print(f"[yellow]{escape(printable(warning.message))}[/]")
            console.print(_indented(warning.remedy))
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()), color=console.is_terminal)


def render_lifetime(lifetime: Lifetime | None) -> None:
    """Print how long a binding lives."""
    console = Console(highlight=False)
    console.print(f"\n[bold]Lifetime of an idle binding[/]: {lifetime_words(lifetime)}")


def lifetime_words(lifetime: Lifetime | None) -> str:
    """Say how long a binding lives."""
    if lifetime is None:
        return "not known yet"
    if lifetime.at_most is None:
        return f"more than {duration(lifetime.at_least)}"
    if not lifetime.at_least:
        return f"less than {duration(lifetime.at_most)}"
    return f"between {duration(lifetime.at_least)} and {duration(lifetime.at_most)}"


def _indented(sentence: str) -> Padding:
    return Padding(escape(printable(sentence)), (0, 0, 0, 2))


def _table() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)


def _print_addresses(console: Console, document: NetcheckDocument) -> None:
    console.print("[bold]This machine[/]")
    public = {nat.local: nat for nat in document.nat}
    table = _table()
    for each in document.addresses:
        nat = public.get(each.address)
        seen = "" if nat is None else _seen(nat)
        table.add_row(f"  {escape(each.address)}", escape(printable(each.interface)), seen)
    console.print(table)


def _seen(nat: NatDocument) -> str:
    if not nat.public:
        return "[yellow]no server saw it[/]"
    if nat.has_nat is False:
        return "is its public address"
    return f"is seen as {escape(', '.join(nat.public))}"


def _print_nat(console: Console, nat: NatDocument) -> None:
    if not nat.public:
        return
    what = "NAT" if nat.has_nat else "Firewall"
    console.print(f"\n[bold]{what} for {FAMILIES[nat.family]}[/]")
    table = _table()
    table.add_column(no_wrap=True)
    table.add_column()
    for name, words in _behavior_rows(nat):
        table.add_row(f"  {name}", words)
    console.print(table)
    for sentence in nat.meaning:
        console.print(_indented(sentence))


def _behavior_rows(nat: NatDocument) -> Iterable[tuple[str, str]]:
    if nat.has_nat:
        yield "mapping", _termed(nat.mapping, Mapping)
    yield "filtering", _termed(nat.filtering, Filtering)
    if nat.has_nat:
        yield "ports", _ports(nat)
        yield "hairpinning", _yes_no(nat.hairpins, "inside reaches inside at public addresses", "no")
    yield "fragments", _fragments(nat)
    if nat.lifetime is not None:
        yield "lifetime", lifetime_words(Lifetime(nat.lifetime.at_least_s, nat.lifetime.at_most_s))


def _termed(value: str | None, kind: type[Mapping] | type[Filtering]) -> str:
    return UNKNOWN if value is None else f"{kind(value).meaning} [dim]({value})[/]"


def _ports(nat: NatDocument) -> str:
    if nat.ports is None:
        return _yes_no(nat.preserves_port, "kept as inside where they are free", "others than inside")
    if nat.ports.allocation == "preserving":
        return "kept as inside where they are free"
    if nat.ports.delta is not None:
        mostly = "" if nat.ports.is_consistent else "mostly "
        return f"others than inside, one after the other ({mostly}in steps of {nat.ports.delta})"
    return "others than inside, at random"


def _fragments(nat: NatDocument) -> str:
    out, back = nat.sends_fragments, nat.receives_fragments
    if out is None:
        return UNKNOWN
    if not out:
        return "don't get out"
    return _yes_no(back, "pass both ways", "get out, but not in") if back is not None else "get out; inwards unknown"


def _yes_no(value: bool | None, yes: str, no: str) -> str:
    return UNKNOWN if value is None else yes if value else no


def _print_servers(console: Console, servers: Iterable[ServerDocument]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Servers", overflow="fold")
    for transport in TRANSPORTS:
        table.add_column(transport.upper(), justify="right", no_wrap=True)
    table.add_column("")
    for server in servers:
        for version in sorted({_version(way) for way in server.ways}) or [0]:
            ways = [way for way in server.ways if _version(way) == version]
            cells = [_cell([way for way in ways if way.transport == transport]) for transport in TRANSPORTS]
            family = f" [dim]IPv{version}[/]" if version else ""
            table.add_row(f"  {escape(printable(server.uri))}{family}", *cells, _remark(server))
    console.print()
    console.print(table)


def _version(way: WayDocument) -> int:
    return 6 if ":" in way.address else 4


def _cell(ways: list[WayDocument]) -> str:
    if not ways:
        return "[dim]-[/]"
    times = [way.time_ms for way in ways if way.time_ms is not None]
    return f"[green]{milliseconds(min(times))}[/]" if times else "[red]no[/]"


def _remark(server: ServerDocument) -> str:
    if server.relay is not None and server.relay.works:
        return f"relays ({milliseconds(server.relay.time_ms)})"
    if server.relay is not None:
        return "[red]gives no address[/]"
    if server.uri.startswith("turn"):
        return "[dim]no credentials[/]"
    return "two addresses" if server.has_second_address else ""
