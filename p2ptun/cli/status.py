"""`p2ptun status`: one line per peer, or the document as JSON."""

from __future__ import annotations

import json

import click
import msgspec
import trio
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from p2ptun.cli.text import duration, milliseconds, size, talk_console
from p2ptun.daemon.control import ask, running_tunnels
from p2ptun.daemon.status import InterfaceStatus, PathStatus, PeerStatus, Status
from p2ptun.errors import DeviceError, NotRunning, PrivilegeError
from p2ptun.signal.text import printable

STATES = {
    "connected": ("active", "green"),
    "idle": ("idle", "green"),
    "connecting": ("connecting", "yellow"),
    "suspect": ("suspect", "yellow"),
    "failed": ("failed", "red"),
}
"""How a state is called on the screen, and its colour."""

NO_ADDRESS = "no address yet"


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a tunnel.")
def status(name: str | None, as_json: bool) -> int:
    """Show the tunnels that run here, or the one called NAME."""
    documents = trio.run(_ask_all, name)
    if as_json:
        for document in documents:
            click.echo(json.dumps(json.loads(document), indent=2) if len(documents) == 1 else document.decode())
        return 0 if documents else 1
    if not documents:
        talk_console().print("No tunnel runs here. Start one: p2ptun share")
        return 1
    for document in documents:
        render(msgspec.json.decode(document, type=Status))
    return 0


def render(status: Status) -> None:
    """Print one tunnel, a line for this machine and one per peer."""
    console = Console(highlight=False, soft_wrap=True)
    rows = [_own_parts(status.interface), *(_peer_parts(peer) for peer in status.peers)]
    address_width = max(len(row[0]) for row in rows)
    name_width = max((len(row[1]) for row in rows[1:]), default=0)
    for row in rows:
        _print_line(console, [f"{row[0]:{address_width}}", f"{row[1]:{name_width}}", *row[2:]])
    for health in status.health:
        console.print(f"[yellow]{escape(printable(health.message))}[/]  {escape(printable(health.remedy))}")


def _own_parts(here: InterfaceStatus) -> list[str]:
    first, *others = [address.split("/")[0] for address in here.addresses] or [NO_ADDRESS]
    own = [first, f"{here.name} (this machine)", f"up {duration(here.uptime_s)}"]
    return [*own, f"key {here.public_key[:4]}...=", f"mtu {here.mtu}", *others]


def _peer_parts(peer: PeerStatus) -> list[str]:
    address = peer.allowed_ips[0].split("/")[0] if peer.allowed_ips else NO_ADDRESS
    parts = [address, escape(printable(peer.name)), _state(peer)]
    if peer.path is not None:
        parts.append(milliseconds(peer.path.rtt_ms))
    if peer.standby_path is not None:
        parts.append(f"standby {_path(peer.standby_path)}")
    if peer.last_handshake_s is not None:
        parts.append(f"handshake {duration(peer.last_handshake_s)} ago")
    parts.append(f"tx {size(peer.tx_bytes)} rx {size(peer.rx_bytes)}")
    return parts


def _state(peer: PeerStatus) -> str:
    word, style = STATES.get(peer.state, (escape(printable(peer.state)), "white"))
    text = f"[{style}]{word}[/]"
    if peer.reason:
        text += f"; {escape(printable(peer.reason))}"
    if peer.path is None:
        return text
    return f"{text}; {_path(peer.path)}"


def _path(path: PathStatus) -> str:
    if path.server is not None:
        return f"{path.kind} {escape(printable(path.server))} ({path.server_transport})"
    return f"{path.kind} {escape(str(path.remote))} ({path.local.type}/{path.remote.type})"


def _print_line(console: Console, parts: list[str]) -> None:
    """Print parts as one line; on a terminal that is too narrow for it, break it between parts."""
    line = parts[0]
    for part in parts[1:]:
        if console.is_terminal and Text.from_markup(f"{line}  {part}").cell_len > console.width:
            console.print(line)
            line = f"    {part}"
        else:
            line += f"  {part}"
    console.print(line)


async def _ask_all(name: str | None) -> list[bytes]:
    """Ask one tunnel, or all that run; those whose process is gone are passed over when none was named.

    Raises:
        DeviceError: If there are some, but none that answers, or (PrivilegeError) that this user may ask.
    """
    if name is not None:
        return [await ask(name, "status")]
    documents: list[bytes] = []
    refusals: list[DeviceError] = []
    for running in running_tunnels():
        try:
            documents.append(await ask(running, "status"))
        except NotRunning:
            continue
        except DeviceError as error:
            refusals.append(error)
    if refusals and not documents:
        raise refusals[0]
    for refusal in refusals:
        if not isinstance(refusal, PrivilegeError):
            talk_console().print(f"[dim]{escape(f'{refusal} {refusal.remedy}')}[/]")
    return documents
