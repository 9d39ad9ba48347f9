"""URIs: any text is read or refused by a ConfigError of one line, and what is read comes back."""

from __future__ import annotations

from p2ptun.errors import ConfigError
from p2ptun.stun.uri import parse_uri


def test_one_input(data: bytes) -> None:
    """Read the bytes as a URI, and as what follows each scheme."""
    text = data.decode(errors="replace")
    for candidate in (text, f"stun:{text}", f"turns:{text}"):
        try:
            uri = parse_uri(candidate)
        except ConfigError as error:
            _check_refusal(error)
            continue
        assert parse_uri(str(uri)) == uri
        assert 0 < uri.port_or_default < 65536


def _check_refusal(error: ConfigError) -> None:
    assert error.remedy
    assert "\n" not in str(error) + error.remedy
