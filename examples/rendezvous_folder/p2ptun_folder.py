"""Meet in a shared folder: `--rendezvous folder:/mnt/shared`. A room is a folder in it; each side has one in that."""

import time
from pathlib import Path

import trio

from p2ptun.errors import RoomCrowded, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, Context, Delivery, IceServers, Notice


class FolderRoom:
    def __init__(self, path: Path, side: str, number: str | None) -> None:
        self.number, self.ice, self._path, self._side, self._last = number, IceServers(), path, side, ""
        self._awaited = [notice for notice in Notice if not (path / notice.value).exists()]

    async def send(self, message: bytes, name: str = "") -> None:
        if (burnt := self._path / "burnt").exists():
            raise RoomGone("The room was closed.", "Get a new code.", burnt.read_text())
        (new := self._path / f"new-{self._side}").write_bytes(message)
        new.replace(self._path / (name or f"{self._side}/{time.time_ns()}"))  # so nobody reads half of it

    async def receive(self) -> Delivery:
        while not (burnt := self._path / "burnt").exists():
            for notice in [each for each in self._awaited if (self._path / each.value).exists()]:
                self._awaited.remove(notice)
                return notice
            for file in sorted(self._path.glob("side-*/*")):
                if file.parent.name != self._side and file.name > self._last:
                    self._last = file.name
                    return file.read_bytes()
            await trio.sleep(0.2)
        raise RoomGone("The room was closed.", "Get a new code.", burnt.read_text())

    async def renew_ice(self) -> IceServers:
        return self.ice

    async def burn(self, reason: BurnReason) -> None:
        await self.send(reason.value.encode(), "burnt")

    async def aclose(self) -> None:
        pass


class FolderRendezvous:
    def __init__(self, text: str, context: Context) -> None:
        self._root = Path(text.partition(":")[2]).resolve(strict=True)

    async def open_room(self) -> FolderRoom:
        number = str(max((int(each.name) for each in self._root.iterdir() if len(each.name) < 10), default=0) + 1)
        (self._root / number).mkdir()  # two can't make it
        return await self.enter_room(number, "opener", b"", number)

    async def join_room(self, number: str, opening: bytes) -> FolderRoom:
        if not (self._root / number).exists():
            raise RoomUnknown("There is no such room.", "Check the code.")
        return await self.enter_room(number, f"joiner-{time.time_ns()}", opening, number)

    async def enter_room(self, name: str, token: str, opening: bytes, number: str | None = None) -> FolderRoom:
        path, side = self._root / name, self._root / name / f"side-{token}"
        side.mkdir(parents=True, exist_ok=True)
        if (sides := len(list(path.glob("side-*")))) > 1:
            (path / (Notice.JOINED if sides == 2 else Notice.CROWDED).value).touch()
        if sides > 2 and not (path / "burnt").exists():
            side.rmdir()
            raise RoomCrowded("Two are in the room already.", "Get a new code.")
        for old in side.iterdir():  # what this side left in an earlier life
            old.unlink()
        room = FolderRoom(path, side.name, number)
        if opening:
            await room.send(opening)
        return room

    async def aclose(self) -> None:
        pass
