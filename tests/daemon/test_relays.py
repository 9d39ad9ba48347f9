"""Relays from the daemon's side: who is given which credential and when, and what people and programs are told.

Against servers that run: tests/e2e/test_relay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
import trio.testing

from p2ptun.daemon.event import ErrorEvent, Event, RelayEvent
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.relays import Relays, relay_name
from p2ptun.daemon.turn_credentials import Login, SharedSecret, TurnCredentials, read_credentials
from p2ptun.ice.config import PathPolicy
from p2ptun.io.driver import Driver
from p2ptun.node.event import CredentialWanted, NodeEvent, PeerRekeyed, RelayFound, RelayLost, RelayRefused
from p2ptun.node.event import RelayEvent as NodeRelayEvent
from p2ptun.node.node import Node
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri
from p2ptun.turn.event import Problem
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, Transport
from tests.io.machine import FakeTun

pytestmark = pytest.mark.trio

URI, SECOND_URI = parse_uri("turn:turn.example.net"), parse_uri("turns:other.example.net:443")
SERVER = Server(Endpoint.of("192.0.2.1", 3478), "turn.example.net")
SECOND = Server(Endpoint.of("2001:db8::1", 443, Transport.TLS), "other.example.net")
RELAYED, ANOTHER = Endpoint.of("192.0.2.1", 50000), Endpoint.of("192.0.2.1", 50001)
UNIX_TIME = 1_800_000_000.0
LOGIN = TurnCredentials(Login(LongTermCredential("alice", "hush-hush")))


class AskedNode(Node):
    """A node that keeps what it was told of servers, and asks none."""

    def __init__(self) -> None:
        super().__init__(os.urandom)
        self.given: list[tuple[str, LongTermCredential | None, float | None]] = []

    def add_turn_server(
        self, server: Server, credential: LongTermCredential | None, expires_at: float | None, now: float
    ) -> None:
        self.given.append((server.name, credential, None if expires_at is None else expires_at - now))

    def set_turn_credential(
        self, name: str, credential: LongTermCredential, expires_at: float | None, now: float
    ) -> None:
        self.given.append((name, credential, None if expires_at is None else expires_at - now))


class Care:
    """A tunnel's relays, and what was told of them. Its wall clock is as far as trio's."""

    def __init__(
        self,
        credentials: TurnCredentials | None = None,
        policy: PathPolicy = PathPolicy.ANY,
        relay_credentials: Mapping[str, TurnCredentials] | None = None,
    ) -> None:
        self.told: list[Event] = []
        self.node = AskedNode()
        self.narrator, self.notices = Narrator(self.told.append), Notices(self.told.append)
        options = AdhocOptions(
            turn=(URI, SECOND_URI),
            turn_credentials=credentials,
            relay_credentials=relay_credentials or {},
            path_policy=policy,
        )
        began = trio.current_time()
        self.relays = Relays(
            options, self.node, self.narrator, self.notices, lambda: UNIX_TIME + trio.current_time() - began
        )

    def hear(self, *events: NodeRelayEvent) -> list[Event]:
        """Let the node say something; return what was told of it."""
        before = len(self.told)
        for event in events:
            self.narrator.handle(NodeEvent("", event))
            self.relays.handle(NodeEvent("", event))
        return self.told[before:]

    def start(self, nursery: trio.Nursery) -> None:
        driver = Driver(self.node, FakeTun(), lambda _: None)
        nursery.start_soon(self.relays.run, driver, lambda server: "")


# Credentials


async def test_a_relay_may_need_none() -> None:
    care = Care()
    care.relays.add(SERVER, 5.0)
    assert care.node.given == [("turn.example.net", None, None)]


async def test_a_login_is_given_to_every_relay() -> None:
    care = Care(LOGIN)
    care.relays.add(SERVER, 5.0)
    care.relays.add(SECOND, 6.0)
    credential = LongTermCredential("alice", "hush-hush")
    assert care.node.given == [("turn.example.net", credential, None), ("other.example.net", credential, None)]


async def test_a_login_is_given_to_no_relay_that_the_person_did_not_name() -> None:
    care = Care(LOGIN)
    care.relays.add(Server(Endpoint.of("192.0.2.9", 3478), "stranger.example.net"), 5.0)
    assert care.node.given == [("stranger.example.net", None, None)]


async def test_a_relay_may_have_a_login_of_its_own() -> None:
    other = TurnCredentials(Login(LongTermCredential("bob", "psst")))
    care = Care(LOGIN, relay_credentials={"other.example.net": other})
    care.relays.add(SERVER, 5.0)
    care.relays.add(SECOND, 6.0)
    assert [credential and credential.username for _, credential, _ in care.node.given] == ["alice", "bob"]


async def test_what_is_made_of_a_secret_is_made_anew_when_it_is_wanted(autojump_clock: trio.testing.MockClock) -> None:
    care = Care(TurnCredentials(SharedSecret("hush-hush", "alice", 600)))
    care.relays.add(SERVER, trio.current_time())
    async with trio.open_nursery() as nursery:
        care.start(nursery)
        await trio.sleep(300)
        care.hear(CredentialWanted("turn.example.net"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [lifetime for _, _, lifetime in care.node.given] == [pytest.approx(600), pytest.approx(600, abs=1)]
    names = [credential.username for _, credential, _ in care.node.given if credential is not None]
    assert names == ["1800000600:alice", "1800000900:alice"]


async def test_what_was_refused_a_moment_ago_is_not_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    for credentials in (TurnCredentials(SharedSecret("hush-hush", "alice", 600)), LOGIN):
        care = Care(credentials)
        care.relays.add(SERVER, trio.current_time())
        async with trio.open_nursery() as nursery:
            care.start(nursery)
            for _ in range(5):
                await trio.sleep(1)
                care.hear(CredentialWanted("turn.example.net"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(care.node.given) == 1


async def test_a_file_is_read_again_when_a_credential_is_wanted(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "turn"
    path.touch(0o600)
    path.write_text(f'username = "{UNIX_TIME + 60:.0f}"\npassword = "x"')
    care = Care(read_credentials(path))
    care.relays.add(SERVER, trio.current_time())
    path.write_text(f'username = "{UNIX_TIME + 3600:.0f}"\npassword = "y"')
    async with trio.open_nursery() as nursery:
        care.start(nursery)
        care.hear(CredentialWanted("turn.example.net"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [credential.password for _, credential, _ in care.node.given if credential is not None] == ["x", "y"]
    assert [lifetime for _, _, lifetime in care.node.given] == [pytest.approx(60), pytest.approx(3600, abs=1)]


async def test_who_wakes_up_gives_new_credentials(autojump_clock: trio.testing.MockClock) -> None:
    care = Care(TurnCredentials(SharedSecret("hush-hush", "", 600)))
    care.relays.add(SERVER, trio.current_time())
    async with trio.open_nursery() as nursery:
        care.start(nursery)
        await trio.sleep(4000)
        care.relays.wake()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(care.node.given) == 2


async def test_nobody_has_a_credential_to_give(autojump_clock: trio.testing.MockClock) -> None:
    care = Care()
    care.relays.add(SERVER, trio.current_time())
    async with trio.open_nursery() as nursery:
        care.start(nursery)
        care.hear(CredentialWanted("turn.example.net"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(care.node.given) == 1


# What is told


async def test_an_address_on_a_relay_is_told_to_programs_and_so_is_its_loss() -> None:
    care = Care()
    [ready] = care.hear(RelayFound(SERVER, RELAYED))
    assert ready == RelayEvent("turn.example.net:3478", "udp", "192.0.2.1", 50000, "ready", None)
    assert care.relays.names == ["turn.example.net:3478 (udp)"]
    [lost] = care.hear(RelayLost(SERVER, RELAYED, "it burns"))
    assert lost == RelayEvent("turn.example.net:3478", "udp", "192.0.2.1", 50000, "lost", "it burns")
    assert care.relays.names == []


async def test_a_refusal_is_told_to_people_and_stands_until_it_is_over() -> None:
    care = Care(LOGIN)
    care.relays.add(SERVER, 5.0)
    refused, note = care.hear(RelayRefused(SERVER, Problem.WRONG_CREDENTIALS.value, 401))
    sentence = "The relay turn.example.net:3478 doesn't accept the user name and password."
    assert refused == RelayEvent("turn.example.net:3478", "udp", None, None, "refused", sentence)
    assert isinstance(note, ErrorEvent)
    assert note.message == sentence
    assert [health.id for health in care.notices] == ["relay-turn.example.net"]
    care.hear(RelayFound(SERVER, RELAYED))
    assert list(care.notices) == []


async def test_more_is_said_where_the_socket_knows_more() -> None:
    care = Care()
    async with trio.open_nursery() as nursery:
        driver = Driver(care.node, FakeTun(), lambda _: None)
        nursery.start_soon(care.relays.run, driver, lambda server: f"It is {server.name}.")
        await trio.testing.wait_all_tasks_blocked()
        _, note = care.hear(RelayRefused(SERVER, Problem.UNTRUSTED.value))
        nursery.cancel_scope.cancel()
    assert isinstance(note, ErrorEvent)
    assert note.message.endswith("proves its name. It is turn.example.net.")


async def test_other_events_are_none_of_its_business() -> None:
    care = Care()
    care.relays.handle(NodeEvent("peer", PeerRekeyed()))
    assert care.told == []


async def test_a_relay_is_named_with_port_and_transport() -> None:
    assert relay_name(SECOND) == "other.example.net:443 (tls)"
    assert relay_name(Server(SECOND.endpoint, "2001:db8::1")) == "[2001:db8::1]:443 (tls)"


# Descriptions


def described(care: Care) -> None:
    care.relays.note_described()
    care.narrator.is_described = True


async def test_a_relay_that_comes_late_is_described() -> None:
    care = Care()
    described(care)
    note = care.hear(RelayFound(SERVER, RELAYED))[-1]
    assert isinstance(note, ErrorEvent)
    assert note.message == "A relay is ready now."
    assert care.narrator.changed.is_set()


async def test_an_address_that_takes_the_place_of_the_described_one_is_described() -> None:
    care = Care()
    care.hear(RelayFound(SERVER, RELAYED))
    described(care)
    assert len(care.hear(RelayFound(SERVER, ANOTHER))) == 1, "the old one still works"
    assert not care.narrator.changed.is_set()
    note = care.hear(RelayLost(SERVER, RELAYED, "replaced"))[-1]
    assert isinstance(note, ErrorEvent)
    assert "has changed" in note.message
    assert care.narrator.changed.is_set()


async def test_what_is_lost_without_another_changes_no_description() -> None:
    care = Care()
    care.hear(RelayFound(SERVER, RELAYED))
    described(care)
    assert len(care.hear(RelayLost(SERVER, RELAYED, "x"))) == 1
    assert len(care.hear(RelayFound(SERVER, ANOTHER))) == 2


@pytest.mark.parametrize(("is_described", "has_met"), [(False, False), (True, True)])
async def test_nobody_is_sent_a_description_in_vain(is_described: bool, has_met: bool) -> None:
    care = Care()
    care.narrator.is_described, care.narrator.has_met = is_described, has_met
    assert len(care.hear(RelayFound(SERVER, RELAYED))) == 1
    assert not care.narrator.changed.is_set()


# Credentials that a rendezvous gives


async def test_what_a_rendezvous_gave_is_used_and_fetched_anew_when_it_ends() -> None:
    care = Care()
    care.relays.accept("turn.example.net", LongTermCredential("1", "x"), 600, 5.0)
    care.relays.add(SERVER, 5.0)
    assert not care.relays.borrowed_ended.is_set()
    async with trio.open_nursery() as nursery:
        care.start(nursery)
        care.hear(CredentialWanted("turn.example.net"))
        await care.relays.borrowed_ended.wait()
        nursery.cancel_scope.cancel()
    care.relays.accept("turn.example.net", LongTermCredential("2", "y"), 600, 5.0)
    given = [(each.username, lifetime) for _, each, lifetime in care.node.given if each is not None]
    assert given[0] == ("1", 600.0 + 5.0 - 5.0)
    assert given[1] == ("2", 600.0)


async def test_what_the_person_named_is_not_overruled() -> None:
    care = Care(LOGIN)
    care.relays.accept("turn.example.net", LongTermCredential("1", "x"), 600, 5.0)
    care.relays.add(SERVER, 5.0)
    assert care.node.given == [("turn.example.net", LongTermCredential("alice", "hush-hush"), None)]
