"""Multicast DNS on a host of a laboratory: does what its stdin says, a line each, and prints what happens.

::

    register NAME ADDRESS INTERFACE
    resolve NAME...
    follow
    drops

"""

from __future__ import annotations

import json
import sys
from collections import Counter
from ipaddress import ip_address

import trio

from p2ptun.io.monitor import read_network
from p2ptun.io.multicast import Multicast
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.event import MdnsEvent, NameResolved


def show(event: MdnsEvent) -> None:
    """Print an event."""
    if isinstance(event, NameResolved):
        say(resolved=event.name, address=str(event.address))
    else:
        say(lost=event.name, reason=event.reason.name)


def say(**fields: object) -> None:
    """Print a line."""
    print(json.dumps(fields), flush=True)


def links(multicast: Multicast) -> list[object]:
    """Describe the sockets."""
    return [[sock.link.interface, sock.link.address.version, sock.is_shared] for sock in multicast.sockets]


async def main() -> None:
    """Serve until stdin ends."""
    multicast = Multicast(MdnsAgent(), show)
    async with trio.open_nursery() as nursery:
        multicast.start(nursery, await read_network())
        say(links=links(multicast))
        async for line in trio.wrap_file(sys.stdin):
            verb, *words = line.split()
            now = trio.current_time()
            match verb:
                case "register":
                    multicast.agent.register(words[0], ip_address(words[1]), words[2], now)
                case "resolve":
                    multicast.agent.resolve(words, now)
                case "follow":
                    multicast.follow(await read_network())
                    say(links=links(multicast))
                case _:
                    say(drops=sum((sock.drops for sock in multicast.sockets), Counter()))
            multicast.flush()
        multicast.close()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
