"""What people read is written alike everywhere: the rule in the docstring of `p2ptun.errors`, held by a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layering import modules

PACKAGE = Path(__file__).resolve().parents[1] / "p2ptun"
FOR_PEOPLE = {
    *(
        "P2ptunError",
        "RendezvousError",
        "RendezvousEnded",
        "DeviceError",
        "PrivilegeError",
        "ResolutionError",
        "CodeError",
    ),
    "ErrorEvent",
}
FOR_LOGS = {"LocalProtocolError", "RemoteProtocolError", "MalformedPacket", "AuthenticationFailed"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a plain name that has an argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            yield node.func.id, node


def texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be; what is filled in stands as `{}`. Other expressions yield nothing."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts(body)
            yield from texts(orelse)


def problems(name: str, source: str) -> list[str]:
    """List the messages in one module that break the rule."""
    found = []
    for called, call in calls(ast.parse(source)):
        for text in texts(call.args[0]):
            if called in FOR_PEOPLE and (not text.endswith(".") or text[0].islower()):
                found.append(f"{name}:{call.lineno}: no sentence: {text}")
            elif called in FOR_LOGS and (text.endswith(".") or (text[0].isupper() and text[1].islower())):
                found.append(f"{name}:{call.lineno}: a sentence where a few words do: {text}")
    return found


def test_every_message_keeps_to_the_rule() -> None:
    found = [problem for name, path in modules(PACKAGE) for problem in problems(name, path.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'DeviceError("the name is taken.")',
        'DeviceError("The name is taken")',
        'RendezvousError(f"The blob of {size} bytes is cut" if cut else "It is whole.")',
        'MalformedPacket("Too short")',
        'AuthenticationFailed(f"a tag of {size} bytes.")',
    ],
)
def test_what_breaks_it_is_seen(source: str) -> None:
    assert problems("m", source)


def test_what_keeps_it_passes() -> None:
    good = ['DeviceError(f"{name} is taken.")', 'MalformedPacket(f"FINGERPRINT of {size} bytes")', "DeviceError(text)"]
    assert problems("m", "\n".join(good)) == []
