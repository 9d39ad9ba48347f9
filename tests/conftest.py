"""What every floor of the tests shares: why a test that needs root can't run here, and which ones can't run at once."""

from __future__ import annotations

import pytest

from tests.e2e.lab import missing

ON_ONE_PORT = ("test_portmap.py", "test_portmapping.py")
"""Files whose gateways stand on the one port that gateways have: they can't run at once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `root` where this machine can't run them, and say why; mix those that wait with others."""
    items[:] = mixed(items)
    privileged = [item for item in items if item.get_closest_marker("root")]
    if privileged and (reason := missing()):
        for item in privileged:
            item.add_marker(pytest.mark.skip(reason=reason))


def mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Strew the files with laboratories, each of which stays whole, among the other tests: they wait, the others work.

    The last quarter is without them, so that no process has a long one left when the others are done.
    """
    rest = [item for item in items if "tests/e2e/" not in item.nodeid]
    for item in rest:
        if item.path.name in ON_ONE_PORT:
            item.add_marker(pytest.mark.xdist_group("one port"))
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
            files.setdefault(item.path.name, []).append(item)
    step = len(rest) * 3 // 4 // max(1, len(files))
    order = []
    for number, file in enumerate(files.values()):
        order += [*file, *rest[number * step : (number + 1) * step]]
    return order + rest[len(files) * step :]
