"""How fast two machines meet, behind which NAT: `python -m tests.sim.table [--all] [--write README.md]`.

Where theory says that there is no direct path, they use a relay; the last column says what they find without one.
Seeded and on a virtual clock, so it prints the same everywhere; a test holds the README to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from .meeting import RTT, Meeting, NodeMeeting
from .site import (
    BLOCKED,
    CARRIER,
    FULL_CONE,
    PAIRS,
    PORT_RESTRICTED,
    PUBLIC,
    RANDOM,
    RESTRICTED,
    SYMMETRIC,
    Site,
    expected_way,
)

BEGIN, END = "<!-- python -m tests.sim.table -->", "<!-- end of the table -->"
README_SITES = [PUBLIC, FULL_CONE, RESTRICTED, PORT_RESTRICTED, CARRIER, SYMMETRIC, RANDOM, BLOCKED]
README_PAIRS = [pair for pair in PAIRS if pair[0] in README_SITES and pair[1] in README_SITES]
HEAD = """\
| one side | other side | path | first packet | round trips | checks | bytes | without a relay |
|---|---|---|---|---|---|---|---|
"""


def row(left: Site, right: Site, meeting: Meeting, bare: Meeting | None) -> str:
    """Write one line of the table; `bare` is how they meet without a relay where they had one."""
    path, milliseconds, trips = str(meeting.way), round(meeting.seconds * 1000), meeting.seconds / RTT
    found = f"{path} | {milliseconds} ms | {trips:.1f}" if meeting.way is not None else "none | |"
    return f"| {left} | {right} | {found} | {meeting.checks} | {meeting.octets} | {alternative(bare)} |\n"


def alternative(bare: Meeting | None) -> str:
    """Say what is found without a relay."""
    if bare is None:
        return "the same"
    return "no path" if bare.way is None else f"port search, {bare.seconds:.1f} s, {bare.checks} checks"


def line(left: Site, right: Site) -> str:
    """Let two sides meet, and write down how it went."""
    if expected_way(left, right) is not None:
        return row(left, right, NodeMeeting(left, right).meet(), None)
    return row(left, right, NodeMeeting(left, right, has_relay=True).meet(), NodeMeeting(left, right).meet())


def table(pairs: Iterable[tuple[Site, Site]]) -> str:
    """Let every pair meet."""
    return HEAD + "".join(line(left, right) for left, right in pairs)


def block(text: str, begin: str = BEGIN, end: str = END) -> str:
    """Give what stands between the markers of a text."""
    return text.split(begin, 1)[1].split(end, 1)[0].strip("\n") + "\n"


def with_block(text: str, new: str, begin: str = BEGIN, end: str = END) -> str:
    """Replace what stands between the markers."""
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n\n{new}\n{end}{rest.split(end, 1)[1]}"


def main() -> None:
    """Print the table, or put it into a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.table", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every pair, not only those of the README")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table in this file")
    options = parser.parse_args()
    made = table(PAIRS if options.all else README_PAIRS)
    if options.write is None:
        print(made, end="")
    else:
        options.write.write_text(with_block(options.write.read_text("utf-8"), made), "utf-8")


if __name__ == "__main__":
    main()
