"""Every NAT behaviour against every other, through the command line: `python -m tests.e2e.matrix [--write README.md]`.

Needs root. For every pair, who shares and who joins, with `p2ptun serve` as relay and without: a tunnel, the kind of
path that theory says, pings, and 20 MB with a checksum. Prints progress, then the table of set-up times; exit code 1
when something went otherwise than it must.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tests.e2e.command import missing
from tests.e2e.crossing import Crossing, Kind, Outcome, Pair
from tests.e2e.program import TunnelLab
from tests.sim.site import NATS, Site
from tests.sim.table import with_block

BEGIN, END = "<!-- python -m tests.e2e.matrix -->", "<!-- end of the matrix -->"
TITLES = {False: "Without a relay:", True: "With `p2ptun serve` as relay:"}
JOBS = 2
CORNER = "shares \\ joins"


def pairs(
    sharing: Iterable[Site] = NATS, joining: Sequence[Site] = NATS, relays: Sequence[bool] = (False, True)
) -> list[Pair]:
    """List every pair, first all of them without a relay."""
    return [Pair(left, right, has_relay) for has_relay in relays for left in sharing for right in joining]


def run(wanted: Sequence[Pair], jobs: int = JOBS) -> Iterator[Outcome]:
    """Run pairs, so many at a time, each of these in a laboratory of its own."""
    idle: SimpleQueue[Crossing] = SimpleQueue()

    def cross(pair: Pair) -> Outcome:
        crossing = idle.get()
        try:
            return crossing.run(pair)
        finally:
            idle.put(crossing)

    with ExitStack() as stack:
        for _ in range(min(jobs, len(wanted))):
            lab = stack.enter_context(TunnelLab())
            idle.put(Crossing(lab, has_relay=any(pair.has_relay for pair in wanted)))
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(cross, wanted)


def table(outcomes: Iterable[Outcome]) -> str:
    """Write a table for what went without a relay, and one for what went with it."""
    found = {outcome.pair: outcome for outcome in outcomes}
    parts = []
    for has_relay, title in TITLES.items():
        if any(pair.has_relay is has_relay for pair in found):
            rows = [row(left, [found.get(Pair(left, right, has_relay)) for right in NATS]) for left in NATS]
            head = f"| {CORNER} | {' | '.join(str(site) for site in NATS)} |\n|---{'|---' * len(NATS)}|\n"
            parts.append(f"{title}\n\n{head}{''.join(rows)}")
    return "\n".join(parts)


def row(sharing: Site, outcomes: Sequence[Outcome | None]) -> str:
    """Write one line of a table."""
    cells = ["" if outcome is None else str(outcome) if outcome.is_right else "FAILED" for outcome in outcomes]
    return f"| {sharing} | {' | '.join(cells)} |\n"


def read(text: str) -> dict[Pair, Kind]:
    """Read back from a table which pair was connected in which way."""
    sites = {str(site): site for site in NATS}
    titles = {title: has_relay for has_relay, title in TITLES.items()}
    found, has_relay, columns = {}, False, []
    for line in text.splitlines():
        has_relay = titles.get(line, has_relay)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == CORNER:
            columns = [sites[name] for name in cells[1:]]
        elif cells[0] in sites:
            for site, cell in zip(columns, cells[1:], strict=True):
                kind = next((kind for kind in Kind if cell.rpartition(", then ")[2].startswith(kind.value)), None)
                if kind is not None:
                    found[Pair(sites[cells[0]], site, has_relay)] = kind
    return found


def main() -> int:
    """Run what is asked for; print the table, or put it into a file."""
    options = parsed()
    if problem := missing():
        sys.exit(f"This {problem}.")
    wanted = chosen(options.pairs, options.relay)
    outcomes, began = [], time.monotonic()
    for number, outcome in enumerate(run(wanted, options.jobs), 1):
        outcomes.append(outcome)
        print(f"[{number}/{len(wanted)}] {outcome.pair}: {outcome}", file=sys.stderr, flush=True)
    print(f"{len(outcomes)} pairs in {time.monotonic() - began:.0f} s", file=sys.stderr)
    made = table(outcomes)
    is_right = all(outcome.is_right for outcome in outcomes)
    if options.write is None or not is_right:
        print(made, end="")
    else:
        options.write.write_text(with_block(options.write.read_text("utf-8"), made, BEGIN, END), "utf-8")
    return int(not is_right)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.matrix", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table in this file, if all went well")
    parser.add_argument(
        "--pairs", nargs="+", metavar="A:B", help="only these, like EIM/EIF:APDM/APDF: A shares, B joins"
    )
    parser.add_argument("--relay", action=argparse.BooleanOptionalAction, help="only with a relay, or only without")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help="run so many at a time (%(default)s)")
    options = parser.parse_args()
    if options.write is not None and (options.pairs or options.relay is not None):
        parser.error("--write wants the whole matrix")
    return options


def chosen(names: Sequence[str] | None, relay: bool | None) -> list[Pair]:
    """List the pairs that are asked for."""
    relays = (False, True) if relay is None else (relay,)
    if not names:
        return pairs(relays=relays)
    sites = {str(site): site for site in NATS}
    try:
        named = [tuple(sites[side] for side in name.split(":", 1)) for name in names]
        return [Pair(left, right, has_relay) for has_relay in relays for left, right in named]
    except (KeyError, ValueError) as error:
        sys.exit(f"{error}: a pair is written A:B, with two of {', '.join(sites)}.")


if __name__ == "__main__":
    sys.exit(main())
