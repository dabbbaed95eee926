"""Checks a bundle without a service, a store or a network: a folder, or the ``.tar.gz`` as it was exported.

Nothing of it is executed, unpacked or followed. Files are hashed as they are read, so their size does not matter; only
the list of hashes and the statements are read whole, and they may not be large.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.errors import NotFound
from pipeline.evidence import layout
from pipeline.evidence.layout import BUNDLE, PROVENANCE, STATEMENT, SUMS, UNLISTED
from pipeline.evidence.signing import PublicKey, Refused, as_signed, unchecked
from pipeline.evidence.statements import digest_signed, images_of

_PIECE = 1 << 20
_SAID_AT_MOST = 20
_READ_WHOLE = {SUMS: layout.LIST_LIMIT, STATEMENT: layout.JSON_LIMIT}
_READ_WHOLE |= {PROVENANCE: layout.JSON_LIMIT, BUNDLE: layout.JSON_LIMIT}


@dataclass
class Found:
    """What was found of a bundle. ``problems``: sentences without a full stop; none if every byte is as it was.
    ``signed``: whether the key that was given has signed it. ``sha256``: of SHA256SUMS, as in the audit log."""

    name: str = ""
    files: int = 0
    sha256: str = ""
    signed: bool = False
    problems: list[str] = field(default_factory=list)


@dataclass
class _Content:
    hashes: dict[str, str] = field(default_factory=dict)
    whole: dict[str, bytes] = field(default_factory=dict)  # of the files that are read whole
    problems: list[str] = field(default_factory=list)

    def take(self, name: str, opened: IO[bytes]) -> None:
        digest, kept, limit = hashlib.sha256(), bytearray(), _READ_WHOLE.get(name, 0)
        while piece := opened.read(_PIECE):
            digest.update(piece)
            if len(kept) <= limit:
                kept += piece[: limit + 1 - len(kept)] if limit else b""
        self.hashes[name] = digest.hexdigest()
        if len(kept) > limit:
            self.problems.append(f"{name} is too large")
        elif limit:
            self.whole[name] = bytes(kept)


_OF_A_BUNDLE = frozenset({SUMS, STATEMENT, BUNDLE})


def _no_bundle(place: Path) -> NotFound:
    return NotFound(
        f"{place} is no bundle of evidence: it has neither {SUMS} nor {BUNDLE}.",
        advice="Name the folder or the archive of an export: `pushlive evidence hello r17` makes one.",
    )


def verify(place: Path, key: PublicKey | None) -> Found:
    """``place``: the folder or the archive. Raises NotFound if there is none, or what is there has nothing of a
    bundle."""
    try:
        kind = place.stat()
    except OSError as error:
        raise NotFound(f"{place} cannot be opened: {error.strerror}.", advice="Check its name.") from error
    content = _Content()
    if stat.S_ISDIR(kind.st_mode):
        if not any(os.path.lexists(place / name) for name in _OF_A_BUNDLE):
            raise _no_bundle(place)  # before anything of it is read: it may be large, or private
        _read_folder(place, content)
    else:
        _read_archive(place, content)
        if not content.problems and not _OF_A_BUNDLE & content.hashes.keys():
            raise _no_bundle(place)
    found = Found(files=len(content.hashes), problems=content.problems)
    _check(content, key, found)
    more = len(found.problems) - _SAID_AT_MOST
    if more > 0:
        found.problems = [*found.problems[:_SAID_AT_MOST], f"… and {more} more"]
    return found


# ── reading ──────────────────────────────────────────────────────────────────


def _read_folder(folder: Path, content: _Content) -> None:
    if not (folder / SUMS).is_file():
        return  # it is no bundle, and may be anything: it is not read
    for name, entry in _entries(folder, ""):
        if len(content.hashes) > layout.FILES_AT_MOST:
            content.problems.append(f"it has more than {layout.FILES_AT_MOST} files")
            return
        try:
            with _opened(entry) as opened:
                content.take(name, opened)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "") or str(error)
            content.problems.append(f"{_shown(name)} cannot be read: {why}")


def _entries(folder: Path, before: str) -> Iterator[tuple[str, Path]]:
    """Every entry but the folders that have one, without following links."""
    for name in sorted(os.listdir(folder)):
        path, whole = folder / name, f"{before}{name}"
        if whole.count("/") < 3 and _has_entries(path):
            yield from _entries(path, f"{whole}/")
        else:
            yield whole, path


def _has_entries(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode) and bool(os.listdir(path))
    except OSError:
        return False  # reported when it is opened


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A regular file; a pipe does not block. Raises OSError and ValueError."""
    if stat.S_ISDIR(path.lstat().st_mode):
        raise ValueError("it is an empty folder")
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("it is not a regular file")
        yield opened


