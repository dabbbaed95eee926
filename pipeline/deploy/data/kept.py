"""Backups as files in the data folder: ``backups/<owner>/<environment>/<name>/``, readable for its owner alone.

One that is being written has another name until all of it is on disk, so whatever has the name of a backup is whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.domain.volumes import (
    KeptBackup,
    VolumeRef,
    WrittenBackup,
    ending_of,
    number_of,
    stem_of,
    time_of,
)
from pipeline.errors import EngineFailed, NotFound
from pipeline.lib.streams import Counted
from pipeline.lib.units import show_size

FOLDER = "backups"
_PART, _SPOOLED = ".part", ".spooled"
_DAY, _PIECE = 86400.0, 1 << 18
_LOOK = 64 << 20  # bytes between two looks at the free space


class KeptBackups:
    """``disk_free``: bytes that stay free on the disk of ``data``: the store is on it as well."""

    def __init__(self, data: Path, disk_free: int) -> None:
        self._root, self._disk_free = data / FOLDER, disk_free

    def of(self, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        """Newest first."""
        found = []
        with suppress(FileNotFoundError):
            for path in self._folder(ref).iterdir():
                at = time_of(path.name)
                if at is not None:
                    with suppress(FileNotFoundError):
                        found.append(KeptBackup(path.name, at, path.stat().st_size))
        return tuple(sorted(found, key=lambda one: one.order, reverse=True))

    def path(self, ref: VolumeRef, file: str) -> Path:
        """Raises NotFound."""
        if file not in {one.file for one in self.of(ref)}:
            raise NotFound(
                f"There is no backup {file[:120]!r} of {ref}.", advice="`pushlive backups` lists them."
            )
        return self._folder(ref) / file

    def write(
        self, ref: VolumeRef, at: float, pieces: Iterable[bytes], insist: Callable[[], None]
    ) -> WrittenBackup:
        """Keeps the pieces, all or nothing. ``insist``: called before they count; what it raises leaves nothing. For
        one process at a time. Raises EngineFailed if they cannot be written."""
        folder = self._folder(ref)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._forget_left(folder)
            path = self._free(folder, stem_of(ref, at), ending_of(ref))
            part = folder / f".{path.name}{_PART}"
            try:
                counted = Counted(pieces)
                self._write(part, counted)
                insist()
                part.rename(path)
            finally:
                part.unlink(missing_ok=True)
            _sync(folder)
        except OSError as error:
            raise EngineFailed(
                f"The backup of {ref} cannot be written in {folder}: {error.strerror or error}.",
                advice="Check the folder and the free space on its disk.",
            ) from error
        return WrittenBackup(path.name, at, counted.size, counted.sha256)

    @contextmanager
    def spooled(self, ref: VolumeRef, pieces: Iterable[bytes]) -> Iterator[tuple[Path, int]]:
        """All the pieces in a file that counts as no backup, and their bytes. Raises EngineFailed."""
        folder = self._folder(ref)
        part = folder / f".restore-{secrets.token_hex(8)}{_SPOOLED}"
        try:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                size = self._write(part, pieces)
            except OSError as error:
                raise EngineFailed(
                    f"The backup cannot be written in {folder}: {error.strerror or error}.",
                    advice="Check the folder and the free space on its disk.",
                ) from error
            yield part, size
        finally:
            part.unlink(missing_ok=True)

    def rename(self, old: VolumeRef, new: VolumeRef) -> int:
        """Gives ``new`` the backups of ``old``, under the names that they have; how many. Idempotent. Raises
        EngineFailed."""
        source, target, count = self._folder(old), self._folder(new), 0
        try:
            target.mkdir(parents=True, exist_ok=True, mode=0o700)
            for one in self.of(old):
                (source / one.file).rename(target / one.file)
                count += 1
            _sync(target)
        except OSError as error:
            raise EngineFailed(
                f"The backups of {old} in {source} cannot be moved to {target}: {error.strerror or error}.",
                advice="Check both folders, and give the same command again.",
            ) from error
        return count

    def prune(self, ref: VolumeRef, keep: int, made: str) -> None:
        """Removes all but the newest ``keep``, and never ``made``: the clock may have been ahead. Idempotent."""
        for one in [one for one in self.of(ref) if one.file != made][max(0, keep - 1) :]:
            with suppress(OSError):
                (self._folder(ref) / one.file).unlink(missing_ok=True)

    def _folder(self, ref: VolumeRef) -> Path:
        return self._root / ref.owner / ref.environment / ref.name

    def _free(self, folder: Path, stem: str, ending: str) -> Path:
        """After all of the same second: the numbers that were removed in it do not come again while one is left."""
        taken = [path.name for path in folder.glob(f"{stem}*.{ending}")]
        number = max(map(number_of, taken), default=0) + 1
        return folder / (f"{stem}.{ending}" if number == 1 else f"{stem}-{number}.{ending}")

    def _forget_left(self, folder: Path) -> None:
        """What a killed process has left: no other one writes a backup now, and a restore takes less than a day."""
        for left in (*folder.glob(f".*{_PART}"), *folder.glob(f".*{_SPOOLED}")):
            with suppress(FileNotFoundError):
                if left.suffix == _PART or time.time() - left.stat().st_mtime > _DAY:
                    left.unlink()

    def _write(self, part: Path, pieces: Iterable[bytes]) -> int:
        size, looked = 0, -_LOOK
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in pieces:
                if size - looked >= _LOOK:
                    self._insist_on_room(part.parent)
                    looked = size
                file.write(piece)
                size += len(piece)
            file.flush()
            os.fsync(file.fileno())
        return size

    def _insist_on_room(self, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        if free < self._disk_free:
            raise EngineFailed(
                f"{folder} has {show_size(free >> 20 << 20)} of free space left, less than "
                f"{show_size(self._disk_free)} (PUSHLIVE_DISK_FREE), so no backup is written there.",
                advice="Free some space, or lower `keep`.",
            )


def chunks(file: IO[bytes]) -> Generator[bytes]:
    """A file in pieces."""
    while piece := file.read(_PIECE):
        yield piece


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
