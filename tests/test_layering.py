"""Every import of the project points down the picture of the architecture; the check itself sees what doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layering import CORE, ROWS, level, modules, violations

PACKAGE = Path(__file__).resolve().parents[1] / "p2ptun"


def test_every_import_is_an_edge_of_the_table() -> None:
    found = [
        problem
        for module, path in modules(PACKAGE)
        for problem in violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


def test_every_package_has_a_place() -> None:
    leaves = {path.stem for path in PACKAGE.glob("*.py")}
    assert leaves == {"__init__", "__main__", "errors", "types", "deadlines"}
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert not {folder for folder in folders if level(folder) is None}


def test_the_core_is_the_lower_part_of_the_table() -> None:
    above = {package for row in ROWS for package in row} - CORE
    highest = max(level(package) or 0 for package in CORE if level(package) is not None)
    assert all((level(package) or 0) > highest for package in above)


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("p2ptun.stun.message", "from p2ptun.ice.agent import Agent", "stun imports ice, which is above it"),
        ("p2ptun.stun.message", "import p2ptun.ice.agent", "stun imports ice, which is above it"),
        ("p2ptun.stun.message", "from p2ptun import ice", "stun imports ice, which is above it"),
        ("p2ptun.stun.message", "from ..ice import agent", "stun imports ice, which is above it"),
        ("p2ptun.stun.message", "from .. import ice", "stun imports ice, which is above it"),
        (
            "p2ptun.stun.message",
            "def f():\n    if 1:\n        import p2ptun.cli",
            "stun imports cli, which is above it",
        ),
        ("p2ptun.stun.message", "import importlib\nimportlib.import_module('p2ptun.node')", "stun imports node"),
        ("p2ptun.stun.message", "__import__('socket')", "the core imports socket"),
        ("p2ptun.ice.agent", "from p2ptun.turn.client import Client", "ice imports its sibling turn"),
        ("p2ptun.noise.handshake", "from p2ptun.aead.key import Key", "noise imports its sibling aead"),
        ("p2ptun.tunnel.session", "from p2ptun.dataplane.inbound import Inbound", "tunnel imports dataplane"),
        ("p2ptun.types", "from p2ptun.errors import P2ptunError", "leaves import nothing of ours"),
        ("p2ptun.types", "from p2ptun.stun.message import Message", "leaves import nothing of ours"),
        ("p2ptun.shelf.thing", "from p2ptun.stun.message import Message", "shelf has no place"),
        ("p2ptun.node.peer", "import p2ptun.shelf.thing", "shelf has no place"),
        ("p2ptun.node.peer", "import trio", "the core imports trio"),
        ("p2ptun.node.peer", "from os import urandom", "the core imports os"),
        ("p2ptun.node.peer", "import os.path", "the core imports os"),
        ("p2ptun.types", "import time", "the core imports time"),
        ("p2ptun.tunnel.session", "import random as r, secrets", "the core imports random"),
        ("p2ptun.tunnel.session", "import random as r, secrets", "the core imports secrets"),
        ("p2ptun.tunnel.session", "import nacl.bindings", "nacl.bindings is imported outside"),
        ("p2ptun.noise.primitive", "from nacl._sodium import lib", "nacl._sodium.lib is imported outside p2ptun.aead"),
        ("p2ptun.noise.primitive", "from nacl import _sodium", "nacl._sodium is imported outside p2ptun.aead"),
        ("p2ptun.io.udp", "import pytun", "pytun is imported outside p2ptun.io.tun"),
        ("p2ptun.daemon.service", "from pyroute2 import IPRoute", "is imported outside p2ptun.io.kernel"),
        ("p2ptun.daemon.service", "import click", "click is imported outside p2ptun.cli"),
    ],
)
def test_a_violation_is_seen(module: str, source: str, problem: str) -> None:
    assert any(problem in found for found in violations(module, source)), violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("p2ptun.ice.agent", "from p2ptun.stun.message import Message\nfrom p2ptun.types import Endpoint"),
        ("p2ptun.ice.agent", "from .candidate import Candidate\nfrom . import event"),
        ("p2ptun.ice.agent", "import struct, hmac, hashlib, ipaddress, enum, logging"),
        ("p2ptun.tunnel.session", "from p2ptun.noise.handshake import HandshakeState\nimport p2ptun.aead.key"),
        ("p2ptun.aead.key", "from nacl._sodium import ffi, lib\nimport nacl.bindings"),
        ("p2ptun.noise.primitive", "from nacl.bindings import crypto_scalarmult"),
        ("p2ptun.io.tun", "import os, pytun, trio\nfrom p2ptun.node.node import Node"),
        ("p2ptun.io.kernel", "from pyroute2 import IPRoute"),
        ("p2ptun.cli.main", "import click, rich, os, sys\nfrom p2ptun import __version__, errors, stun"),
        ("p2ptun.errors", "import enum"),
        ("p2ptun", "from importlib.metadata import version"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_relative_imports_of_a_package_start_in_it() -> None:
    assert violations("p2ptun.stun", "from .message import Message", is_package=True) == []
    assert violations("p2ptun.stun", "from ..ice import agent", is_package=True)
