"""The certificate that TLS clients see."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from p2ptun.errors import ConfigError
from p2ptun.server.certificate import Certificate
from tests.server.serving import make_certificate


def test_a_good_one_is_read(tmp_path: Path) -> None:
    Certificate(*make_certificate(tmp_path)).reload()


def test_one_that_is_missing_is_named(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    for pair, option in (((tmp_path / "none", key), "--tls-cert"), ((certificate, tmp_path / "none"), "--tls-key")):
        with pytest.raises(ConfigError, match="No such file") as error:
            Certificate(*pair)
        assert error.value.key == option
        assert error.value.remedy


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    _, key = make_certificate(tmp_path, "other")
    with pytest.raises(ConfigError, match="isn't the key") as error:
        Certificate(certificate, key)
    assert error.value.key == "--tls-key"


def test_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("no PEM")
    with pytest.raises(ConfigError, match="no PEM certificate"):
        Certificate(other, other)


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    key.chmod(0o640)
    Certificate(certificate, key)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody can read") as error:
        Certificate(certificate, key)
    assert "chmod" in error.value.remedy


def test_a_key_with_a_password_is_refused_without_asking(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError) as error:
        Certificate(certificate, locked)
    assert "password" in error.value.remedy


def test_a_bad_reload_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    certificate = Certificate(*files)
    context = certificate._context
    files[0].write_text("spoilt")
    with pytest.raises(ConfigError):
        certificate.reload()
    assert certificate._context is context
    for new, old in zip(make_certificate(tmp_path, "other"), files, strict=True):
        shutil.copy(new, old)
    certificate.reload()
    assert certificate._context is not context
