from __future__ import annotations

import pytest

from p2ptun.aead import sodium
from p2ptun.aead.algorithm import Algorithm, available_algorithms


@pytest.mark.parametrize(
    ("algorithm", "sizes"),
    [
        (Algorithm.AEGIS_128L, (16, 16, 32)),
        (Algorithm.AEGIS_256, (32, 32, 32)),
        (Algorithm.AES_256_GCM, (32, 12, 16)),
        (Algorithm.CHACHA20_POLY1305, (32, 12, 16)),
    ],
)
def test_sizes(algorithm: Algorithm, sizes: tuple[int, int, int]) -> None:
    assert (algorithm.key_size, algorithm.nonce_size, algorithm.tag_size) == sizes


def test_names_are_those_of_the_configuration() -> None:
    assert [algorithm.value for algorithm in Algorithm] == [
        "aegis-128l",
        "aegis-256",
        "aes-256-gcm",
        "chacha20-poly1305",
    ]


@pytest.mark.parametrize("has_aes", [True, False])
def test_what_is_offered_depends_on_the_aes_instructions(has_aes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sodium, "has_aes", lambda: has_aes)
    offered = available_algorithms()
    assert offered == (tuple(Algorithm) if has_aes else (Algorithm.CHACHA20_POLY1305,))
    assert offered[0] is (Algorithm.AEGIS_128L if has_aes else Algorithm.CHACHA20_POLY1305)
    assert Algorithm.AES_256_GCM.is_available is has_aes
    assert Algorithm.AEGIS_256.is_available
