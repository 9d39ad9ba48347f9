"""Reading TOML that people write: whatever is wrong is told with file and key, and an unknown key with the nearest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from p2ptun.errors import ConfigError

FormT = TypeVar("FormT", bound=msgspec.Struct)

MAX_SIZE = 1 << 20  # bytes: thousands of peers

_PLACE = re.compile(r" - at `\$\.?(?P<key>.*)`$")
_QUOTED = re.compile(r"`([^`]*)`")
_TYPES = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list in brackets",
    "object": "a table",
    "datetime": "a time",
    "null": "nothing",
}


def read_toml(path: Path, form: type[FormT]) -> FormT:
    """Read the file as a `form`, whose tables are structs as well.

    Raises:
        ConfigError: If it can't be read, is no TOML, has a key that the form hasn't, or a value of another type.
    """
    import tomli

    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(str(path), "file", error.strerror or str(error), "Name a file that can be read.") from error
    if len(content) > MAX_SIZE:
        raise ConfigError(str(path), "file", f"it has more than {MAX_SIZE} bytes", "Name a configuration file.")
    try:
        document = tomli.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} is no UTF-8"
        raise ConfigError(str(path), "file", problem, "Save it as UTF-8 text.") from error
    except (tomli.TOMLDecodeError, RecursionError) as error:
        problem = f"this is no TOML: {str(error)[:1].lower()}{str(error)[1:]}" if str(error) else "this is no TOML"
        raise ConfigError(str(path), "file", problem, 'Write lines such as: key = "value"') from error
    return convert(document, form, str(path))


def convert(document: Mapping[str, Any], form: type[FormT], where: str) -> FormT:
    """Take a decoded document as a `form`. Raises ConfigError as `read_toml`; `where` names the file."""
    _check_keys(document, form, where, "")
    try:
        return msgspec.convert(document, form)
    except msgspec.ValidationError as error:
        key, problem, remedy = _explained(str(error))
        raise ConfigError(where, key, problem, remedy) from error


def _check_keys(table: Mapping[str, Any], form: type[msgspec.Struct], where: str, prefix: str) -> None:
    """Refuse keys that the form hasn't, in tables inside as well."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(form)}
    for key, value in table.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            remedy = f"Write {near[0]} instead." if near else f"Known here: {', '.join(known)}."
            raise ConfigError(where, f"{prefix}{_quoted(key)}", "this key is unknown", remedy)
        inner = _struct_in(known[key])
        for each in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(each, dict):
                _check_keys(each, inner, where, f"{prefix}{key}.")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 (a type, or what stands for one)
    """Find the struct in a type such as `list[Peer]`; None when there is none."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for each in get_args(kind) if (found := _struct_in(each)) is not None), None)


def _explained(message: str) -> tuple[str, str, str]:
    """Turn what msgspec says, which quotes types and keys, never values, into key, problem and remedy."""
    found = _PLACE.search(message)
    key = found["key"] if found else ""
    what = message[: found.start()] if found else message
    names = _QUOTED.findall(what)
    if "missing required field" in what:
        return f"{key}.{names[0]}".lstrip("."), "this key is missing", "Write it into the file."
    if what.startswith("Expected") and len(names) == 2:
        wanted, got = (" or ".join(_TYPES.get(each, each) for each in name.split(" | ")) for name in names)
        return key, f"this is {got}", f"Write {wanted}."
    return key, f"{what[:1].lower()}{what[1:]}".replace("`", "'").rstrip("."), "Write what the documentation shows."


def _quoted(key: str) -> str:
    return key if key.isprintable() else repr(key)
