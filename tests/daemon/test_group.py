"""Out of a tree of errors a person is told the one that we know."""

from __future__ import annotations

import pytest
import trio

from p2ptun.daemon.group import single_error
from p2ptun.errors import DeviceError, RendezvousError


async def fail(error: BaseException) -> None:
    raise error


async def run_all(*errors: BaseException) -> None:
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(fail, error)
        outer.cancel_scope.cancel()


def run(*errors: BaseException) -> None:
    with single_error():
        trio.run(run_all, *errors, strict_exception_groups=True)


def test_our_error_comes_out_of_any_depth_with_its_cause() -> None:
    error = DeviceError("gone", "come back")
    error.__cause__ = OSError(5, "io")
    with pytest.raises(DeviceError) as caught:
        run(error)
    assert caught.value is error
    assert isinstance(caught.value.__cause__, OSError)


def test_of_several_one_is_told() -> None:
    with pytest.raises((DeviceError, RendezvousError)):
        run(DeviceError("a"), RendezvousError("b"), ValueError("c"))


def test_what_is_a_bug_stays_as_it_is() -> None:
    with pytest.raises(BaseException) as caught:
        run(ValueError("bug"), KeyError("bug"))
    assert type(caught.value).__name__ == "ExceptionGroup"


def test_an_error_without_a_group_passes() -> None:
    error = DeviceError("plain")
    with pytest.raises(DeviceError) as caught, single_error():
        raise error
    assert caught.value is error
    with pytest.raises(KeyboardInterrupt), single_error():
        raise KeyboardInterrupt


def test_no_error_is_none() -> None:
    with single_error():
        pass
