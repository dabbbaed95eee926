"""A certificate authority for tests, and what a client gets."""

from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.config.settings import Settings


class Authority:
    """Issues certificates that its ``context`` verifies."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self._root = self._signed(self._name, self._key.public_key(), 30, x509.BasicConstraints(True, None))

    @property
    def root(self) -> str:
        """As PEM."""
        return self._root.public_bytes(serialization.Encoding.PEM).decode()

    def context(self) -> ssl.SSLContext:
        """That of a client which trusts this authority alone."""
        return ssl.create_default_context(cadata=self.root)

    def issue(self, *names: str, days: float = 10) -> str:
        """Certificate, chain and key as PEM, valid until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        more = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        certificate = self._signed(subject, key.public_key(), days, more)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode() + self.root + private.decode()

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float, more: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(more, critical=False)
        builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(
            now + timedelta(days=days)
        )
        return builder.sign(self._key, hashes.SHA256())


def port(setting: str) -> int:
    return int(setting.rpartition(":")[2])


def asked(
    settings: Settings, host: str, path: str = "/", authority: Authority | None = None, **headers: str
) -> tuple[int, str, str]:
    """Status, ``Location`` and HSTS; over HTTPS if an authority is given, whose certificate is verified."""
    scheme = settings.proxy_https if authority else settings.proxy_http
    connection = http.client.HTTPConnection("127.0.0.1", port(scheme), timeout=5)
    if authority:
        plain = socket.create_connection(("127.0.0.1", port(scheme)), timeout=5)
        connection.sock = authority.context().wrap_socket(plain, server_hostname=host)
    try:
        connection.request("GET", path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        answer.read()
        return (
            answer.status,
            answer.getheader("Location", ""),
            answer.getheader("Strict-Transport-Security", ""),
        )
    finally:
        connection.close()
