from __future__ import annotations

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.noise.pattern import IK_PSK2, Token, pattern_of

E, S, EE, ES, SE, SS, PSK = Token.E, Token.S, Token.EE, Token.ES, Token.SE, Token.SS, Token.PSK


def test_the_tunnels_pattern_is_spelt_out_as_in_the_specification() -> None:
    # Noise 9.4: IKpsk2:  <- s ...  -> e, es, s, ss   <- e, ee, se, psk
    assert IK_PSK2.name == "IKpsk2"
    assert IK_PSK2.responder_is_known
    assert IK_PSK2.messages == ((E, ES, S, SS), (E, EE, SE, PSK))
    assert IK_PSK2.protocol_name == b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("IK", ((E, ES, S, SS), (E, EE, SE))),
        ("IKpsk0", ((PSK, E, ES, S, SS), (E, EE, SE))),
        ("IKpsk1", ((E, ES, S, SS, PSK), (E, EE, SE))),
        ("XX", ((E,), (E, EE, S, ES), (S, SE))),
        ("XXpsk3", ((E,), (E, EE, S, ES), (S, SE, PSK))),
    ],
)
def test_modifiers_put_the_psk_in_its_place(name: str, messages: tuple[tuple[Token, ...], ...]) -> None:
    pattern = pattern_of(name)
    assert pattern.messages == messages
    assert pattern.psk_count == ("psk" in name)


@pytest.mark.parametrize("name", ["", "ik", "IKpsk", "IKpsk02", "IKpsk1+psk2", "QQ", "QQpsk1", " IK"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="no handshake pattern"):
        pattern_of(name)


def test_a_psk_needs_its_message() -> None:
    with pytest.raises(LocalProtocolError, match="IK has no message for psk3"):
        pattern_of("IKpsk3")
