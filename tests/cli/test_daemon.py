"""`p2ptun daemon` and `p2ptun check`: every mistake is one sentence, before anything is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2ptun.cli import daemon
from p2ptun.cli.main import cli, exit_code
from p2ptun.daemon.config import TunnelConfig
from p2ptun.errors import ConfigError, P2ptunError
from tests.daemon.test_config_text import PINNED, write

BAD_CONFIG = 78


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[TunnelConfig]:
    """What would have been run."""
    kept: list[TunnelConfig] = []
    monkeypatch.setattr(daemon, "_carry", lambda config, view: kept.append(config))
    monkeypatch.delenv("P2PTUN_RENDEZVOUS", raising=False)
    return kept


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False, env=environment)


def code_of(done: Result) -> int:
    assert isinstance(done.exception, P2ptunError), done
    return int(exit_code(done.exception))


def test_a_tunnel_is_run_by_its_name(tmp_path: Path, carried: list[TunnelConfig]) -> None:
    write(tmp_path, PINNED)
    assert invoke("daemon", "home", "--directory", str(tmp_path)).return_value == 0
    assert [(config.name, config.rendezvous) for config in carried] == [("home", PINNED.urls)]


def test_options_beat_the_environment_and_that_the_file(tmp_path: Path, carried: list[TunnelConfig]) -> None:
    write(tmp_path, PINNED)
    one, other = "https://one.example.net", "https://other.example.net"
    invoke("daemon", "home", "--directory", str(tmp_path), P2PTUN_RENDEZVOUS=f"{one} {other}")
    invoke("daemon", "home", "--directory", str(tmp_path), "--rendezvous", other, P2PTUN_RENDEZVOUS=one)
    assert [config.rendezvous for config in carried] == [(one, other), (other,)]


def test_people_carry_nothing_for_a_daemon(tmp_path: Path, carried: list[TunnelConfig]) -> None:
    write(tmp_path, PINNED)
    done = invoke("daemon", "home", "--directory", str(tmp_path), "--rendezvous", "paste")
    assert isinstance(done.exception, ConfigError)
    assert done.exception.key == "--rendezvous"
    assert carried == []


def test_a_tunnel_without_a_file_can_be_had(tmp_path: Path, carried: list[TunnelConfig]) -> None:
    done = invoke("daemon", "home", "--directory", str(tmp_path))
    assert code_of(done) == BAD_CONFIG
    assert isinstance(done.exception, ConfigError)
    assert done.exception.remedy == "Make one: p2ptun pair home"


@pytest.mark.parametrize("verb", ["daemon", "check"])
def test_a_bad_file_is_one_for_the_service_manager_to_leave_alone(
    tmp_path: Path, carried: list[TunnelConfig], verb: str
) -> None:
    path = write(tmp_path, PINNED)
    path.write_text(path.read_text().replace("address =", "adress ="))
    arguments = ["home", "--directory", str(tmp_path)] if verb == "daemon" else [str(path)]
    done = invoke(verb, *arguments)
    assert code_of(done) == BAD_CONFIG
    assert str(done.exception) == f"{path}: interface.adress: this key is unknown."
    assert carried == []


def test_with_json_mistakes_are_events_as_well(tmp_path: Path, carried: list[TunnelConfig]) -> None:
    done = invoke("daemon", "home", "--directory", str(tmp_path), "--json")
    (line,) = done.stdout.splitlines()
    event: dict[str, Any] = json.loads(line)
    assert (event["event"], event["remedy"]) == ("error", "Make one: p2ptun pair home")


def test_a_good_file_is_called_good(tmp_path: Path) -> None:
    path = write(tmp_path, PINNED)
    done = invoke("check", str(path))
    assert (done.return_value, done.stdout) == (0, f"{path}: a tunnel home to nas. All is well.\n")


def test_what_can_not_name_an_interface_names_no_tunnel(carried: list[TunnelConfig]) -> None:
    done = invoke("daemon", "../x")
    assert isinstance(done.exception, ConfigError)
    assert done.exception.key == "NAME"
