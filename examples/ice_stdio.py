#!/usr/bin/env python3
"""Talk ICE by lines of JSON: p2ptun's agent against any other implementation, and an example of the library.

Give the lines that one side prints to the other, whatever carries them, and the two find a path:

    {"ufrag":"Gx8w","pwd":"...","candidates":["candidate:1 1 UDP 2130706431 ..."],"role":"controlling"}  comes first
    {"candidate":"candidate:2 1 UDP 16777..."}    one more (trickle); "" or null: there are no more, which may also be
    {"end_of_candidates":true}                    said like this; "usernameFragment" tells the ufrag that it belongs to

Then it tells what happens, and carries texts as raw datagrams, {"send":"hello"} here to {"received":"hello"} there:

    {"event":"connected","local":{...},"remote":{...},"ms":41.7}
    {"event":"path",...}   {"event":"state","state":"idle"}   {"event":"error","message":"...","remedy":"..."}

A first line may also say "lite":true (RFC 8445 2.5), and "ice-options" as in SDP: without "trickle" among them it
has all the candidates. A line with a new ufrag and pwd restarts ICE, and data flows meanwhile. What a side says of
itself may be given to the other, too, which skips it: mkfifo back; A.py <back | A.py --role controlled | tee back

The exit code is 0 when the input ends or Ctrl-C comes, 1 when no path is left, 2 when it was called wrongly.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections import deque

import msgspec
import trio

from p2ptun.aead.buffer import Batch
from p2ptun.daemon.group import single_error
from p2ptun.errors import ConfigError, MalformedPacket, P2ptunError
from p2ptun.ice import event as ice
from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import CONNECTED_PACE, AgentConfig, RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import TIE_BREAKER_BYTES, Role
from p2ptun.io.base import Socket
from p2ptun.io.monitor import read_network
from p2ptun.io.resolver import resolve
from p2ptun.io.underlay import Underlay
from p2ptun.rendezvous.line import LineReader
from p2ptun.stun.message import is_stun
from p2ptun.stun.uri import StunUri, parse_uri
from p2ptun.types import Endpoint

STDIN = 0
BUFFER_SIZE = 1 << 18  # room for a few of the largest datagrams
MAX_WAITING = 64  # texts that wait for a path; of more the oldest are lost, as datagrams are
FIRST_OF_DATA = b"\x04"  # RFC 7983 7: a datagram that begins with a smaller byte may be taken for STUN
ICE_OPTIONS = ("ice2", "trickle", "renomination")  # RFC 8445 10, RFC 8838 4.1.1, draft-thatcher-ice-renomination


class Line(msgspec.Struct, frozen=True, rename={"ice_options": "ice-options", "owner": "usernameFragment"}):
    """A line of the input. Keys that aren't here are skipped."""

    ufrag: str = ""
    pwd: str = ""
    candidates: tuple[str, ...] = ()
    lite: bool = False
    ice_options: tuple[str, ...] = ("trickle",)
    candidate: str | msgspec.UnsetType | None = msgspec.UNSET
    end_of_candidates: bool = False
    owner: str = ""  # the ufrag, where a candidate or the end of them is told
    send: str | None = None
    event: object = None
    received: object = None


