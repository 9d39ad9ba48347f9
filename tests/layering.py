"""Which package may import which, as a table, and the walk that holds every import to it.

A package may import the ones named in its row and itself, nothing else of `p2ptun`. What comes from outside is asked
about twice: the core has a list of what it must not touch, and some libraries have one home.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEAVES = frozenset({"errors", "types", "deadlines"})

ROWS = (
    ("stun",),
    ("ice", "turn", "relay", "nat", "mdns"),
    ("noise", "aead"),
    ("tunnel",),
    ("dataplane",),
    ("signal",),
    ("node",),
    ("io",),
    ("rendezvous",),
    ("server",),
    ("daemon",),
    ("cli",),
    ("__main__",),
)
"""From the bottom up. Arrows point down only; packages of one row never import each other."""

CORE = (
    frozenset({"stun", "ice", "turn", "relay", "nat", "mdns", "noise", "aead", "tunnel", "dataplane", "signal", "node"})
    | LEAVES
)

FORBIDDEN_IN_CORE = frozenset(
    {
        *("os", "sys", "pathlib", "tempfile", "fcntl", "termios", "subprocess", "multiprocessing", "signal"),
        *("socket", "socketserver", "ssl", "select", "selectors", "httpx", "pytun", "pyroute2"),
        *("trio", "asyncio", "anyio", "threading", "concurrent", "queue", "sched"),
        *("time", "datetime", "random", "secrets"),
    }
)
"""No clock, no randomness, no I/O, no concurrency: the core is handed all of them."""

ONE_HOME = {
    "nacl": ("p2ptun.aead", "p2ptun.noise.primitive"),
    "nacl._sodium": ("p2ptun.aead",),
    "cffi": ("p2ptun.aead", "p2ptun.io"),
    "pytun": ("p2ptun.io.tun",),
    "pyroute2": ("p2ptun.io.kernel",),
    "dns": ("p2ptun.io.resolver",),
    "trio": ("p2ptun.io", "p2ptun.rendezvous", "p2ptun.server", "p2ptun.daemon", "p2ptun.cli"),
    "socket": ("p2ptun.io", "p2ptun.rendezvous", "p2ptun.server", "p2ptun.daemon", "p2ptun.cli"),
    "httpx": ("p2ptun.rendezvous",),
    "starlette": ("p2ptun.server",),
    "hypercorn": ("p2ptun.server",),
    "h11": ("p2ptun.server.http",),
    "prometheus_client": ("p2ptun.server",),
    "redis": ("p2ptun.server.store",),
    "sqlite3": ("p2ptun.server.store",),
    "spake2": ("p2ptun.signal.pake",),
    "cryptography": ("p2ptun.signal.kem",),
    "segno": ("p2ptun.cli",),
    "click": ("p2ptun.cli",),
    "rich": ("p2ptun.cli",),
}
"""Who may import a library. The longest name that fits decides."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module (absolute, dotted), or the name of it that `from` took."""

    module: str
    line: int


def imports_of(module: str, source: str, is_package: bool) -> Iterator[Import]:
    """Yield what a module imports, wherever in it the statement stands, relative names made absolute.

    `from p2ptun import stun` names a module as well as `import p2ptun.stun` does, so each name that is taken out of a
    package is reported with the package before it.
    """
    parts = module.split(".")
    here = parts if is_package else parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield Import(f"{origin}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and _called(node) in ("__import__", "import_module"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Import(argument.value, node.lineno)


def _called(node: ast.Call) -> str:
    """Name the function that is called, without what it hangs on."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """List what in a module's imports breaks the table, one sentence each."""
    found = []
    for item in imports_of(module, source, is_package):
        problem = _inside(module, item.module) if _root(item.module) == "p2ptun" else _outside(module, item.module)
        if problem:
            found.append(f"{module}:{item.line}: {problem}")
    return found


def _inside(module: str, imported: str) -> str:
    """Judge one edge between packages of ours."""
    source, target = _package(module), _package(imported)
    if source == "" or target in ("", "__version__", source):
        return ""
    if target in LEAVES:
        return "" if source not in LEAVES else f"the leaf {source} imports {target}: leaves import nothing of ours"
    if source in LEAVES:
        return f"the leaf {source} imports {target}: leaves import nothing of ours"
    if level(source) is None:
        return f"{source} has no place in the table of tests/layering.py"
    if level(target) is None:
        return f"{target} has no place in the table of tests/layering.py"
    if level(target) == level(source):
        return f"{source} imports its sibling {target}"
    if (level(target) or 0) > (level(source) or 0):
        return f"{source} imports {target}, which is above it"
    return ""


def _outside(module: str, imported: str) -> str:
    """Judge the import of something that isn't ours."""
    if _package(module) in CORE and _root(imported) in FORBIDDEN_IN_CORE:
        return f"the core imports {_root(imported)}"
    rule = max((name for name in ONE_HOME if _within(imported, name)), key=len, default=None)
    if rule is not None and not any(_within(module, home) for home in ONE_HOME[rule]):
        return f"{imported} is imported outside {', '.join(ONE_HOME[rule])}"
    return ""


def level(package: str) -> int | None:
    """Tell which row of the picture a package stands in, counted from the bottom; None when it isn't in it."""
    return next((number for number, row in enumerate(ROWS) if package in row), None)


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every module under the directory of a package, by dotted name."""
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root.parent).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _package(module: str) -> str:
    """Name the part of the house that a module of ours belongs to; empty for `p2ptun` itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _root(module: str) -> str:
    return module.split(".")[0]


def _within(module: str, ancestor: str) -> bool:
    return module == ancestor or module.startswith(f"{ancestor}.")
