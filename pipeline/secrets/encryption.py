"""Secrets at rest: AES-256-GCM under a key in a file. The only place that knows ``cryptography``."""

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
_NONCE = 12  # bytes, random; NIST SP 800-38D allows 2^32 of them under one key


class Key:
    """The key in use; ``id`` tells it from others and says nothing about it."""

    def __init__(self, raw: bytes) -> None:
        self._cipher = AESGCM(raw)
        self.id = hashlib.sha256(b"pushlive secrets key" + raw).hexdigest()[:16]

    def seal(self, value: Secret, bound: str) -> str:
        """The value as base64, to be opened under the same ``bound`` alone."""
        nonce = token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, value.reveal().encode(), bound.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, bound: str) -> Secret:
        """Raises EngineFailed where it was changed, moved or sealed with another key."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return Secret(self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], bound.encode()).decode())
        except (InvalidTag, ValueError, binascii.Error):
            pass  # the cause says nothing more, and must not carry anything along
        raise EngineFailed(
            "what the store has for it was changed or is another secret's.",
            advice="Set the secret anew, or restore the store from a backup.",
        )


def read(path: Path) -> Key | None:
    """The key in that file, None where there is no file. Raises EngineFailed where it cannot be used."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineFailed(f"the secrets' key {path} cannot be read: {error.strerror}.") from error
    with os.fdopen(file, "rb") as opened:
        _refuse_open_doors(path, os.fstat(file))
        text = opened.read(1024)
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _KEY:
        raise EngineFailed(
            f"{path} does not hold a key for secrets.",
            advice=f"Restore it from a backup: {_KEY} bytes in base64, as Pushlive made it.",
        )
    return Key(raw)


def _refuse_open_doors(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise EngineFailed(f"the secrets' key {path} is not a file.", advice="Restore it from a backup.")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise EngineFailed(
            f"the secrets' key {path} can be read or changed by others (mode {mode:04o}).",
            advice=f"`chmod 600 {path}`; if others may have read it, set every secret anew with a new value.",
        )
    if found.st_uid not in (0, os.geteuid()):
        raise EngineFailed(
            f"the secrets' key {path} belongs to another user (uid {found.st_uid}).",
            advice=f"`chown {os.geteuid()} {path}`",
        )


def make(path: Path) -> Key:
    """A new key in that file; where another process was quicker, its one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(6)}")
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(base64.b64encode(token_bytes(_KEY)) + b"\n")
                opened.flush()
                os.fsync(file)
            os.link(draft, path)  # whole or not at all, and never over one that is there
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise EngineFailed(f"the secrets' key {path} cannot be written: {error.strerror}.") from error
    key = read(path)
    if key is None:
        raise EngineFailed(f"the secrets' key {path} went away while it was made.", advice="Try again.")
    return key


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