def _read_archive(file: Path, content: _Content) -> None:
    try:
        with _opened(file) as opened, tarfile.open(fileobj=opened, mode="r|gz") as archive:
            end = 0
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps every header
                if not _take_member(archive, member, content):
                    return
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        with _opened(file) as opened:
            _insist_on_end(opened, end)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        why = getattr(error, "strerror", "") or str(error)
        content.problems.append(f"the archive cannot be read to its end: {why}")


def _take_member(archive: tarfile.TarFile, member: tarfile.TarInfo, content: _Content) -> bool:
    """False if there is no use in reading on."""
    name = member.name
    if len(content.hashes) > layout.FILES_AT_MOST:
        content.problems.append(f"it has more than {layout.FILES_AT_MOST} files")
        return False
    if not member.isreg() or not layout.is_safe(name):
        content.problems.append(f"{_shown(name)} is not a plain file with a name of a bundle")
        return len(content.problems) < _SAID_AT_MOST
    if name in content.hashes:
        content.problems.append(f"{name} is there twice")
        return len(content.problems) < _SAID_AT_MOST
    opened = archive.extractfile(member)
    if opened is not None:
        content.take(name, opened)
    return True


def _insist_on_end(opened: IO[bytes], end: int) -> None:
    """That the whole archive is there, with its checksum, and nothing behind its last file: tarfile stops there.
    ``end``: bytes of the tar in it up to there. Raises ValueError."""
    at = 0
    with gzip.GzipFile(fileobj=opened) as stream:
        while piece := stream.read(_PIECE):
            if any(piece[max(0, end - at) :]):
                raise ValueError("there is something behind its last file")
            at += len(piece)


# ── checking ─────────────────────────────────────────────────────────────────


def _check(content: _Content, key: PublicKey | None, found: Found) -> None:
    sums, problems = content.whole.get(SUMS), found.problems
    if sums is None:
        problems.append(f"{SUMS} is missing: this is not a bundle, or not all of one")
        return
    found.sha256 = content.hashes[SUMS]
    try:
        listed = layout.read_sums(sums.decode())
    except ValueError as error:
        problems.append(f"{SUMS} was changed: {error}")
        return
    for name in sorted({*listed, *content.hashes} - UNLISTED):
        if name not in content.hashes:
            problems.append(f"{name} is missing")
        elif name not in listed:
            problems.append(f"{_shown(name)} was added")
        elif listed[name] != content.hashes[name]:
            problems.append(f"{name} was changed")
    found.name, image = _about(content)
    _check_statement(content, key, found)
    _check_provenance(content, key, image, found)
    found.signed = key is not None and not problems


def _about(content: _Content) -> tuple[str, str]:
    """The bundle's name, and the digest of its image. bundle.json is in the list."""
    try:
        about = json.loads(content.whole[BUNDLE])
        return str(about["name"])[:200], str(about["image"])
    except (LookupError, ValueError, TypeError, RecursionError):
        return "", ""


def _check_statement(content: _Content, key: PublicKey | None, found: Found) -> None:
    envelope = content.whole.get(STATEMENT)
    if envelope is None:
        found.problems.append(f"{STATEMENT} is missing, so it is not known who made the bundle")
        return
    try:
        signed = digest_signed(_statement(envelope, key))
    except (Refused, ValueError) as error:
        found.problems.append(f"{STATEMENT} is not valid: {error}")
        return
    if signed != found.sha256:
        found.problems.append(f"{STATEMENT} was made for another list of files than {SUMS}")


def _check_provenance(content: _Content, key: PublicKey | None, image: str, found: Found) -> None:
    envelope = content.whole.get(PROVENANCE)
    if envelope is None:
        return  # if there was one, it is listed
    try:
        about = images_of(_statement(envelope, key))
    except Refused as error:
        found.problems.append(f"{PROVENANCE} is not valid: {error}")
        return
    if image not in about:
        found.problems.append(f"{PROVENANCE} is about another image than the bundle")


def _statement(envelope: bytes, key: PublicKey | None) -> dict[str, Any]:
    """Raises Refused."""
    statement = key.opened(envelope) if key else unchecked(envelope)
    if not as_signed(envelope, key):
        raise Refused("it is not written as it was signed")
    return statement


def _shown(name: str) -> str:
    return ascii(name[:80])
