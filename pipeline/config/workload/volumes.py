"""The `volumes` key: folders whose files outlive releases."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Argv, Model, Words
from pipeline.config.workload.backup import Backup

_MOST = 255  # bytes of a path
_SYSTEM = ("/proc", "/sys", "/dev")


def folder(text: str) -> str:
    """An absolute folder in a container, without a slash at its end."""
    plain = text.rstrip("/")
    parts = plain.split("/")[1:]
    if not plain.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"{text[:80]!r} is not a folder in the container; write an absolute path without `..`, such as /app/data"
        )
    if not re.fullmatch(r"[^\x00-\x1f\x7f:,\\\"]+", plain) or len(plain.encode()) > _MOST:
        raise ValueError(
            f"{text[:80]!r} is not a path for a volume; use at most {_MOST} bytes without control characters, "
            '`:`, `,`, `"` and `\\`'
        )
    if any(plain == one or plain.startswith(f"{one}/") for one in _SYSTEM):
        raise ValueError(f"{text[:80]!r} belongs to the system; choose another folder, such as /app/data")
    return plain


Folder = Annotated[str, AfterValidator(folder), Words("a folder in the container such as /app/data")]


class Volume(Model):
    """A folder whose files outlive releases. Each environment has its own; both slots and the commands share it. No
    deploy, revert or clean-up removes it. A text is the path alone."""

    SHORT = "a folder such as /app/data, or {path: /app/data, before_backup: [./freeze.sh]}"

    path: Folder
    """The folder in the container. On Docker a new volume begins with the files that the image has there."""
    before_backup: Argv = ()
    """A command that runs in the container of the release that serves, before a backup reads the volume: it brings the
    files into a state that can be restored."""
    after_backup: Argv = ()
    """A command that runs there after it, also if the backup failed."""
    backup: Backup = Backup()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_serializer(mode="wrap")
    def _as_text(self, whole: SerializerFunctionWrapHandler) -> Any:
        """What is at its default is left out, so that a new key changes no fingerprint."""
        plain = whole(self)
        said = {
            key: plain[key]
            for key, spec in type(self).model_fields.items()
            if getattr(self, key) != spec.default
        }
        return self.path if said.keys() == {"path"} else said

    def __str__(self) -> str:
        more = [key for key in ("before_backup", "after_backup") if getattr(self, key)]
        more += [f"backup: {self.backup}"] if self.backup != Backup() else []
        return f"{self.path} ({', '.join(more)})" if more else self.path


def meeting(volumes: dict[str, Volume]) -> tuple[str, str] | None:
    """Two volumes at the same path, None if there are none."""
    seen: dict[str, str] = {}
    for name, one in volumes.items():
        if (other := seen.setdefault(posixpath.normpath(one.path), name)) != name:
            return other, name
    return None


def covers(folders: Iterable[str], path: str) -> bool:
    """True if what is written at that path in a container is in one of the folders."""
    whole = posixpath.normpath("/" + path.strip("/"))
    return any(whole == one or whole.startswith(f"{one}/") for one in folders)


def line_for(path: str) -> str:
    """The line that keeps a folder of a container: `volumes: {data: /app/data}`."""
    whole = posixpath.normpath("/" + path.strip("/"))
    name = re.sub(r"[^a-z0-9]+", "-", posixpath.basename(whole).lower()).strip("-")
    return f"`volumes: {{{name if re.match('[a-z]', name) else 'data'}: {whole}}}`"
