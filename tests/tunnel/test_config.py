from __future__ import annotations

import pytest

from p2ptun.aead.algorithm import available_algorithms
from p2ptun.errors import AuthenticationFailed, LocalProtocolError
from p2ptun.tunnel.config import SessionConfig
from tests.tunnel.world import GREATER, LESSER, config_of


def test_defaults() -> None:
    config = SessionConfig(LESSER, GREATER.public)
    assert config.algorithms == available_algorithms()
    assert config.psk == bytes(32)


def test_the_psk_is_never_shown() -> None:
    shown = repr(config_of(LESSER, GREATER, psk=b"secret secret secret secret 1234"))
    assert "secret" not in shown
    assert LESSER.private.hex() not in shown


def test_nonsense_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="needs an algorithm"):
        config_of(LESSER, GREATER, algorithms=())
    with pytest.raises(LocalProtocolError, match="rekey interval"):
        config_of(LESSER, GREATER, rekey_interval=0.99)
    with pytest.raises(LocalProtocolError, match="our own key"):
        config_of(LESSER, LESSER)


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"short", b""])
def test_a_useless_key_is_refused_before_it_can_do_harm(public: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        SessionConfig(LESSER, public)
