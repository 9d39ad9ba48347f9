"""Options that commands share the handling of."""

from __future__ import annotations

from ipaddress import ip_address

import click
import pytest
from click.testing import CliRunner

from p2ptun.cli.option import parse, with_options
from p2ptun.errors import ConfigError


def test_options_stand_in_the_order_of_their_list() -> None:
    @click.command()
    @with_options([click.option("--first", default="1"), click.option("--second", default="2")])
    def command(**options: str) -> None:
        click.echo(options["first"] + options["second"])

    assert [parameter.name for parameter in command.params] == ["first", "second"]
    assert CliRunner().invoke(command, ["--second", "3"]).output == "13\n"


def test_what_cannot_be_read_names_the_option_and_an_example() -> None:
    assert parse(ip_address, "--address", "192.0.2.1", "192.0.2.7") == ip_address("192.0.2.1")
    with pytest.raises(ConfigError, match=r"192\.0\.2") as caught:
        parse(ip_address, "--address", "192.0.2.999", "192.0.2.7")
    assert caught.value.key == "--address"
    assert caught.value.remedy == "Write it as in 192.0.2.7"
