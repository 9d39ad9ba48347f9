"""The command `p2ptun`: finds the verb, runs it, and turns what went wrong into one sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from enum import IntEnum

import click

from p2ptun import __version__
from p2ptun.cli.loading import loading
from p2ptun.cli.text import print_error
from p2ptun.errors import ConfigError, NotMet, P2ptunError, PrivilegeError, RendezvousError, WrongCode

VERBS = {
    "share": "p2ptun.cli.adhoc:share",
    "join": "p2ptun.cli.adhoc:join",
    "pair": "p2ptun.cli.pair:pair",
    "daemon": "p2ptun.cli.daemon:daemon",
    "serve": "p2ptun.cli.serve:serve",
    "status": "p2ptun.cli.status:status",
    "check": "p2ptun.cli.daemon:check",
    "genkey": "p2ptun.cli.key:genkey",
    "pubkey": "p2ptun.cli.key:pubkey",
    "genpsk": "p2ptun.cli.key:genpsk",
    "genturn": "p2ptun.cli.genturn:genturn",
    "netcheck": "p2ptun.cli.netcheck:netcheck",
}


HIGHEST_STANDARD_DESCRIPTOR = 2


class ExitCode(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WRONG_CODE = 4
    NO_PERMISSION = 77
    BAD_CONFIG = 78


class Verbs(click.Group):
    """Imports a verb's module only when that verb is asked for, so that `p2ptun genkey` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order of the help text."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb; None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        module, name = VERBS[cmd_name].split(":")
        with loading():
            command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name]} is no command")
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="p2ptun")
def cli() -> None:
    """Join two machines behind NATs with an encrypted tunnel.

    On one machine run `p2ptun share`, on the other `p2ptun join`.
    """


def exit_code(error: P2ptunError) -> ExitCode:
    """Tell which exit code an error deserves."""
    match error:
        case PrivilegeError():
            return ExitCode.NO_PERMISSION
        case WrongCode():
            return ExitCode.WRONG_CODE
        case NotMet():
            return ExitCode.FAILED
        case ConfigError(where="") | RendezvousError():
            return ExitCode.USAGE
        case ConfigError():
            return ExitCode.BAD_CONFIG
        case _:
            return ExitCode.FAILED


def main() -> None:
    """Run `p2ptun` as the shell called it and exit."""
    try:
        _claim_standard_descriptors()
        code = cli.main(prog_name="p2ptun", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except click.Abort:
        code = ExitCode.FAILED
    except P2ptunError as error:
        print_error(error)
        code = exit_code(error)
    except BrokenPipeError:
        code = ExitCode.FAILED
    _settle_stdout()
    sys.exit(int(code or ExitCode.OK))


def _claim_standard_descriptors() -> None:
    """Give closed ones of the descriptors 0 to 2 to /dev/null: else the next socket would be our stdout.

    Raises:
        P2ptunError: If stdout is closed, for what was asked for would be lost.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= HIGHEST_STANDARD_DESCRIPTOR:
        pass
    os.close(descriptor)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 (open to the end, as any stderr)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 (likewise)
    if sys.stdout is None:
        raise P2ptunError("Standard output is closed.", "Leave it open, or send it to a file.")


def _settle_stdout() -> None:
    """Write what is left; when nobody takes it, spare the interpreter from finding that out once more at its exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
