from __future__ import annotations

from p2ptun.mdns.drop import DropReason


def test_no_two_reasons_read_alike() -> None:
    assert len({reason.value for reason in DropReason}) == len(DropReason)
