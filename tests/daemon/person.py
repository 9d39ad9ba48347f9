"""One side that meets the other by a code: the daemon's own parts, with neither a TUN device nor sockets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import trio

from p2ptun.daemon.code_introduction import CodeIntroduction
from p2ptun.daemon.event import CodeEvent, ErrorEvent, Event
from p2ptun.daemon.introduction import Introduced
from p2ptun.daemon.options import AdhocOptions, Side
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.errors import LocalProtocolError, RendezvousError
from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.io.driver import Driver
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair
from p2ptun.rendezvous.base import Rendezvous, Room
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.code import Code, parse_code
from tests.daemon.room import SideOfRoom
from tests.io.machine import FakeTun


class PreparedRooms:
    """A rendezvous with rooms that the test has prepared, each used once."""

    def __init__(self, *rooms: SideOfRoom) -> None:
        self._rooms = list(rooms)

    async def open_room(self) -> Room:
        await trio.lowlevel.checkpoint()
        return self._rooms.pop(0)

    async def join_room(self, number: str, opening: bytes) -> Room:
        room = self._rooms.pop(0)
        assert number == room.number
        await room.send(opening)
        return room

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        raise LocalProtocolError("nobody enters a named room here")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class Person:
    """One side: a tunnel without sockets and device, and what it told."""

    side: Side
    rendezvous: Rendezvous
    code: Code | None = None
    verifies: bool = False
    answers: bytes = b""
    hesitates: bool = False
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = AdhocOptions(rendezvous=("http://192.0.2.1",), code=self.code, verifies=self.verifies)
        self.tunnel = Tunnel(options, KeyPair.generate(os.urandom), self._tell)
        self.tunnel.driver = Driver(self.tunnel.node, FakeTun(), lambda _: None)
        self.peer = Peer(
            "peer", Agent(AgentConfig(), Credentials.generate(os.urandom), Role.CONTROLLING, 1, os.urandom)
        )
        self.tunnel.node.add_peer(self.peer, trio.current_time())
        reading, writing = os.pipe()
        os.write(writing, self.answers)
        if not self.hesitates:
            os.close(writing)
        self._stdin = [reading] + [writing] * self.hesitates
        self.introduction = CodeIntroduction(
            self.tunnel, self.peer, self.side, self.rendezvous, LineReader(reading), None
        )
        self.result: Introduced | RendezvousError | None = None
        self.coded, self.done = trio.Event(), trio.Event()

    async def run(self, nursery: trio.Nursery) -> None:
        try:
            self.result = await self.introduction.introduce(nursery)
        except RendezvousError as error:
            self.result = error
        finally:
            for each in self._stdin:
                os.close(each)
            self.done.set()

    def _tell(self, event: Event) -> None:
        self.told.append(event)
        if isinstance(event, CodeEvent):
            self.coded.set()

    def codes(self) -> list[Code]:
        return [parse_code(event.code) for event in self.told if isinstance(event, CodeEvent)]

    def notes(self) -> list[str]:
        return [event.message for event in self.told if isinstance(event, ErrorEvent)]
