"""The command as a whole: help, exit codes, errors in a sentence, and what starting it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from p2ptun import __version__
from p2ptun.cli import main as main_module
from p2ptun.cli.main import VERBS, ExitCode, cli, exit_code, main
from p2ptun.errors import (
    ConfigError,
    DeviceError,
    LocalProtocolError,
    P2ptunError,
    PrivilegeError,
    RendezvousEnded,
    RendezvousError,
    WrongCode,
)

from .material import p2ptun


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_every_verb_has_help(verb: str | None) -> None:
    done = CliRunner().invoke(cli, [verb, "--help"] if verb else ["-h"])
    assert done.exit_code == 0
    assert "Usage: " in done.output
    command = cli if verb is None else cli.get_command(click.Context(cli), verb)
    assert command is not None
    assert (command.help or "").split("\n")[0][:20] in done.output
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_no_verb_is_cut_short_in_the_list() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 80


def test_the_interpreter_runs_it_as_well() -> None:
    command = [sys.executable, "-m", "p2ptun", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == f"p2ptun, version {__version__}\n"


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"p2ptun, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["share", "--nonsense"], ["share", "--mtu", "1"], ["status", "a", "b"]]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = p2ptun(*arguments)
    assert done.returncode == 2
    assert b"Usage:" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PrivilegeError("x"), 77),
        (DeviceError("x"), 1),
        (ConfigError("", "--x", "bad"), 2),
        (ConfigError("/etc/p2ptun/home.toml", "mtu", "bad"), 78),
        (RendezvousError("x"), 2),
        (RendezvousEnded("x"), 2),
        (WrongCode("x"), 4),
        (LocalProtocolError("x"), 1),
        (P2ptunError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: P2ptunError, code: int) -> None:
    assert exit_code(error) == code


def run_with(monkeypatch: pytest.MonkeyPatch, outcome: object) -> int:
    """Let the verb raise or return something; return what the shell is told."""

    def verb(**_: object) -> object:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(main_module.cli, "main", verb)
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(None, 0), (0, 0), (1, 1), (click.Abort(), 1), (click.UsageError("x"), 2), (DeviceError("x"), 1)],
)
def test_what_a_verb_says_reaches_the_shell(monkeypatch: pytest.MonkeyPatch, outcome: object, code: int) -> None:
    assert run_with(monkeypatch, outcome) == code


def test_an_error_is_a_sentence_and_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "gone\x1b[31m \u202eevil\u202c [bold]x[/] \\ \n\x07"
    assert run_with(monkeypatch, DeviceError(evil, f"Do {evil}")) == ExitCode.FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "p2ptun: gone[31m evil [bold]x[/] \\ \n  Do gone[31m evil [bold]x[/] \\ \n"


def test_an_error_without_a_remedy_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with(monkeypatch, DeviceError("Gone."))
    assert capsys.readouterr().err == "p2ptun: Gone.\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module.cli, "main", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()


def test_a_table_entry_that_is_no_command_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "odd", "p2ptun.cli.main:ExitCode")
    with pytest.raises(TypeError, match="is no command"):
        cli.get_command(click.Context(cli), "odd")


def loaded(*arguments: str, stdin: bytes = b"") -> set[str]:
    """Tell which modules a verb imports."""
    prelude = "import atexit, json; atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))"
    done = p2ptun(*arguments, stdin=stdin, prelude=prelude, P2PTUN_RUNTIME_DIRECTORY="/nonexistent")
    return set(json.loads(done.stderr.splitlines()[-1]))


HEAVY = {"trio", "pyroute2", "dns", "pytun", "asyncio", "ssl", "httpx", "msgspec", "rich.live", "rich.progress"}


@pytest.mark.parametrize("verb", ["genkey", "genpsk", "pubkey"])
def test_a_key_costs_no_network_and_no_loop(verb: str) -> None:
    modules = loaded(verb, stdin=b"A" * 43 + b"=\n")
    assert not HEAVY & modules
    assert len(modules) < 260, sorted(modules)
    ours = {name for name in modules if name.startswith("p2ptun.")}
    assert not {"p2ptun.daemon", "p2ptun.io", "p2ptun.node", "p2ptun.ice"} & ours


def test_status_costs_no_netlink_and_no_dns() -> None:
    assert not {"pyroute2", "dns", "pytun"} & loaded("status")


NO_CODE = ["join", "--rendezvous", "https://rv.example.net", "42-amber"]


@pytest.mark.parametrize("arguments", [["share", "--help"], NO_CODE, ["share", "--mtu", "1"]])
def test_help_and_mistakes_cost_no_tunnel(arguments: list[str]) -> None:
    """Who asks, or mistypes a code, is answered before anything is loaded that a tunnel is made of."""
    modules = loaded(*arguments)
    assert not {"trio", "pyroute2", "dns", "httpx", "segno", "readline", "p2ptun.node.node"} & modules


def test_paste_costs_no_http_and_no_qr() -> None:
    assert not {"httpx", "segno", "readline", "spake2"} & loaded("join", "--name", "sixteen-letters-")


@pytest.mark.parametrize("closed", ["0", "2", "0, 2"])
def test_closed_descriptors_are_no_traceback(closed: str) -> None:
    shell = f"for descriptor in ({closed},): os.close(descriptor)"
    done = p2ptun("genkey", prelude=f"import os\n{shell}\nsys.stdin = sys.stderr = None")
    assert done.returncode == 0
    assert len(done.stdout) == 45


def test_a_closed_stdout_is_told() -> None:
    done = p2ptun("genkey", prelude="import os; os.close(1); sys.stdout = None")
    assert done.returncode == 1
    assert b"Standard output is closed." in done.stderr
    assert b"Traceback" not in done.stderr
