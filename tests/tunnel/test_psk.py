from __future__ import annotations

from itertools import combinations

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.noise.handshake import PSK_SIZE
from p2ptun.tunnel.psk import NO_PSK, PskSource, mix_psks


def test_nothing_mixes_to_zeros() -> None:
    assert mix_psks({}) == NO_PSK == bytes(PSK_SIZE)


def test_every_set_of_secrets_gives_another_key() -> None:
    sources = list(PskSource)
    sets = [chosen for size in range(4) for chosen in combinations(sources, size)]
    keys = {mix_psks(dict.fromkeys(chosen, b"secret")) for chosen in sets}
    assert len(keys) == len(sets) == 8
    assert {len(key) for key in keys} == {PSK_SIZE}


def test_the_order_in_which_they_are_given_is_nothing() -> None:
    one, other = (PskSource.PAKE, b"a"), (PskSource.CONFIGURED, b"b")
    assert mix_psks(dict([one, other])) == mix_psks(dict([other, one]))


def test_bytes_dont_move_from_one_secret_to_another() -> None:
    left = mix_psks({PskSource.CONFIGURED: b"ab", PskSource.PAKE: b"c"})
    right = mix_psks({PskSource.CONFIGURED: b"a", PskSource.PAKE: b"bc"})
    assert left != right


def test_an_empty_secret_is_a_bug() -> None:
    with pytest.raises(LocalProtocolError, match="empty"):
        mix_psks({PskSource.PAKE: b""})
