"""aioice behind the lines of `examples/ice_stdio.py`: a program that says and takes the same.

python -m tests.interop.aioice_stdio --role controlled --family 6 [--stun ADDRESS,PORT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import aioice


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


async def read_lines() -> asyncio.StreamReader:
    """Give stdin as a stream."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def carry(connection: aioice.Connection) -> None:
    """Connect, then say what comes."""
    await connection.connect()
    say(event="connected", role="controlling" if connection.ice_controlling else "controlled")
    while True:
        say(received=(await connection.recv()).decode())


async def take(connection: aioice.Connection, line: dict[str, Any]) -> None:
    """Do what a line asks for; aioice wants candidates without their prefix, and None at the end."""
    candidates = line.get("candidates", [])
    if "ufrag" in line:
        connection.remote_username, connection.remote_password = line["ufrag"], line["pwd"]
    if "candidate" in line:
        candidates = [line["candidate"]]
    for candidate in candidates:
        parsed = aioice.Candidate.from_sdp(candidate.removeprefix("candidate:")) if candidate else None
        await connection.add_remote_candidate(parsed)
    if "send" in line:
        await connection.send(line["send"].encode())


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", required=True)
    parser.add_argument("--family", type=int)
    parser.add_argument("--stun")
    options = parser.parse_args()
    address, _, port = (options.stun or "").rpartition(",")
    connection = aioice.Connection(
        ice_controlling=options.role == "controlling",
        stun_server=(address, int(port)) if port else None,
        use_ipv4=options.family != 6,
        use_ipv6=options.family != 4,
    )
    lines = await read_lines()
    await connection.gather_candidates()
    candidates = [f"candidate:{candidate.to_sdp()}" for candidate in connection.local_candidates]
    credentials = {"ufrag": connection.local_username, "pwd": connection.local_password}
    say(**credentials, candidates=candidates, role=options.role, **{"ice-options": []})
    carrying: asyncio.Task[None] | None = None
    while text := await lines.readline():
        line = json.loads(text)
        await take(connection, line)
        if "ufrag" in line:
            carrying = asyncio.create_task(carry(connection))
    if carrying is not None:
        carrying.cancel()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
