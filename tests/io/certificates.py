"""Certificates for tests: an authority of our own, what it vouches for, and what nobody does."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ALPN = ("stun.turn",)
YEAR = timedelta(days=365)


class Authority:
    """An authority, whose own certificate stands in `file`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = _builder(self._name, self._key, YEAR).issuer_name(self._name).add_extension(constraints, True)
        self.file = directory / "authority.pem"
        self.file.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def serve(self, *names: str, lifetime: timedelta = YEAR, alpn: Sequence[str] = ALPN) -> ssl.SSLContext:
        """Give a server a certificate for names and addresses, and what it makes sessions with."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.example")])
        builder = _builder(subject, key, lifetime).issuer_name(self._name)
        if names:
            builder = builder.add_extension(_alternatives(names), False)
        return _context(self._directory, builder.sign(self._key, hashes.SHA256()), key, alpn)

    def serve_by_itself(self, name: str) -> tuple[ssl.SSLContext, Path]:
        """Give a server a certificate that it has signed itself, and the file that it stands in."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "itself.example")])
        builder = _builder(subject, key, YEAR).issuer_name(subject).add_extension(_alternatives([name]), False)
        certificate = builder.sign(key, hashes.SHA256())
        file = self._directory / "itself.pem"
        file.write_bytes(_pem(certificate))
        return _context(self._directory, certificate, key, ALPN), file


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * YEAR)
        .not_valid_after(now + lifetime)
    )


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _context(
    directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, alpn: Sequence[str]
) -> ssl.SSLContext:
    file = directory / f"server-{certificate.serial_number}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(_pem(certificate) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context
