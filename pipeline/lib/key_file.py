"""A secret key of 32 bytes in a file that only the service's user can read."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import NamedTuple

from pipeline.errors import EngineFailed

SIZE = 32  # bytes


class KeyFile(NamedTuple):
    """``name``: what the file is, in messages: "secrets key"; ``leaked``: what to do if others may have read it."""

    path: Path
    name: str
    leaked: str

    def read(self) -> bytes | None:
        """The key, None if there is no file. Raises EngineFailed if it cannot be read, is not a key, or is accessible
        to others."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EngineFailed(f"the {self.name} {self.path} cannot be read: {error.strerror}.") from error
        with os.fdopen(file, "rb") as opened:
            self._check_access(os.fstat(file))
            text = opened.read(1024)
        try:
            raw = base64.b64decode(text.strip(), validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        if len(raw) != SIZE:
            raise EngineFailed(
                f"{self.path} does not contain a {self.name}.",
                advice=f"Restore it from a backup. The file contains {SIZE} bytes in base64.",
            )
        return raw

    def _check_access(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise EngineFailed(
                f"the {self.name} {self.path} is not a regular file.", advice="Restore it from a backup."
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise EngineFailed(
                f"the {self.name} {self.path} is accessible to other users (mode {mode:04o}).",
                advice=f"Run `chmod 600 {self.path}`. If anyone may have read it, {self.leaked}.",
            )
        if found.st_uid not in (0, os.geteuid()):
            raise EngineFailed(
                f"the {self.name} {self.path} is owned by another user (uid {found.st_uid}).",
                advice=f"Run `chown {os.geteuid()} {self.path}`.",
            )

    def make(self) -> bytes:
        """Creates the file with a new key. If another process creates it first, returns that key. Raises
        EngineFailed."""
        path = self.path
        draft = path.with_name(f".{path.name}.{token_hex(6)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(file, "wb") as opened:
                    opened.write(base64.b64encode(token_bytes(SIZE)) + b"\n")
                    opened.flush()
                    os.fsync(file)
                os.link(draft, path)  # complete or not at all, and never in place of an existing key
            except FileExistsError:
                pass
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise EngineFailed(f"the {self.name} {path} cannot be written: {error.strerror}.") from error
        key = self.read()
        if key is None:
            raise EngineFailed(
                f"the {self.name} {path} was removed while it was being created.", advice="Try again."
            )
        return key


def sync_folder(folder: Path) -> None:
    """What was created or renamed there is on disk afterwards."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
