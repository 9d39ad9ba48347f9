"""Another process at a store: claims 40 numbers when it is told to, prints them, and is killed.

python -m tests.server.claimer STORE NOW
"""

from __future__ import annotations

import os
import signal
import sys

import trio

from p2ptun.server.store.base import RoomLimits
from p2ptun.server.store.choice import open_store


async def main(text: str, now: float) -> None:
    store = open_store(text, RoomLimits(rooms=200))
    print("ready", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)
    rooms = [await store.claim(range(draw, draw + 99), bytes(32), now) for draw in range(40)]
    print(*rooms, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]))
