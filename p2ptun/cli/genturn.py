"""Credentials for a relay through a pipe: `p2ptun genturn < SECRET > FILE`, the file for `--turn-credentials`."""

from __future__ import annotations

import sys
import time

import click

from p2ptun.cli.key import print_secret
from p2ptun.cli.text import talk_console
from p2ptun.daemon.secret import MAX_SIZE
from p2ptun.daemon.turn_credentials import DEFAULT_TTL, MAX_TTL, MIN_TTL, SharedSecret, TurnCredentials
from p2ptun.errors import ConfigError
from p2ptun.stun.codec import USERNAME_LIMIT


@click.command(short_help="Make a user name and a password of a relay's secret.")
@click.option(
    "--ttl",
    metavar="S",
    type=click.IntRange(MIN_TTL, MAX_TTL),
    default=DEFAULT_TTL,
    show_default=True,
    help="Let the user name be good for so many seconds.",
)
@click.option("--label", default="", help="Whom the relay's log shall name.")  # fmt: skip
def genturn(ttl: int, label: str) -> None:
    """Read a relay's shared secret from stdin and print a user name and password made of it."""
    if sys.stdin.isatty():
        talk_console().print("Paste the secret that the relay shares, then press Enter:")
    text = sys.stdin.buffer.readline(MAX_SIZE).decode("utf-8", "replace").strip()
    if not text or "\ufffd" in text:
        raise ConfigError(
            "", "stdin", "there is no secret, or it is no text", "Pipe one in: p2ptun genturn < SECRET > FILE"
        )
    try:
        credential = TurnCredentials(SharedSecret(text, label, ttl)).issue(time.time()).credential
    except ConfigError as error:
        raise ConfigError("", "--label", error.problem, error.remedy) from error
    if len(credential.username.encode()) > USERNAME_LIMIT:
        problem = f"it makes a user name of more than {USERNAME_LIMIT} bytes"
        raise ConfigError("", "--label", problem, "Take a shorter one.")
    print_secret(f"username = {_quoted(credential.username)}\npassword = {_quoted(credential.password)}")


def _quoted(text: str) -> str:
    """Write a string of TOML, whatever is in it (TOML 1.0, Basic String)."""
    escaped = (each if each.isprintable() and each not in '"\\' else f"\\U{ord(each):08x}" for each in text)
    return f'"{"".join(escaped)}"'
