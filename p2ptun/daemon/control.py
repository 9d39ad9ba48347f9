"""The control socket: `/run/p2ptun/NAME.sock`, one JSON object a line each way, never a TCP port.

A request is `{"verb": "status"}`; the answer is `{"ok": ...}` or `{"error": {"message": ..., "remedy": ...}}`.
The socket's mode is 0660, its group `p2ptun` where that group exists, so the file system decides who may ask.
"""

from __future__ import annotations

import grp
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
import trio

from p2ptun.errors import DeviceError, NotRunning, P2ptunError, PrivilegeError

DIRECTORY = Path("/run/p2ptun")
GROUP = "p2ptun"
MODE = 0o660
MAX_LINE = 1 << 20  # bytes: the status of a thousand peers
MAX_CLIENTS = 16
REPLY_TIMEOUT = 5.0  # seconds
CLIENT_TIMEOUT = 60.0  # seconds: a client that stays longer makes room for others, and may come again

Verb: TypeAlias = Callable[[], msgspec.Struct]


class Request(msgspec.Struct, frozen=True):
    """What a client asks."""

    verb: str


class Problem(msgspec.Struct, frozen=True):
    """Why it isn't answered, and what to do."""

    message: str
    remedy: str


def runtime_directory() -> Path:
    """Tell where the control sockets are: `/run/p2ptun`, unless `P2PTUN_RUNTIME_DIRECTORY` says otherwise."""
    return Path(os.environ.get("P2PTUN_RUNTIME_DIRECTORY", DIRECTORY))


def socket_path(name: str) -> Path:
    """Tell where the tunnel NAME listens."""
    return runtime_directory() / f"{name}.sock"


def running_tunnels() -> list[str]:
    """Name the tunnels that have a control socket here, alive or left over."""
    return sorted(path.stem for path in runtime_directory().glob("*.sock"))


class ControlServer:
    """Answers verbs on the control socket of one tunnel: `claim` it first, for as long as the block, then `serve`."""

    def __init__(self, name: str, verbs: Mapping[str, Verb]) -> None:
        self._name = name
        self._path = socket_path(name)
        self._verbs = verbs
        self._clients = trio.CapacityLimiter(MAX_CLIENTS)

    @contextmanager
    def claim(self) -> Iterator[trio.SocketListener]:
        """Bind the socket, replacing one that a killed process left; remove it at the end of the block.

        Raises:
            DeviceError: If a live process answers there, or the directory can't be written.
        """
        listener = self._bind()
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        finally:
            listener.close()
            with suppress(OSError):
                self._path.unlink()

    async def serve(self, listener: trio.SocketListener) -> None:
        """Answer clients until cancelled."""
        await trio.serve_listeners(self._serve_client, [listener])

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        if self._clients.statistics().tasks_waiting >= MAX_CLIENTS:
            return  # what waits costs a file descriptor, and the tunnel needs some itself
        async with self._clients:
            with trio.move_on_after(CLIENT_TIMEOUT), suppress(trio.BrokenResourceError):
                lines = _Lines(stream)
                while (line := await lines.next()) is not None:
                    await stream.send_all(self._answer(line) + b"\n")

    def _answer(self, line: bytes) -> bytes:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors, and not all it raises
            return _problem(f"That is no request: {error}.", 'Send one line: {"verb": "status"}')
        verb = self._verbs.get(request.verb)
        if verb is None:
            return _problem(
                f"The verb {request.verb[:40]!r} is unknown.", f"Known here: {', '.join(sorted(self._verbs))}"
            )
        return msgspec.json.encode({"ok": verb()})

    def _bind(self) -> socket.socket:
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._remove_leftover()
            return self._listen()
        except PermissionError as error:
            raise PrivilegeError(
                f"{self._path.parent} can't be written ({error.strerror}).", "Run p2ptun as root: sudo p2ptun ..."
            ) from error
        except OSError as error:
            raise DeviceError(
                f"The control socket {self._path} can't be made: {error.strerror}.",
                "Free that path, or choose another interface name with --name.",
            ) from error

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o777 & ~0o600)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(before)
            with suppress(KeyError, PermissionError):
                os.chown(self._path, -1, grp.getgrnam(GROUP).gr_gid)
            self._path.chmod(MODE)
            listener.listen(MAX_CLIENTS)
        except OSError:
            listener.close()
            raise
        return listener

    def _remove_leftover(self) -> None:
        if not self._path.exists():
            return
        if not stat.S_ISSOCK(self._path.stat().st_mode):
            raise DeviceError(f"{self._path} is in the way: it is no socket.", "Remove that file.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # one whose queue of clients is full runs as well
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except BlockingIOError:
                pass
        raise DeviceError(
            f"A tunnel named {self._name} already runs here.",
            f"Choose another name with --name, or stop that one; `p2ptun status {self._name}` shows it.",
        )


async def ask(name: str, verb: str) -> bytes:
    """Ask the tunnel NAME and return the JSON of what it answered.

    Raises:
        PrivilegeError: If the socket may not be opened.
        DeviceError: If nothing runs there, or no answer comes.
        P2ptunError: If it answers with a problem.
    """
    try:
        with trio.fail_after(REPLY_TIMEOUT):
            return await _ask(socket_path(name), verb)
    except PermissionError as error:
        raise PrivilegeError(
            f"The control socket of {name} may not be opened by this user.",
            f"Run it with sudo, or join the group {GROUP}: sudo usermod -aG {GROUP} $USER",
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"No tunnel named {name} runs here.", "`p2ptun status` lists those that run.") from error
    except (OSError, ValueError, RecursionError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise DeviceError(
            f"The tunnel {name} doesn't answer.",
            "If Ctrl-Z stopped it, fg lets it go on; else try again, or restart it.",
        ) from error


async def _ask(path: Path, verb: str) -> bytes:
    async with await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(msgspec.json.encode(Request(verb)) + b"\n")
        line = await _Lines(stream).next()
    if line is None:
        raise trio.BrokenResourceError
    answer = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if "ok" in answer:
        return bytes(answer["ok"])
    problem = msgspec.json.decode(answer.get("error", b"{}"), type=Problem)
    raise P2ptunError(problem.message, problem.remedy)


class _Lines:
    """Reads a stream line by line."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._pending = bytearray()

    async def next(self) -> bytes | None:
        """Return the next line without its end; None at the end of the stream, and for a line over `MAX_LINE`."""
        while (end := self._pending.find(b"\n")) < 0:
            chunk = await self._stream.receive_some()
            self._pending += chunk
            if not chunk or len(self._pending) > MAX_LINE:
                return None
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line


def _problem(message: str, remedy: str) -> bytes:
    return msgspec.json.encode({"error": Problem(message, remedy)})
