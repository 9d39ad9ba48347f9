"""What deserves a person's attention: told when it happens, and kept for `status` while it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from p2ptun.daemon.event import ErrorEvent, Event
from p2ptun.daemon.status import Health


class Notices:
    """Tells events through `emit`, and remembers those that stay true for a while."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit
        self._health: dict[str, Health] = {}

    def __iter__(self) -> Iterator[Health]:
        return iter(self._health.values())

    def tell(self, message: str, remedy: str) -> None:
        """Say once what is wrong and what to do."""
        self.emit(ErrorEvent(message, remedy))

    def warn(self, identifier: str, message: str, remedy: str) -> None:
        """Say it, and keep it for `status` under a stable name until it is withdrawn."""
        self._health[identifier] = Health(identifier, message, remedy)
        self.tell(message, remedy)

    def withdraw(self, identifier: str) -> None:
        """Forget what no longer holds; harmless when it was never said."""
        self._health.pop(identifier, None)
