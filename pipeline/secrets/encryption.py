"""Encrypts secrets at rest: AES-256-GCM with a key in a file. Only this module imports ciphers."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.errors import EngineFailed
from pipeline.lib.key_file import KeyFile
from pipeline.lib.secret import Secret

_NONCE = 12  # bytes, random; NIST SP 800-38D allows 2^32 of them with one key


class Key:
    """``id`` identifies the key without revealing anything about it."""

    def __init__(self, raw: bytes) -> None:
        self._cipher = AESGCM(raw)
        self.id = hashlib.sha256(b"pushlive secrets key" + raw).hexdigest()[:16]

    def encrypt(self, value: Secret, context: str) -> str:
        """The encrypted value in base64. It can be decrypted only with the same ``context``."""
        nonce = token_bytes(_NONCE)
        encrypted = self._cipher.encrypt(nonce, value.reveal().encode(), context.encode())
        return base64.b64encode(nonce + encrypted).decode()

    def decrypt(self, encrypted: str, context: str) -> Secret:
        """Raises EngineFailed if it was changed, or encrypted with another key or context."""
        try:
            raw = base64.b64decode(encrypted, validate=True)
            return Secret(self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], context.encode()).decode())
        except (InvalidTag, ValueError, binascii.Error):
            pass  # raised below without this cause, which could carry the value
        raise EngineFailed(
            "its encrypted value in the store was changed or belongs to another secret.",
            advice="Set the secret again, or restore the store from a backup.",
        )


def read(path: Path) -> Key | None:
    """The key in that file, None if there is no file. Raises EngineFailed if it cannot be read, is not a key, or is
    accessible to others."""
    raw = _file(path).read()
    return None if raw is None else Key(raw)


def make(path: Path) -> Key:
    """Creates the file with a new key. If another process creates it first, returns that key."""
    return Key(_file(path).make())


def _file(path: Path) -> KeyFile:
    return KeyFile(path, "secrets key", "set every secret to a new value")
