"""Keys, requests and certificates as PEM."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.ports.certificates.authority import Held

_CURVE = ec.SECP256R1()
_ORDER = (
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve (FIPS 186-4, D.1.2.3)
)


def account_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The key that follows from 32 random bytes, on P-256: what every authority accepts (RFC 8555, 6.2)."""
    return ec.derive_private_key(int.from_bytes(secret) % (_ORDER - 1) + 1, _CURVE)


def new_key() -> ec.EllipticCurvePrivateKey:
    """For one certificate."""
    return ec.generate_private_key(_CURVE)


def private(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS#8 as PEM."""
    form, hidden = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, hidden).decode()


def request(key: ec.EllipticCurvePrivateKey, names: tuple[str, ...]) -> x509.CertificateSigningRequest:
    """For a certificate with these names and no other."""
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(wanted, critical=False).sign(key, hashes.SHA256())


def first(pem: str) -> x509.Certificate:
    """The first certificate. Raises ValueError if there is none."""
    return x509.load_pem_x509_certificate(pem.encode())


def held(pem: str) -> Held:
    """See ``ports.certificates.authority.Authority.held``."""
    found = first(pem)
    try:
        more = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(more.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return Held(names, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def identity(pem: str) -> str:
    """What an authority knows the certificate by: its issuer's key and its serial number (RFC 9773, 4.1). "" if it
    does not name its issuer's key. Raises ValueError if there is no certificate."""
    found = first(pem)
    try:
        issuer = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    serial = found.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1)  # with room for the sign, as DER has it
    return f"{_base64(issuer)}.{_base64(number)}" if issuer else ""


def matches(pem: str, key: ec.EllipticCurvePrivateKey) -> bool:
    """True if the first certificate is for that key."""
    return first(pem).public_key() == key.public_key()


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
