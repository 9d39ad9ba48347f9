"""A live session that is fed arbitrary datagrams and control messages: it doesn't raise, fall over or run hot.

The input is cut into commands: a byte that says what, a byte that says how long, and so many bytes. Datagrams that the
session itself sent, or that its peer did, can be named and damaged, so that the fuzzer gets past the MACs.
"""

from __future__ import annotations

from p2ptun.tunnel.control import CloseReason
from tests.tunnel.world import World

MAX_COMMANDS = 64


def test_one_input(data: bytes) -> None:
    world = World()
    world.connect()
    keypair = world.a.session.sending
    at = 0
    for _ in range(MAX_COMMANDS):
        if at + 2 > len(data):
            break
        what, size = data[at], data[at + 1]
        argument = data[at + 2 : at + 2 + size]
        at += 2 + size
        _obey(world, what, argument)
        world.flush()
        assert len(world.a.indices) <= 8
        assert len(world.b.indices) <= 8
    if world.a.session.sending is keypair is not None:
        assert world.say(world.a, b"still alive")


def _obey(world: World, what: int, argument: bytes) -> None:
    end = world.a if what & 1 else world.b
    match what >> 1 & 7:
        case 0:
            end.session.receive_datagram(argument, world.now)
        case 1:
            end.session.receive_datagram(argument, world.now, b"source")
        case 2:
            end.session.receive_control(argument, world.now)
        case 3:
            end.session.initiate(world.now)
            if argument:
                end.session.repeat(world.now)
        case 4 if argument:
            world.run(argument[0] * (argument[-1] + 1) / 64)
        case 5 if argument:
            datagram = bytearray(world.log[argument[0] % len(world.log)][1])
            for place, flip in zip(argument[1::2], argument[2::2], strict=False):
                datagram[place % len(datagram)] ^= flip
            end.take(bytes(datagram), world.now)
        case 6:
            world.say(end, argument)
        case 7 if argument == b"close":
            end.session.close(CloseReason.SHUTDOWN, world.now)
