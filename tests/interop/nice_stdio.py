"""libnice behind the lines of `examples/ice_stdio.py`: a program that says and takes the same.

    /usr/bin/python3 tests/interop/nice_stdio.py --role controlled --address 2001:db8::2 [--stun ADDRESS,PORT] [--lite]

It needs Debian's python3-gi and gir1.2-nice-0.1, which only the system's own Python sees, so it imports nothing of
this project. A line with "restart":true makes it restart of its own accord.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from typing import Any

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402 (the version comes first)

COMPONENT = 1
RECEIVE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p
)  # NiceAgentRecvFunc of agent.h: agent, stream, component, length, bytes, user data


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def receive(agent: int, stream: int, component: int, length: int, data: int, _: object) -> None:
    say(received=ctypes.string_at(data, length).decode())


class Peer:
    """One libnice agent with one stream. It restarts when the other side's credentials change."""

    def __init__(self, options: argparse.Namespace) -> None:
        flags = Nice.AgentOption.REGULAR_NOMINATION | Nice.AgentOption.ICE_TRICKLE | Nice.AgentOption.CONSENT_FRESHNESS
        if options.lite:
            flags |= Nice.AgentOption.LITE_MODE
        self.agent = Nice.Agent.new_full(GLib.MainContext.default(), Nice.Compatibility.RFC5245, flags)
        self.is_lite = options.lite
        self.remote: str | None = None
        self.has_restarted = False
        self.agent.set_property("upnp", False)
        self.agent.set_property("ice-tcp", False)
        self.agent.set_property("controlling-mode", options.role == "controlling")
        if options.stun:
            address, _, port = options.stun.rpartition(",")
            self.agent.set_property("stun-server", address)
            self.agent.set_property("stun-server-port", int(port))
        for text in options.address:
            address = Nice.Address.new()
            address.set_from_string(text)
            self.agent.add_local_address(address)
        self.agent.connect("candidate-gathering-done", lambda *_: self.describe())
        self.agent.connect("component-state-changed", self.tell_state)
        self.stream = self.agent.add_stream(COMPONENT)
        self.receiver = RECEIVE(receive)
        attach = ctypes.CDLL("libnice.so.10").nice_agent_attach_recv  # introspection leaves it out
        attach(ctypes.c_void_p(hash(self.agent)), self.stream, COMPONENT, None, self.receiver, None)
        self.agent.gather_candidates(self.stream)

    def describe(self) -> None:
        """Say who we are, with all candidates: libnice knows them by now."""
        _, ufrag, password = self.agent.get_local_credentials(self.stream)
        found = self.agent.get_local_candidates(self.stream, COMPONENT)
        candidates = [self.agent.generate_local_candidate_sdp(each).removeprefix("a=") for each in found]
        role = "controlling" if self.agent.get_property("controlling-mode") else "controlled"
        say(ufrag=ufrag, pwd=password, candidates=candidates, role=role, lite=self.is_lite)
        say(candidate="")

    def tell_state(self, _: object, stream: int, component: int, state: int) -> None:
        name = Nice.component_state_to_string(state)
        say(event="connected" if name == "ready" else "state", state=name)

    def read(self, channel: GLib.IOChannel, condition: GLib.IOCondition) -> bool:
        text = channel.readline()
        if not text:
            loop.quit()
            return False
        self.take(json.loads(text))
        return True

    def take(self, line: dict[str, Any]) -> None:
        """Do what a line asks for."""
        if line.get("restart"):
            self.restart()
        if "ufrag" in line:
            if self.remote not in (None, line["ufrag"]) and not self.has_restarted:
                self.restart()
            self.remote, self.has_restarted = line["ufrag"], False
            self.agent.set_remote_credentials(self.stream, line["ufrag"], line["pwd"])
        texts = line["candidates"] if "candidates" in line else [line.get("candidate")]
        parsed = [self.agent.parse_remote_candidate_sdp(self.stream, f"a={text}") for text in texts if text]
        if parsed:
            self.agent.set_remote_candidates(self.stream, COMPONENT, [each for each in parsed if each])
        if line.get("candidate") == "":
            self.agent.peer_candidate_gathering_done(self.stream)
        if "send" in line:
            self.agent.send(self.stream, COMPONENT, len(line["send"]), line["send"])

    def restart(self) -> None:
        self.agent.restart_stream(self.stream)
        self.has_restarted = True
        self.describe()


parser = argparse.ArgumentParser()
parser.add_argument("--role", required=True)
parser.add_argument("--address", action="append", default=[])
parser.add_argument("--stun")
parser.add_argument("--lite", action="store_true")
loop = GLib.MainLoop()
peer = Peer(parser.parse_args())
GLib.io_add_watch(
    GLib.IOChannel.unix_new(0), GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, peer.read
)
loop.run()
