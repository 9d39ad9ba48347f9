"""The status document: it holds to its schema in every state, and its numbers are those of the node."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest

from p2ptun.aead.buffer import Batch
from p2ptun.daemon.report import report
from p2ptun.daemon.status import Health, InterfaceStatus, Status, path_status
from p2ptun.ice.role import Role
from p2ptun.node.event import FailureReason
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, encode_message, success_response
from tests.node.world import World, ping, pong
from tests.sim.network import at
from tests.sim.node import NodeHost

SCHEMA = json.loads(files("p2ptun.cli").joinpath("status.schema.json").read_text("utf-8"))


def document(host: NodeHost, *health: Health) -> dict[str, Any]:
    """Take a host's status as a program gets it, held to the schema."""
    interface = InterfaceStatus("p2ptun0", ["10.77.0.1/31"], 1400, "k" * 43 + "=", 12.5)
    encoded = msgspec.json.encode(report(host.node, interface, health, {"send: no route": 2}, host.network.now))
    made: dict[str, Any] = json.loads(encoded)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(made, SCHEMA)
    assert msgspec.json.decode(encoded, type=Status).schema_version == 1
    assert made["drops"] == {"send: no route": 2}
    return made


def test_the_schema_refuses_what_is_no_status() -> None:
    good = document(World().alice)
    for key in good:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({each: value for each, value in good.items() if each != key}, SCHEMA)
    for key in good["peers"][0]:
        peer = {each: value for each, value in good["peers"][0].items() if each != key}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, "peers": [peer]}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, "schema_version": 2}, SCHEMA)
    jsonschema.validate({**good, "later": 1}, SCHEMA)


def test_a_peer_that_nothing_is_known_of() -> None:
    [peer] = document(World().alice)["peers"]
    assert (peer["name"], peer["state"], peer["public_key"], peer["allowed_ips"]) == ("bob", "connecting", "", [])
    assert peer["path"] is peer["aead"] is peer["last_handshake_s"] is peer["reason"] is peer["next_timer"] is None


def test_a_connected_peer() -> None:
    world = World(roles=(Role.CONTROLLING, Role.CONTROLLING)).connect()
    world.alice.send(ping(1), ping(2))
    world.bob.send(pong(1))
    world.network.run(2)
    [peer] = document(world.alice)["peers"]
    assert peer["state"] == "connected"
    assert peer["allowed_ips"] == ["10.77.0.2/32", "fd77::2/128"]
    assert peer["path"]["kind"] == "direct"
    assert peer["path"]["remote"] == {"type": "host", "transport": "udp", "address": "192.0.2.2", "port": 5002}
    assert peer["path"]["rtt_ms"] == pytest.approx(40, abs=1)
    assert peer["aead"] == "chacha20-poly1305"
    assert 1 < peer["last_handshake_s"] < 3
    assert (peer["tx_packets"], peer["tx_bytes"], peer["rx_packets"], peer["rx_bytes"]) == (2, 56, 1, 28)
    role = peer["ice"]["role"]
    assert peer["ice"] == {"role": role, "pairs": 1, "generation": 0, "checks_done": 1, "checks_total": 1}
    assert {each["peers"][0]["ice"]["role"] for each in (document(world.alice), document(world.bob))} == {
        "controlling",
        "controlled",
    }
    assert peer["next_timer"]


def test_a_peer_whose_path_died_is_connecting_again_and_says_why() -> None:
    world = World().connect()
    world.talk(2)
    world.cut()
    world.talk(40)
    [peer] = document(world.alice)["peers"]
    assert (peer["state"], peer["reason"]) == ("connecting", FailureReason.CONSENT_EXPIRED.value)
    assert peer["path"] is None
    assert peer["ice"]["generation"] >= 1


def test_a_failed_peer_says_why_and_what_was_dropped() -> None:
    world = World().connect()
    world.talk(2)
    world.bob.node.close(world.network.now)
    world.network.flush()
    world.network.run(1)
    world.alice.send(ping(1))
    [peer] = document(world.alice, Health("x", "bad", "mend"))["peers"]
    assert (peer["state"], peer["reason"]) == ("failed", FailureReason.PEER_CLOSED.value)
    assert peer["drops"]["peer: not connected"] > 0


def test_what_stands_by_is_told_like_a_path() -> None:
    world = World().connect()
    [before] = document(world.alice)["peers"]
    assert before["standby_path"] is None
    world.to_bob.standby = world.to_bob.path
    [peer] = document(world.alice)["peers"]
    assert peer["path"] is not None
    assert peer["standby_path"] == peer["path"]


def test_health_and_interface_are_told_as_given() -> None:
    made = document(World().alice, Health("stun", "No answer.", "Wait."))
    assert made["health"] == [{"id": "stun", "message": "No answer.", "remedy": "Wait."}]
    assert made["interface"]["addresses"] == ["10.77.0.1/31"]
    assert made["nat"] == {"mapping": None, "filtering": None}


def test_no_path_is_none() -> None:
    assert path_status(None, 1400) is None


@pytest.mark.parametrize(
    ("seen", "mapping"),
    [
        (["198.51.100.1:7"], None),
        (["198.51.100.1:7", "198.51.100.1:7"], "endpoint-independent"),
        (["198.51.100.1:7", "198.51.100.1:8"], "endpoint-dependent"),
    ],
)
def test_mapping_of_the_nat_as_servers_saw_it(seen: list[str], mapping: str | None) -> None:
    world = World()
    node, now = world.alice.node, world.network.now
    (base,) = {each.base for each in node.peers[0].agent.local_candidates}
    for number, _ in enumerate(seen):
        node.add_stun_server(at(f"203.0.113.{number + 1}:3478"), now)
    node.end_of_servers(now)
    node.handle_timeout(now + 0.1)
    while (asked := node.next_transmit()) is not None:
        endpoint = at(seen[asked.destination.address.packed[-1] - 1])
        answer = success_response(decode_message(asked.payload), (XOR_MAPPED_ADDRESS, endpoint))
        datagram = Batch(2048)
        datagram.append(encode_message(answer))
        node.receive_datagrams(datagram, [asked.destination], base, now + 0.1)
    assert document(world.alice)["nat"] == {"mapping": mapping, "filtering": None}
