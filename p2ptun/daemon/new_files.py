"""Files that come to be together or not at all, and never in place of others."""

from __future__ import annotations

import os
import secrets
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2ptun.errors import ConfigError, P2ptunError, PrivilegeError

MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o755


class NewFiles:
    """New files of one directory, which only their owner can read.

    `check` first; then `prepare` each, under a name that nobody looks for; then `keep` gives all of them their names.
    Until then `discard` leaves no trace, and after it too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made_directory = False
        self._prepared: dict[Path, Path] = {}
        self._kept: dict[Path, Path] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, as they are or will be called."""
        return (*self._kept, *self._prepared)

    def check(self, *names: str) -> None:
        """See that these could be made.

        Raises:
            ConfigError: If one exists.
            PrivilegeError: If this user may not write there.
        """
        there = [path for path in (self._directory / name for name in names) if os.path.lexists(path)]
        if there:
            remedy = f"Choose another name, or remove what is there first: rm {shlex.join(map(str, there))}"
            raise ConfigError("", "NAME", f"{there[0]} exists already", remedy)
        above = self._directory
        while not above.exists() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            raise ConfigError("", "--directory", f"{above} is no directory", "Name a directory.")
        if not os.access(above, os.W_OK | os.X_OK):
            raise _unwritable(self._directory, "Permission denied")

    def prepare(self, name: str, content: str) -> None:
        """Write a file that is called `name` later. Raises P2ptunError when that can't be done."""
        path = self._directory / name
        hidden = self._directory / f".{name}.{secrets.token_hex(4)}"
        try:
            if not self._directory.is_dir():
                self._directory.mkdir(DIRECTORY_MODE, parents=True)
                self._made_directory = True
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
            self._prepared[path] = hidden
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        except PermissionError as error:
            raise _unwritable(self._directory, error.strerror) from error
        except OSError as error:
            raise _unwritten(path, error) from error

    def keep(self) -> None:
        """Give all their names, in the order in which they were prepared.

        A link never takes the place of a file, as a renaming would.

        Raises:
            P2ptunError: If that can't be done; then none has its name.
        """
        for path, hidden in self._prepared.items():
            try:
                os.link(hidden, path)
            except OSError as error:
                self.discard()
                raise _unwritten(path, error) from error
            self._kept[path] = hidden
        for hidden in self._prepared.values():
            hidden.unlink()
        self._prepared.clear()
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove whatever was made, the directory too. Harmless twice."""
        for path in (*self._prepared.values(), *self._kept):
            with suppress(OSError):
                path.unlink()
        self._prepared.clear()
        self._kept.clear()
        if self._made_directory:
            with suppress(OSError):
                self._directory.rmdir()


def _unwritable(directory: Path, reason: str | None) -> PrivilegeError:
    return PrivilegeError(
        f"{directory} can't be written ({reason}).", "Run it with sudo, or name another place with --directory."
    )


def _unwritten(path: Path, error: OSError) -> P2ptunError:
    return P2ptunError(f"{path} can't be written ({error.strerror}).", "Mend that, and pair again on both sides.")
