"""What was asked for."""

from __future__ import annotations

import pytest

from p2ptun.server.http.options import HttpOptions


@pytest.mark.parametrize(
    ("store", "name"),
    [
        ("memory", "memory"),
        ("sqlite:/var/lib/p2ptun/rooms.db", "sqlite"),
        ("redis://:hidden@192.0.2.1/0", "redis"),
        ("rediss://192.0.2.1/0", "redis"),
        ("unix:///run/redis.sock", "redis"),
    ],
)
def test_a_store_is_named_without_its_secrets(store: str, name: str) -> None:
    options = HttpOptions((), store=store, secret="hidden")  # noqa: S106  # a test's
    assert options.store_name == name
    assert "hidden" not in repr(options)
