"""Signed statements: DSSE envelopes with Ed25519 signatures.

The envelope and what is signed (the pre-authentication encoding) follow DSSE 1.0.0
(https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md), the payload's type in-toto's envelope layer
(https://github.com/in-toto/attestation, spec/v1/envelope.md). Public keys are PEM, ``SubjectPublicKeyInfo``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pipeline.evidence import ed25519
from pipeline.lib.key_file import KeyFile

FILE = "evidence.key"  # in the data folder
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_DER = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519 up to the key itself
PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Refused(Exception):
    """The envelope is not one, or no signature of it is by that key. The text is a clause."""


class PublicKey:
    """``id``: the SHA-256 of its DER form, in hex; no more than a hint which key signed."""

    def __init__(self, raw: bytes) -> None:
        self._raw, der = raw, _DER + raw
        self.pem = f"{_BEGIN}\n{base64.b64encode(der).decode()}\n{_END}\n"
        self.id = hashlib.sha256(der).hexdigest()

    def opened(self, envelope: bytes) -> dict[str, Any]:
        """The statement that this key has signed. Raises Refused."""
        payload_type, payload, signatures = _parts(envelope)
        for signature in signatures:
            if ed25519.verified(self._raw, encoded(payload_type, payload), signature):
                return _statement(payload_type, payload)
        raise Refused("it is not signed by this key")


class SigningKey:
    def __init__(self, raw: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PrivateKey,
        )  # who verifies has none

        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, statement: dict[str, Any]) -> str:
        """An envelope as one line of JSON."""
        payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
        signature = self._key.sign(encoded(PAYLOAD_TYPE, payload))
        return _written(payload, signature, self.public.id)


def signing_key(data: Path) -> SigningKey:
    """The installation's, made if it has none. ``data``: the data folder. Raises EngineFailed."""
    leaked = "remove it: the next bundle is signed with a new key"
    file = KeyFile(data / FILE, "evidence key", leaked)
    return SigningKey(file.read() or file.make())


def public_key(pem: bytes) -> PublicKey:
    """Raises ValueError if it is no Ed25519 key in PEM (RFC 7468), as RFC 8410 writes it."""
    found = re.search(f"{_BEGIN}([A-Za-z0-9+/=\\s]*){_END}", pem.decode("ascii", "replace"))
    if found is None:
        raise ValueError("it is not a public key in PEM")
    der = base64.b64decode("".join(found[1].split()), validate=True)
    if len(der) != len(_DER) + 32 or not der.startswith(_DER):
        raise ValueError("it is a key of another kind than Ed25519")
    return PublicKey(der[len(_DER) :])


def encoded(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding (PAE)."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload))


def unchecked(envelope: bytes) -> dict[str, Any]:
    """The statement, with no look at its signatures. Raises Refused."""
    payload_type, payload, _ = _parts(envelope)
    return _statement(payload_type, payload)


def as_signed(envelope: bytes, key: PublicKey | None) -> bool:
    """Whether every byte is as ``SigningKey.sign`` writes it: a signature does not cover how an envelope is written.
    ``key``: whose it must be."""
    _, payload, signatures = _parts(envelope)
    keyid = key.id if key else str(json.loads(envelope)["signatures"][0].get("keyid")) if signatures else ""
    return bool(signatures) and _written(payload, signatures[0], keyid).encode() == envelope


def _written(payload: bytes, signature: bytes, keyid: str) -> str:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope) + "\n"


def _parts(envelope: bytes) -> tuple[str, bytes, list[bytes]]:
    try:
        found = json.loads(envelope)
        signatures = [_decoded(one["sig"]) for one in found["signatures"]][:16]
        return str(found["payloadType"]), _decoded(found["payload"]), signatures
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("it is not a DSSE envelope") from error


def _decoded(text: str) -> bytes:
    """Standard and URL-safe base64, as DSSE asks of verifiers."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _statement(payload_type: str, payload: bytes) -> dict[str, Any]:
    if payload_type != PAYLOAD_TYPE:
        raise Refused("its payload is not an in-toto statement")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Refused("its payload is not JSON") from error
    if not isinstance(found, dict):
        raise Refused("its payload is not an in-toto statement")
    return found
