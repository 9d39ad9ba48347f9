"""The project's own limits on size: files, functions and classes that one can hold in one's head."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.layering import modules

PACKAGE = Path(__file__).resolve().parents[1] / "p2ptun"
FILE_LINES = 400
FUNCTION_LINES = 40
MEDIAN_FUNCTION_LINES = 10
CLASS_ATTRIBUTES = 15

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(node: Function) -> int:
    """Count the lines of a function from its `def` to its end, docstring included."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def attributes(node: ast.ClassDef) -> set[str]:
    """Name what the methods of a class keep on `self`."""
    return {
        item.attr
        for item in ast.walk(node)
        if isinstance(item, ast.Attribute)
        and isinstance(item.ctx, ast.Store)
        and isinstance(item.value, ast.Name)
        and item.value.id == "self"
    }


def problems(name: str, source: str) -> list[str]:
    """List what in one file is too large."""
    tree = ast.parse(source)
    found = []
    if (lines := len(source.splitlines())) > FILE_LINES:
        found.append(f"{name}: {lines} lines, {FILE_LINES} at most")
    for function in functions(tree):
        if (size := length(function)) > FUNCTION_LINES:
            found.append(f"{name}:{function.lineno}: {function.name} has {size} lines, {FUNCTION_LINES} at most")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and (count := len(attributes(node))) > CLASS_ATTRIBUTES:
            found.append(f"{name}:{node.lineno}: {node.name} has {count} attributes, {CLASS_ATTRIBUTES} at most")
    return found


def test_nothing_is_too_large() -> None:
    found = [problem for name, path in modules(PACKAGE) for problem in problems(name, path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_most_functions_are_short() -> None:
    sizes = [length(node) for _, path in modules(PACKAGE) for node in functions(ast.parse(path.read_text("utf-8")))]
    assert median(sizes) < MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\n" * 401, "401 lines, 400 at most"),
        ("def long():\n" + "    x = 1\n" * 40, "long has 41 lines, 40 at most"),
        ("class A:\n  async def long(self):\n" + "    x = 1\n" * 40, "long has 41 lines, 40 at most"),
        (
            "class Fat:\n  def __init__(self):\n" + "".join(f"    self.a{n}: int = {n}\n" for n in range(16)),
            "Fat has 16 attributes, 15 at most",
        ),
        ("class Fat:\n  def f(self):\n    " + ", ".join(f"self.a{n}" for n in range(16)) + " = x", "Fat has 16"),
    ],
)
def test_what_is_too_large_is_seen(source: str, problem: str) -> None:
    assert any(problem in found for found in problems("m", source))


def test_what_just_fits_passes() -> None:
    fits = "class A:\n  def f(self):\n" + "".join(f"    self.a{n} = self.b{n}\n" for n in range(15)) + "x = 1\n" * 383
    assert problems("m", fits) == []
    assert problems("m", "def f():\n" + "    x = 1\n" * 39) == []
