"""Who has which key: a directory of names that is read from the key's side."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Directory(Generic[KeyT]):
    """Each name has some keys; several names may share one. Looking a key up takes the same time however many there
    are.
    """

    def __init__(self) -> None:
        self._keys: dict[str, tuple[KeyT, ...]] = {}
        self._names: dict[KeyT, dict[str, None]] = {}

    def set(self, name: str, keys: Iterable[KeyT]) -> None:
        """Let `name` have these keys and no others. Costs next to nothing when they are those it has."""
        new = tuple(keys)
        old = self._keys.get(name, ())
        if new == old:
            return
        for key in set(old).difference(new):
            self._take(name, key)
        for key in new:
            self._names.setdefault(key, {})[name] = None
        if new:
            self._keys[name] = new
        else:
            del self._keys[name]

    def forget(self, name: str) -> None:
        """Take every key from `name`; harmless when it has none."""
        self.set(name, ())

    def find(self, key: KeyT) -> tuple[str, ...]:
        """Name those who have `key`, who had it first before the others."""
        return tuple(self._names.get(key, ()))

    def _take(self, name: str, key: KeyT) -> None:
        names = self._names[key]
        del names[name]
        if not names:
            del self._names[key]
