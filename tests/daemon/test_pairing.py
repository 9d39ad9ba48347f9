"""Two machines that pair: both come to matching files, or neither to any, whatever gets lost between them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from p2ptun.daemon import acquainting
from p2ptun.daemon.config import TunnelConfig, read_config
from p2ptun.daemon.event import CodeEvent, ErrorEvent, Event, MeetingEvent, PairedEvent, VerifyEvent
from p2ptun.daemon.new_files import NewFiles
from p2ptun.daemon.pair_options import PairOptions
from p2ptun.daemon.pairing import LAST_WORD, Pairing
from p2ptun.daemon.room_problem import CONFIRMATION_PATIENCE
from p2ptun.errors import ConfigError, NotMet, P2ptunError, RendezvousError, RoomGone, WrongCode
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.rendezvous.base import BurnReason, Notice, Room
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.code import Code, parse_code
from tests.daemon.room import SideOfRoom

pytestmark = pytest.mark.trio

URL = "http://192.0.2.1"


class Door(SideOfRoom):
    """A side of a room that ends for both, and may lose what is sent after `most` messages."""

    most = 1000

    async def send(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        if len(self.sent) <= self.most:
            self.other.deliver(message)

    async def burn(self, reason: BurnReason) -> None:
        await super().burn(reason)
        if self.most == Door.most:
            self.other.deliver(RoomGone("The room was burnt.", "", reason.value))


class OneRoom:
    """A rendezvous with one side of one room."""

    def __init__(self, room: Door) -> None:
        self._room = room

    async def open_room(self) -> Room:
        await trio.lowlevel.checkpoint()
        return self._room

    async def join_room(self, number: str, opening: bytes) -> Room:
        assert number == self._room.number
        self._room.other.deliver(Notice.JOINED)
        await self._room.send(opening)
        return self._room

    async def enter_room(self, name: str, token: str, opening: bytes) -> Room:
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class Machine:
    """One side, what it told, and how it ended."""

    options: PairOptions
    room: Door = field(default_factory=Door)
    answers: bytes = b""
    told: list[Event] = field(default_factory=list)
    error: P2ptunError | None = None

    async def pair(self, task_status: trio.TaskStatus[Code] = trio.TASK_STATUS_IGNORED) -> None:
        def emit(event: Event) -> None:
            self.told.append(event)
            if isinstance(event, CodeEvent):
                task_status.started(parse_code(event.code))

        reading, writing = os.pipe()
        os.write(writing, self.answers)
        os.close(writing)
        try:
            await Pairing(self.options, OneRoom(self.room), LineReader(reading), emit).pair()
        except P2ptunError as error:
            self.error = error
        finally:
            os.close(reading)

    @property
    def files(self) -> list[str]:
        return sorted(os.listdir(self.options.directory)) if self.options.directory.is_dir() else []

    @property
    def config(self) -> TunnelConfig:
        return read_config(self.options.directory / f"{self.options.name}.toml")

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    """Two machines with a directory each, and a room between them."""
    alice = Machine(PairOptions("home", (URL,), tmp_path / "alice", host_name="laptop"))
    bob = Machine(PairOptions("work", (URL, "http://192.0.2.2"), tmp_path / "bob", host_name="NAS in the Küche\x1b[1m"))
    alice.room.other, bob.room.other = bob.room, alice.room
    return alice, bob


async def pair(alice: Machine, bob: Machine, change: int = 0) -> None:
    """Let alice open a room and bob join it, by a code that differs from hers if there is to be a `change`."""
    async with trio.open_nursery() as nursery:
        code = await nursery.start(alice.pair)
        bob.options = replace(bob.options, code=Code(code.room, code.secret ^ change))
        nursery.start_soon(bob.pair)


async def test_both_sides_come_to_matching_files(machines: tuple[Machine, Machine]) -> None:
    alice, bob = machines
    await pair(alice, bob)
    assert (alice.error, bob.error) == (None, None)
    assert (alice.files, bob.files) == (["home.key", "home.psk", "home.toml"], ["work.key", "work.psk", "work.toml"])
    for machine in machines:
        for path in machine.options.directory.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    here, there = alice.config, bob.config
    assert (here.keys.public, there.keys.public) == (there.peer.public_key, here.peer.public_key)
    assert here.peer.psk == there.peer.psk != bytes(32)
    assert (here.peer.name, there.peer.name) == ("nas-in-the-k-che-1m", "laptop")
    assert (here.rendezvous, there.rendezvous) == (alice.options.rendezvous, bob.options.rendezvous)
    for one, other in ((here, there), (there, here)):
        assert {ip_network(each.ip) for each in one.addresses} == set(other.peer.allowed_ips)
        assert {each.network for each in one.addresses} == {each.network for each in other.addresses}


async def test_no_key_counts_as_safe_that_a_quantum_computer_would_find(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2ptun.signal.pairing.draw_kem_key", lambda random_bytes: None)
    alice, bob = machines
    await pair(alice, bob)
    assert (alice.error, bob.error) == (None, None)
    assert (alice.files, bob.files) == (["home.key", "home.toml"], ["work.key", "work.toml"])
    assert alice.config.peer.psk is bob.config.peer.psk is None


async def test_both_sides_are_told(machines: tuple[Machine, Machine]) -> None:
    alice, bob = machines
    await pair(alice, bob)
    assert [type(event) for event in alice.told] == [CodeEvent, MeetingEvent, PairedEvent]
    assert [type(event) for event in bob.told] == [PairedEvent]
    paired = alice.told[-1]
    assert isinstance(paired, PairedEvent)
    assert (paired.name, paired.peer) == ("home", "nas-in-the-k-che-1m")
    assert [Path(each).name for each in paired.files] == ["home.key", "home.psk", "home.toml"]
    assert paired.addresses == [str(each) for each in alice.config.addresses]
    assert paired.peer_addresses == [str(each) for each in bob.config.addresses]
    assert BurnReason.DONE in (alice.room.burnt, bob.room.burnt)


async def test_what_a_person_wants_is_so(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    alice, bob = machines
    keys, key_file = KeyPair.of_private(bytes(range(32))), tmp_path / "mine.key"
    key_file.touch(0o600)
    key_file.write_text(encode_key(keys.private))
    alice.options = replace(
        alice.options,
        addresses=(ip_interface("172.31.9.1/30"),),
        routes=(ip_network("172.30.0.0/24"), ip_network("192.168.1.0/24")),
        keys=keys,
        key_file=key_file,
        peer_name="tower",
    )
    bob.options = replace(bob.options, addresses=(ip_interface("172.31.9.2/30"), ip_interface("192.168.1.1/32")))
    await pair(alice, bob)
    assert (alice.error, bob.error) == (None, None)
    assert alice.files == ["home.psk", "home.toml"]
    assert (alice.config.keys.public, alice.config.peer.name) == (keys.public, "tower")
    assert bob.config.peer.public_key == keys.public
    assert bob.config.peer.allowed_ips == (ip_network("172.31.9.1/32"), ip_network("172.30.0.0/24"))
    assert [event.peer_routes for event in bob.events(PairedEvent)] == [["172.30.0.0/24"]]
    assert ["192.168.1.0/24" in event.message for event in bob.events(ErrorEvent)] == [True]


async def test_a_wrong_code_leaves_nothing(machines: tuple[Machine, Machine]) -> None:
    alice, bob = machines
    await pair(alice, bob, change=1)
    for machine in machines:
        assert isinstance(machine.error, WrongCode)
        assert machine.error.remedy
        assert machine.files == []
    assert BurnReason.WRONG_CODE in (alice.room.burnt, bob.room.burnt)


@pytest.mark.parametrize("name", ["home.toml", "home.key", "home.psk"])
async def test_nothing_is_said_when_a_file_exists(machines: tuple[Machine, Machine], name: str) -> None:
    alice, _ = machines
    alice.options.directory.mkdir()
    (alice.options.directory / name).touch()
    await alice.pair()
    assert isinstance(alice.error, ConfigError)
    assert "exists already" in alice.error.problem
    assert (alice.told, alice.room.sent, alice.files) == ([], [], [name])


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("most", range(7))
async def test_whatever_is_lost_nobody_is_left_in_the_dark(
    machines: tuple[Machine, Machine], loser: int, most: int, autojump_clock: trio.testing.MockClock
) -> None:
    """A side that has files knows that the other one has, or says that it doesn't know."""
    autojump_clock.autojump_threshold = 0.02  # a thread reads the routes meanwhile
    alice, bob = machines
    machines[loser].room.most = most
    for machine in machines:
        machine.options = replace(machine.options, timeout=60.0)
    await pair(alice, bob)
    kept = [len(machine.files) for machine in machines]
    assert set(kept) <= {0, 3}, kept
    for machine, other in ((alice, bob), (bob, alice)):
        if machine.error is None:
            assert other.files
        elif machine.files:
            assert "didn't say whether" in str(machine.error)
            assert machine.error.remedy.endswith(
                f"rm {' '.join(map(str, sorted(machine.options.directory.iterdir())))}"
            )
    if most == 0:
        assert kept == [0, 0]


