"""While a verb loads, nobody collects garbage; what was loaded is never looked through again."""

from __future__ import annotations

import gc

import pytest

from p2ptun.cli.loading import loading


def test_the_collector_rests_and_forgets_what_was_loaded() -> None:
    before = gc.get_freeze_count()
    try:
        with loading():
            assert not gc.isenabled()
            kept = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()


def test_who_had_it_off_keeps_it_off_and_an_error_turns_it_on() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
    with pytest.raises(ImportError), loading():
        raise ImportError("no such module")
    assert gc.isenabled()
    gc.unfreeze()