class Conversation:
    """One agent with its sockets, the lines that it takes and those that it says."""

    def __init__(self, agent: Agent, sockets: list[Socket]) -> None:
        self._agent = agent
        self._sockets = {socket.local: socket for socket in sockets}
        self._began_at: float | None = None
        self._connected = trio.Event()
        self._has_told_all = False
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._timer = trio.CancelScope()
        self._life = trio.CancelScope()

    async def run(self, servers: list[StunUri], restart_after: float) -> None:
        """Talk until the input ends, a signal comes or no path is left. Raises P2ptunError."""
        with single_error(), self._life, trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                for socket in self._sockets.values():
                    self._agent.add_local_address(socket.local, trio.current_time(), socket.tcp_type)
                    nursery.start_soon(self._read_socket, socket)
                self._describe()
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._read_lines)
                nursery.start_soon(self._find_servers, servers)
                nursery.start_soon(self._restart, restart_after)
                await anext(signals)
                self._life.cancel()

    async def _read_socket(self, socket: Socket) -> None:
        """Take datagrams. A STUN header tells ICE's own from data: two zero bits, a magic cookie, the right length.

        Data may come from anywhere to any socket (RFC 8445 12.2). Nothing here seals it: that is an application's part.
        """
        batch, sources = Batch(BUFFER_SIZE), list[Endpoint]()
        while True:
            await socket.wait_readable()
            batch.clear()
            sources.clear()
            socket.receive_batch(batch, sources)
            for data, source in zip(map(bytes, batch), sources, strict=True):
                if is_stun(data):
                    self._agent.receive_datagram(data, source, socket.local, trio.current_time())
                else:
                    say(received=data.decode(errors="replace"))
            while (failure := socket.next_failure()) is not None:  # of a TCP connection
                self._agent.record_send_error(socket.local, *failure, trio.current_time())
            self._flush()

    async def _keep_time(self) -> None:
        """Let the agent act whenever the time has come that it asked for."""
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._timer:
                await trio.sleep_forever()
            self._agent.handle_timeout(trio.current_time())
            self._flush()

    async def _read_lines(self) -> None:
        """Take what the other side and the person say, then end it all."""
        lines = LineReader(STDIN)
        while (text := await lines.next_line()) is not None:
            try:
                if text.strip():
                    self._take(msgspec.json.decode(text, type=Line), trio.current_time())
            except (msgspec.MsgspecError, RecursionError) as error:
                complain(f"This line can't be read: {error}.", "Write one JSON object per line.")
            except P2ptunError as error:
                complain(str(error), error.remedy)
            self._flush()
        self._life.cancel()

    async def _find_servers(self, servers: list[StunUri]) -> None:
        """Ask STUN servers, all at once, how they see us: that is trickled as it comes."""
        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(self._find_server, server)
        self._agent.end_of_servers(trio.current_time())
        self._flush()

    async def _find_server(self, server: StunUri) -> None:
        try:
            for endpoint in await resolve(server):
                self._agent.add_stun_server(endpoint, trio.current_time())
        except P2ptunError as error:
            complain(str(error), error.remedy)
        self._flush()

    async def _restart(self, delay: float) -> None:
        """Restart once, as when the network changes."""
        await self._connected.wait()
        await trio.sleep_until(trio.current_time() + delay)
        self._agent.restart(trio.current_time())
        self._flush()

    def _take(self, line: Line, now: float) -> None:
        """Do what a line asks for. Raises P2ptunError with a sentence and a remedy."""
        if line.ufrag:
            self._meet(line, now)
        elif line.candidate:
            self._add_candidate(line.candidate, now)
        elif line.candidate is not msgspec.UNSET or line.end_of_candidates:
            theirs = self._agent.remote_credentials
            if not line.owner or (theirs is not None and theirs.ufrag == line.owner):  # else of an earlier generation
                self._agent.end_of_remote_candidates(now)
        elif line.send is not None:
            self._send(line.send.encode(), now)
        elif line.event is None and line.received is None:
            raise P2ptunError("This line asks for nothing.", 'Write {"send":"text"}, or what the other side printed.')

    def _meet(self, line: Line, now: float) -> None:
        """Take the other side's description: the first, or that of a restart."""
        try:
            credentials = Credentials(line.ufrag, line.pwd)
        except MalformedPacket as error:
            raise P2ptunError("This line has no ufrag and pwd of ICE.", "Give the other side's line whole.") from error
        self._began_at = self._began_at or now
        self._agent.set_remote_options(RemoteOptions(line.lite, "renomination" in line.ice_options), now)
        self._agent.set_remote_credentials(credentials, now)
        for candidate in line.candidates:
            self._add_candidate(candidate, now)
        if line.end_of_candidates or "trickle" not in line.ice_options:
            self._agent.end_of_remote_candidates(now)

    def _add_candidate(self, text: str, now: float) -> None:
        try:
            self._agent.add_remote_candidate(Candidate.from_sdp(text), now)
        except MalformedPacket as error:
            complain(f"A candidate is passed over: {error}.", "Nothing needs to be done if another one works.")

    def _send(self, data: bytes, now: float) -> None:
        """Send a text when there is a path and the other side consents to it (RFC 7675): `_flush` sees."""
        if data < FIRST_OF_DATA:
            raise P2ptunError("This text is empty or could be taken for STUN.", "Begin it with a letter.")
        self._waiting.append(data)
        self._agent.request_consent(now)

    def _flush(self) -> None:
        """Send what is to be sent, act on the agent's events, set the clock: after everything that it was told."""
        while (packet := self._agent.next_transmit()) is not None:
            self._transmit(packet.payload, packet.source, packet.destination)
        while (event := self._agent.next_event()) is not None:
            self._act(event)
        while self._waiting and self._agent.may_send(trio.current_time()) and (path := self._agent.selected):
            self._transmit(self._waiting.popleft(), path.base, path.destination)
            self._agent.record_sent(trio.current_time())
        self._timer.deadline = self._deadline()

    def _act(self, event: ice.Event) -> None:
        match event:
            case ice.CandidateGathered(candidate) | ice.CandidateChanged(_, candidate):
                if candidate.type is not CandidateType.HOST and not self._has_told_all:  # hosts are in the description
                    say(candidate=candidate.to_sdp(), usernameFragment=candidate.ufrag)
            case ice.GatheringCompleted():
                self._has_told_all = True  # RFC 8838 13: nothing follows the end
                say(candidate="", usernameFragment=self._agent.local_credentials.ufrag)
            case ice.PairSelected():
                self._tell_path(event)
            case ice.Restarted():
                self._describe()
            case ice.StateChanged(state, reason):
                say(event="state", state=state.value, reason=reason and reason.value)
                if state is ice.AgentState.FAILED:
                    self._life.cancel()
            case ice.RoleChanged(role):
                say(event="role", role=role.value)

    def _describe(self) -> None:
        """Say what the other side needs to know of us; candidates that come later are trickled."""
        self._has_told_all = False
        ours, role = self._agent.local_credentials, self._agent.role.value
        candidates = [candidate.to_sdp() for candidate in self._agent.local_candidates]
        line = {"ufrag": ours.ufrag, "pwd": ours.password, "candidates": candidates, "role": role}
        say(**line, **{"ice-options": ICE_OPTIONS})

    def _tell_path(self, path: ice.PairSelected) -> None:
        pair = {"local": described(path.local), "remote": described(path.remote)}
        if not self._connected.is_set() and self._began_at is not None:
            self._connected.set()
            say(event="connected", **pair, ms=round((trio.current_time() - self._began_at) * 1000, 1))
        rtt_ms = None if path.rtt is None else round(path.rtt * 1000, 1)
        say(event="path", **pair, rtt_ms=rtt_ms, nominated=path.is_nominated)

    def _transmit(self, data: bytes, base: Endpoint, destination: Endpoint) -> None:
        if (problem := self._sockets[base].send(data, destination)) is not None:
            self._agent.record_send_error(base, destination, problem, trio.current_time())

    def _deadline(self) -> float:
        at = self._agent.next_timeout()
        return math.inf if at is None else at


