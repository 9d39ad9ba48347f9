"""Errors out of nurseries: a person is told one thing, not a tree of things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from p2ptun.errors import P2ptunError


@contextmanager
def single_error() -> Iterator[None]:
    """Raise the first `P2ptunError` out of an exception group by itself; let groups without one pass."""
    try:
        yield
    except BaseException as error:
        first = _first(error)
        if first is None or first is error:
            raise
        raise first from first.__cause__


def _first(error: BaseException) -> P2ptunError | None:
    if isinstance(error, P2ptunError):
        return error
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return next((found for each in inner if (found := _first(each)) is not None), None)
