"""What every floor of the tests shares: why a test that needs root can't run here, and which ones can't run at once."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from hypothesis import settings

from tests.e2e.lab import missing

# Neither timing nor chance decides a test. To look for what nobody has thought of: P2PTUN_HYPOTHESIS=explore pytest
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("P2PTUN_HYPOTHESIS", "same"))

ON_ONE_PORT = ("test_portmap.py", "test_portmapping.py")
"""Files whose gateways stand on the one port that gateways have: they can't run at once."""

PATIENT = (
    "test_lab.py",
    "test_lab_nat.py",
    "test_netcheck.py",
    "test_patience.py",
    "test_portmap.py",
    "test_roaming.py",
)
"""Files of the laboratory that need a third of a processor at most, and so can run beside another of its files."""

LONGEST = "test_coverage.py"
"""Whole packages in one test each: they begin early, so that nobody waits for them at the end."""

WAITING = os.getpriority(os.PRIO_PROCESS, 0)
WORKING = WAITING + 10
"""Priorities (nice): the programs of the laboratory wait most of the time, and are to be on time when they don't."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the laboratory go first, where this process may say so again after it has stepped back."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, WAITING if is_in_laboratory(item) else WORKING)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `root` where this machine can't run them; group those that can't run at once."""
    items.sort(key=lambda item: (not is_in_laboratory(item), item.path.name != LONGEST))
    for item in items:
        if is_in_laboratory(item):
            item.add_marker(pytest.mark.xdist_group("patience" if item.path.name in PATIENT else "laboratory"))
        elif item.path.name in ON_ONE_PORT:
            item.add_marker(pytest.mark.xdist_group("one port"))
    privileged = [item for item in items if item.get_closest_marker("root")]
    if privileged and (reason := missing()):
        for item in privileged:
            item.add_marker(pytest.mark.skip(reason=reason))


def is_in_laboratory(item: pytest.Item) -> bool:
    """Tell whether a test is one of those that mostly wait: they come first, in two processes, beside all the others.

    Any two of their files at once would be too many programs for deadlines to be kept, but a PATIENT one and another.
    """
    return "tests/e2e/" in item.nodeid
