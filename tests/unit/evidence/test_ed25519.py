"""Signatures are checked as the library that makes them checks them."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evidence.ed25519 import verified
from pipeline.evidence.signing import SigningKey, public_key

ORDER = 2**252 + 27742317777372353535851937790883648493


def by_the_library(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signed(seed: bytes, message: bytes) -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.public_key().public_bytes_raw(), key.sign(message)


# RFC 8032, section 7.1: public key, message, signature.
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_examples_of_the_standard_are_valid_and_nothing_near_them(public, message, signature):
    key, text, mark = (bytes.fromhex(one) for one in (public, message, signature))
    assert verified(key, text, mark)
    assert not verified(key, text + b"x", mark)
    for at in range(64):
        assert not verified(key, text, mark[:at] + bytes([mark[at] ^ 1]) + mark[at + 1 :])
    assert not verified(key, text, mark[:-1])
    assert not verified(key[:-1], text, mark)


def test_a_signature_is_written_in_one_way_only():
    public, mark = signed(b"1" * 32, b"text")
    other = int.from_bytes(mark[32:], "little") + ORDER
    assert not verified(public, b"text", mark[:32] + other.to_bytes(32, "little"))
    assert not verified(b"\xff" * 32, b"text", mark)  # no point of the curve
    assert not verified(b"\x02" + bytes(31), b"text", mark)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=300),
    at=st.integers(0, 511),
    where=st.sampled_from(["none", "key", "signature"]),
)
def test_it_agrees_with_the_library(seed, message, at, where):
    public, mark = signed(seed, message)
    if where == "key":
        public = (int.from_bytes(public, "big") ^ 1 << at % 256).to_bytes(32, "big")
    elif where == "signature":
        mark = (int.from_bytes(mark, "big") ^ 1 << at).to_bytes(64, "big")
    assert verified(public, message, mark) == by_the_library(public, message, mark) == (where == "none")


def test_keys_are_read_and_written_as_the_library_does():
    key = Ed25519PrivateKey.from_private_bytes(b"1" * 32).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ours = SigningKey(b"1" * 32).public
    assert ours.pem.encode() == pem
    assert public_key(b"a comment\n" + pem.replace(b"\n", b"\r\n")).id == ours.id
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    for wrong in (
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        pem.replace(b"MCow", b"MCo*"), pem.replace(b"MCow", b""), pem[:-10], b"", b"\xff" * 100,
    ):  # fmt: skip
        with pytest.raises(ValueError):  # noqa: PT011 - some are base64's own
            public_key(wrong)
