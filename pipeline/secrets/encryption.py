"""Encrypts secrets at rest: AES-256-GCM with a key in a file. Only this module imports ``cryptography``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from secrets import token_bytes, token_hex

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret

_KEY = 32  # bytes: AES-256
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
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineFailed(f"the secrets key {path} cannot be read: {error.strerror}.") from error
    with os.fdopen(file, "rb") as opened:
        _check_access(path, os.fstat(file))
        text = opened.read(1024)
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _KEY:
        raise EngineFailed(
            f"{path} does not contain a secrets key.",
            advice=f"Restore it from a backup. The file contains {_KEY} bytes in base64.",
        )
    return Key(raw)


def _check_access(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise EngineFailed(
            f"the secrets key {path} is not a regular file.", advice="Restore it from a backup."
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise EngineFailed(
            f"the secrets key {path} is accessible to other users (mode {mode:04o}).",
            advice=f"Run `chmod 600 {path}`. If anyone may have read it, set every secret to a new value.",
        )
    if found.st_uid not in (0, os.geteuid()):
        raise EngineFailed(
            f"the secrets key {path} is owned by another user (uid {found.st_uid}).",
            advice=f"Run `chown {os.geteuid()} {path}`.",
        )


def make(path: Path) -> Key:
    """Creates the file with a new key. If another process creates it first, returns that key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(6)}")
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(base64.b64encode(token_bytes(_KEY)) + b"\n")
                opened.flush()
                os.fsync(file)
            os.link(draft, path)  # complete or not at all, and never in place of an existing key
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise EngineFailed(f"the secrets key {path} cannot be written: {error.strerror}.") from error
    key = read(path)
    if key is None:
        raise EngineFailed(
            f"the secrets key {path} was removed while it was being created.", advice="Try again."
        )
    return key


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
