"""Files of certificates that a person names."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.daemon.authority import check_authorities
from p2ptun.errors import ConfigError
from tests.server.serving import make_certificate


def test_certificates_are_fine(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    check_authorities(certificate, "--ca-file")


def test_what_has_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, problem in (("empty", "there is no certificate"), ("absent", "No such file"), (".", "directory")):
        with pytest.raises(ConfigError) as caught:
            check_authorities(tmp_path / name, "ca_file")
        assert (caught.value.key, bool(caught.value.remedy)) == ("ca_file", True)
        assert problem in caught.value.problem
