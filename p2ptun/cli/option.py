"""What commands with many options have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from p2ptun.errors import ConfigError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ParsedT = TypeVar("ParsedT")

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What `click.option` gives."""


def with_options(options: Sequence[Decorator]) -> Callable[[CommandT], CommandT]:
    """Give a command these options; help lists them in this order."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(options):
            option(command)  # which it only marks
        return command

    return decorate


def parse(parser: Callable[[str], ParsedT], option: str, text: str, example: str) -> ParsedT:
    """Read what `option` was given.

    Raises:
        ConfigError: `parser` raised ValueError; the remedy is `example`.
    """
    try:
        return parser(text)
    except ValueError as error:
        raise ConfigError("", option, str(error), f"Write it as in {example}") from error
