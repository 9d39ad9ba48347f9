"""How fast two machines meet, behind which NAT: `python -m tests.sim.table [--all] [--write README.md]`.

Seeded and on a virtual clock, so it prints the same everywhere; a test holds the README to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from .meeting import RTT, Meeting, NodeMeeting
from .site import BLOCKED, CARRIER, FULL_CONE, PAIRS, PORT_RESTRICTED, PUBLIC, RESTRICTED, SYMMETRIC, Site

BEGIN, END = "<!-- python -m tests.sim.table -->", "<!-- end of the table -->"
README_SITES = [PUBLIC, FULL_CONE, RESTRICTED, PORT_RESTRICTED, CARRIER, SYMMETRIC, BLOCKED]
README_PAIRS = [pair for pair in PAIRS if pair[0] in README_SITES and pair[1] in README_SITES]
HEAD = """\
| one side | other side | path | first packet | round trips | checks | bytes |
|---|---|---|---|---|---|---|
"""


def row(left: Site, right: Site, meeting: Meeting) -> str:
    """Write one line of the table."""
    if meeting.way is None:
        return f"| {left} | {right} | needs a relay | | | {meeting.checks} | {meeting.octets} |\n"
    path, milliseconds, trips = str(meeting.way), round(meeting.seconds * 1000), meeting.seconds / RTT
    return f"| {left} | {right} | {path} | {milliseconds} ms | {trips:.1f} | {meeting.checks} | {meeting.octets} |\n"


def table(pairs: Iterable[tuple[Site, Site]]) -> str:
    """Let every pair meet, and write down how it went."""
    return HEAD + "".join(row(left, right, NodeMeeting(left, right).meet()) for left, right in pairs)


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
