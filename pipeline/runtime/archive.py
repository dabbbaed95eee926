"""The file of a backup: the names it may contain, its manifest, and the checks before anything is restored."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from pipeline.errors import RequestError
from pipeline.lib.processes import RESTORING

FORMAT = 1
MANIFEST, STORE, CONFIG = "manifest.json", "store.jsonl", "pipelines.yaml"
HEAD = "audit.head"
MANIFEST_LIMIT = 64 << 20  # bytes
FILES_AT_MOST = 1_000_000
# Created again at each start, can be fetched again, or has a format of its own in the backup.
LEFT_OUT = ("store", "git", "mirrors", "backups", "proxy", "hooks", "journal", "up.lock", "up.pid", RESTORING)
ROUTES = "proxy/state.json"  # of that folder, what the proxy serves: it starts with these routes
PIECE = 1 << 20


def examine(file: Path) -> dict[str, Any]:
    """The manifest, if everything in the archive is as it says. Writes nothing."""
    seen: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    with _readable(file):
        for member, content in members(file):
            if manifest is not None or member.name in seen or len(seen) > FILES_AT_MOST:
                raise _foreign(file, f"{member.name[:80]!r} is not in its manifest")
            if member.name == MANIFEST:
                manifest = _manifest(file, content.read(MANIFEST_LIMIT))
                continue
            reader = Hashing(content)
            while reader.read(PIECE):
                pass
            seen[member.name] = {"sha256": reader.digest.hexdigest(), "size": member.size}
    if manifest is None:
        raise _foreign(file, "it has no manifest, so it is incomplete or something else")
    wrong = sorted(
        name for name in {*seen, *manifest["files"]} if seen.get(name) != manifest["files"].get(name)
    )
    if wrong:
        raise _foreign(
            file, f"{wrong[0][:80]!r} is missing or differs from what was saved ({len(wrong)} in all)"
        )
    if STORE not in seen:
        raise _foreign(file, "it contains no store")
    return manifest


def members(file: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Every member, in order. Raises RequestError for one that is not a plain file with a name that a backup has."""
    with _readable(file), tarfile.open(file, "r|gz") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps every header
            if not member.isreg() or not _expected(member.name):
                raise _foreign(file, f"{member.name[:80]!r} does not belong in a backup")
            content = archive.extractfile(member)
            if content is not None:
                yield member, content


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what reading a broken archive raises into RequestError."""
    try:
        yield
    except FileNotFoundError as error:
        raise RequestError(f"there is no file {file}.", advice="Check its name.") from error
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise _foreign(file, f"it cannot be read ({error})") from error


def _expected(name: str) -> bool:
    """True for the names that ``backup`` writes; never one that leaves the folder or that we would execute."""
    parts = PurePosixPath(name).parts
    if "\0" in name or "\\" in name or name != "/".join(parts) or ".." in parts or name.startswith("/"):
        return False
    if len(parts) == 1:
        return name in (MANIFEST, STORE, CONFIG)
    if parts[0] == "git":
        stem = parts[1].removesuffix(".bundle")
        return (
            len(parts) == 2 and parts[1].endswith(".bundle") and stem.strip(".") != "" and stem[0] not in "-."
        )
    inside = PurePosixPath(*parts[1:])
    return parts[0] == "data" and (is_kept(inside) or is_of_a_volume(inside))


def is_kept(path: PurePath) -> bool:
    """Whether that path in the data folder goes into a backup as it is."""
    return path.parts[0] not in LEFT_OUT or path.as_posix() == ROUTES


def is_of_a_volume(path: PurePath) -> bool:
    """Whether that path in the data folder is a backup of a volume or an accessory."""
    return len(path.parts) == 5 and path.parts[0] == "backups" and not path.name.startswith(".")


def _manifest(file: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
        good = isinstance(found["files"], dict) and isinstance(found["made"], (int, float))
        good = good and all(type(entry["size"]) is int for entry in found["files"].values())
        number, _ = found["pushlive"], found["instance"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        good, number = False, 0
    if not good:
        raise _foreign(file, "its manifest is not one of Pushlive's")
    if number != FORMAT:
        raise RequestError(
            f"{file} was written by a newer version (format {str(number)[:20]}); this version reads format {FORMAT}.",
            advice="Restore it with the version of Pushlive that wrote it.",
        )
    return dict(found)


def _foreign(file: Path, why: str) -> RequestError:
    return RequestError(
        f"{file} is damaged or not a backup of Pushlive: {why}.",
        advice="Nothing was restored; use another backup.",
    )


def add(archive: tarfile.TarFile, name: str, source: Path) -> dict[str, Any]:
    """Adds a file; its entry in the manifest. A log that grows meanwhile is cut to its size now."""
    with source.open("rb") as opened:
        member = tarfile.TarInfo(name)
        member.size, member.mode = os.fstat(opened.fileno()).st_size, 0o600
        member.mtime = int(os.fstat(opened.fileno()).st_mtime)
        reader = Hashing(opened)
        archive.addfile(member, reader)
    return {"sha256": reader.digest.hexdigest(), "size": member.size}


class Hashing:
    """A reader that hashes what it reads."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._opened.read(size)
        self.digest.update(piece)
        return piece
