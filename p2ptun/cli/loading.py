"""Loading what a verb needs, which is most of the time until the first packet."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage among the modules that are imported meanwhile, nor ever after: there is none.

    It saves a tenth of the time, and later collections the looking through of all that was loaded.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