async def test_a_side_that_gives_up_takes_back_what_the_other_one_has_kept(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = machines
    keep = NewFiles.keep

    def fail(files: NewFiles) -> None:
        if any("bob" in str(path) for path in files.paths):
            raise P2ptunError("The disk is full.")
        keep(files)

    monkeypatch.setattr(NewFiles, "keep", fail)
    await pair(alice, bob)
    assert (alice.files, bob.files) == ([], [])
    assert str(bob.error) == "The disk is full."
    assert str(alice.error) == "The other side has given up."


async def test_time_runs_out(machines: tuple[Machine, Machine], autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    alice, _ = machines
    alice.options = replace(alice.options, timeout=5.0)
    await alice.pair()
    assert str(alice.error) == "Not paired after 5 s."
    assert alice.error is not None
    assert alice.error.remedy == "Nothing was written. Give it more with --timeout."
    assert (alice.room.burnt, alice.room.is_closed) == (BurnReason.LEFT, True)


@pytest.mark.parametrize(("said", "told"), [(0, "didn't show that he knows the code"), (1, "has given up")])
async def test_silence_is_a_wrong_code(
    machines: tuple[Machine, Machine], said: int, told: str, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.02
    alice, bob = machines
    bob.room.most = said
    bob.options = replace(bob.options, timeout=3600.0)
    before = trio.current_time()
    await pair(alice, bob)
    assert "didn't show that he knows the code" in str(alice.error)
    assert CONFIRMATION_PATIENCE <= trio.current_time() - before < CONFIRMATION_PATIENCE + LAST_WORD
    assert isinstance(alice.error, NotMet)
    assert alice.room.burnt is BurnReason.SILENT
    assert told in str(bob.error)


@pytest.mark.parametrize(("answers", "is_right"), [(b"what\nyes\n", True), (b"no\n", False), (b"", False)])
async def test_words_are_compared(machines: tuple[Machine, Machine], answers: bytes, is_right: bool) -> None:
    alice, bob = machines
    alice.options, alice.answers = replace(alice.options, verifies=True), answers
    bob.options, bob.answers = replace(bob.options, verifies=True), b"YES\n"
    await pair(alice, bob)
    (words,), (same,) = alice.events(VerifyEvent), bob.events(VerifyEvent)
    assert words == same
    assert len(words.words) == 6
    assert bool(alice.files) is bool(bob.files) is is_right
    assert isinstance(alice.error, WrongCode) is not is_right
    assert isinstance(bob.error, WrongCode) is not is_right
    assert len(alice.events(ErrorEvent)) == answers.startswith(b"what")


async def test_one_key_is_not_for_two_machines(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    alice, bob = machines
    for machine in machines:
        machine.options = replace(machine.options, keys=KeyPair.of_private(bytes(32)), key_file=tmp_path / "key")
    await pair(alice, bob)
    assert {str(alice.error), str(bob.error)} <= {"Both sides have the same key.", "The other side has given up."}
    assert (alice.files, bob.files) == ([], [])


async def test_a_third_party_is_told_of(machines: tuple[Machine, Machine]) -> None:
    alice, bob = machines
    alice.room.deliver(Notice.CROWDED)
    await pair(alice, bob)
    assert ["refused" in event.message for event in alice.events(ErrorEvent)] == [True]
    assert alice.error is None


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (RoomGone("Gone.", "", BurnReason.DONE.value), "This code has been used: each is good for one meeting."),
        (RoomGone("Gone.", "", BurnReason.LEFT.value), "The other side has given up."),
        (RoomGone("Gone.", "", "because"), "Gone."),
        (RendezvousError("It is closed."), "It is closed."),
    ],
)
async def test_what_the_rendezvous_says_is_told(
    machines: tuple[Machine, Machine], problem: RendezvousError, told: str
) -> None:
    alice, _ = machines
    alice.room.deliver(problem)
    await alice.pair()
    assert str(alice.error) == told
    assert alice.files == []


async def test_who_runs_another_command_is_told(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquainting, "encode_acquaintance", lambda acquaintance: b"\x01 is no pairing")
    await pair(*machines)
    told = {str(machine.error) for machine in machines}
    assert any("makes no sense here" in each for each in told)
    assert told <= {*[each for each in told if "makes no sense" in each], "The other side has given up."}
    assert machines[0].files == machines[1].files == []


async def test_a_room_that_was_burnt_can_not_be_joined(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(place: OneRoom, number: str, opening: bytes) -> Room:
        raise RoomGone("Gone.", "", BurnReason.WRONG_CODE.value)

    monkeypatch.setattr(OneRoom, "join_room", refuse)
    _, bob = machines
    bob.options = replace(bob.options, code=Code(42, 7))
    await bob.pair()
    assert isinstance(bob.error, WrongCode)
    assert bob.files == []
