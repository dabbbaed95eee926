"""Keys and certificates."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.acme import pem


def certificate(*more: x509.ExtensionType, serial: int = 7) -> str:
    key, name, now = pem.new_key(), x509.Name([]), datetime(2027, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(now).not_valid_after(now + timedelta(days=6))
    for one in more:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_the_identity_is_that_of_the_example_in_rfc_9773():
    issuer = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    text = certificate(x509.AuthorityKeyIdentifier(issuer, None, None), serial=0x8765_4321)
    assert pem.identity(text) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_one_that_does_not_name_its_issuer_has_no_identity():
    assert pem.identity(certificate()) == ""


def test_the_names_are_those_of_the_dns_alone():
    names: list[x509.GeneralName] = [
        x509.DNSName("*.a.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    ]
    assert pem.held(certificate(x509.SubjectAlternativeName(names))).names == ("*.a.example",)
    assert pem.held(certificate()).names == ()


def test_the_times_are_seconds_since_1970():
    held = pem.held(certificate())
    assert held.not_after - held.not_before == 6 * 86400
    assert held.not_before == datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@given(st.binary(min_size=32, max_size=32))
def test_every_secret_is_a_key_and_always_the_same(secret: bytes):
    assert pem.account_key(secret).private_numbers() == pem.account_key(secret).private_numbers()


@pytest.mark.parametrize("secret", [b"\x00" * 32, b"\xff" * 32])
def test_the_outermost_secrets_are_keys_as_well(secret: bytes):
    assert isinstance(pem.account_key(secret).curve, ec.SECP256R1)


def test_a_request_has_the_names_and_nothing_else():
    found = pem.request(pem.new_key(), ("a.example", "*.b.example"))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example", "*.b.example"]
    assert not list(found.subject)
    assert found.is_signature_valid
