"""What every floor of the tests shares: why a test that needs root can't run here, and which ones can't run at once."""

from __future__ import annotations

import pytest

from tests.e2e.lab import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `root` where this machine can't run them, and say why; keep those of one lab together."""
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    privileged = [item for item in items if item.get_closest_marker("root")]
    if privileged and (reason := missing()):
        for item in privileged:
            item.add_marker(pytest.mark.skip(reason=reason))
