"""Keys through pipes, as with `wg`: `p2ptun genkey | tee private.key | p2ptun pubkey > public.key`."""

from __future__ import annotations

import os
import stat
import sys

import click

from p2ptun.cli.text import talk_console
from p2ptun.errors import ConfigError
from p2ptun.noise.handshake import PSK_SIZE
from p2ptun.noise.keypair import KeyPair, decode_key, encode_key

MAX_KEY_TEXT = 1024


@click.command()
def genkey() -> None:
    """Print a new private key."""
    print_secret(encode_key(KeyPair.generate(os.urandom).private))


@click.command()
def pubkey() -> None:
    """Read a private key from stdin and print its public key."""
    if sys.stdin.isatty():
        talk_console().print("Paste the private key, then press Enter:")
    text = sys.stdin.buffer.readline(MAX_KEY_TEXT).decode("ascii", "replace").strip()
    if not text:
        raise ConfigError("", "stdin", "there is no private key", "Pipe one in: p2ptun genkey | p2ptun pubkey")
    click.echo(encode_key(KeyPair.of_private(decode_key(text)).public))


@click.command()
def genpsk() -> None:
    """Print a new pre-shared key, for `--psk-file` on both sides."""
    print_secret(encode_key(os.urandom(PSK_SIZE)))


def print_secret(text: str) -> None:
    """Print a secret; warn when it lands in a file that others can read."""
    mode = os.fstat(sys.stdout.fileno()).st_mode
    if stat.S_ISREG(mode) and mode & 0o077:
        talk_console().print("[yellow]warning:[/] others can read that file; set `umask 077` before, or chmod 600 it")
    click.echo(text)
