"""Programs that find each other by lines of JSON: ours (`examples/ice_stdio.py`), and others' made to speak alike."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from tests.e2e.lab import REPOSITORY, Lab, LabError, Node

Line: TypeAlias = dict[str, Any]

OURS = (sys.executable, str(REPOSITORY / "examples" / "ice_stdio.py"))
AIOICE = (sys.executable, "-m", "tests.interop.aioice_stdio")
SYSTEM_PYTHON = "/usr/bin/python3"  # the only one that sees Debian's python3-gi
LIBNICE = (SYSTEM_PYTHON, str(REPOSITORY / "tests" / "interop" / "nice_stdio.py"))
PATIENCE = 30.0  # seconds


def missing_libnice() -> str:
    """Say what this machine lacks for libnice; an empty string when it lacks nothing."""
    probe = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('Nice', '0.1')"]
    try:
        is_there = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        is_there = False
    return "" if is_there else "needs python3-gi and gir1.2-nice-0.1"


def is_signalling(line: Line) -> bool:
    """Tell whether a line is for the other side."""
    return "ufrag" in line or "candidate" in line


class Speaker:
    """One program under way; what it says is kept in `lines`, and carried to whom `tell` names."""

    def __init__(self, lab: Lab, node: Node, program: tuple[str, ...], *arguments: str) -> None:
        argv = [*program, *arguments]
        self.process = lab.popen(node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines: list[Line] = []
        self._listeners: list[Callable[[Line], None]] = []
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # the innermost: two speakers write to each other
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def write(self, **line: object) -> None:
        """Say something to the program."""
        self.write_text(json.dumps(line))

    def write_text(self, text: str) -> None:
        assert self.process.stdin is not None
        with self._writing:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()

    def tell(self, other: Speaker, edit: Callable[[Line], Line | None] = lambda line: line) -> None:
        """Carry what is for the other side to `other`, from the beginning on; `edit` may change or keep back lines."""

        def carry(line: Line) -> None:
            if is_signalling(line) and (edited := edit(line)) is not None:
                other.write(**edited)

        with self._changed:
            for line in self.lines:
                carry(line)
            self._listeners.append(carry)

    def wait_for(self, is_it: Callable[[Line], bool], what: str, timeout: float = PATIENCE) -> Line:
        """Give the first line that fits. Raises LabError when none came in time."""

        def find() -> Line | None:
            return next((line for line in self.lines if is_it(line)), None)

        with self._changed:
            found = self._changed.wait_for(find, timeout)
            if not found:
                raise LabError(f"{self.process.args!r} didn't say {what} within {timeout:g} s: {self.lines}")
            return found

    def wait_for_event(self, name: str) -> Line:
        return self.wait_for(lambda line: line.get("event") == name, name)

    def wait_for_text(self, text: str) -> None:
        """Wait until the other side's text has come."""
        self.wait_for(lambda line: line.get("received") == text, text)

    def of(self, key: str) -> list[Line]:
        """Give all lines with this key."""
        with self._changed:
            return [line for line in self.lines if key in line]

    def finish(self) -> int:
        """Close its input and wait for its end; give the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self._thread.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line: Line = json.loads(text)
            with self._changed:
                self.lines.append(line)
                for listener in self._listeners:
                    listener(line)
                self._changed.notify_all()


def introduce(offering: Speaker, answering: Speaker) -> None:
    """Carry the offer first; the answer goes back once the other side has spoken."""
    offering.tell(answering)
    answering.wait_for(lambda line: "ufrag" in line, "who it is")
    answering.tell(offering)


def talk(left: Speaker, right: Speaker, count: int = 5) -> None:
    """Connect, then carry texts both ways."""
    for speaker in (left, right):
        speaker.wait_for_event("connected")
    for number in range(count):
        for here, there in ((left, right), (right, left)):
            text = f"text {number} from {here.process.pid}"
            here.write(send=text)
            there.wait_for_text(text)