def say(**line: object) -> None:
    """Write a line, at once."""
    print(json.dumps(line, separators=(",", ":")), flush=True)  # all but ASCII escaped: a peer's text moves no cursor


def complain(message: str, remedy: str) -> None:
    say(event="error", message=message, remedy=remedy)


def described(candidate: Candidate) -> dict[str, object]:
    """Describe a candidate for people."""
    kind, where = candidate.type.value, candidate.endpoint
    return {"type": kind, "transport": where.transport.value, "address": str(where.address), "port": where.port}


async def talk(role: Role, servers: list[StunUri], restart_after: float) -> int:
    """Make an agent and its sockets, talk, and return the exit code."""
    tie_breaker = int.from_bytes(os.urandom(TIE_BREAKER_BYTES), "big")
    agent = Agent(AgentConfig(pace=CONNECTED_PACE), Credentials.generate(os.urandom), role, tie_breaker, os.urandom)
    with Underlay() as underlay:
        await underlay.open(await read_network())
        await Conversation(agent, underlay.sockets).run(servers, restart_after)
    return 1 if agent.state is ice.AgentState.FAILED else 0


def main() -> int:
    """Run it as the shell called it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when nobody reads any more
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=[role.value for role in Role], default=Role.CONTROLLING.value)
    parser.add_argument("--stun", metavar="URI", action="append", default=[], help="stun:host[:port]; may be repeated")
    parser.add_argument("--restart-after", metavar="S", type=float, default=math.inf, help="seconds once connected")
    options = parser.parse_args()
    try:
        servers = [parse_uri(text, key="--stun") for text in options.stun]
        return trio.run(talk, Role(options.role), servers, options.restart_after)
    except ConfigError as error:
        parser.error(f"{error} {error.remedy}")
    except P2ptunError as error:
        complain(str(error), error.remedy)
        return 1


if __name__ == "__main__":
    sys.exit(main())
