"""``ports.Repositories``: the bare repositories in a folder, and their notes of pushes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.git.commit_ids import whole
from pipeline.adapters.git.process import GitRefused, run_git
from pipeline.adapters.git.source import heads
from pipeline.errors import EngineFailed, NotFound
from pipeline.lib import push_notes
from pipeline.lib.push_notes import FOLDER, Note

_MARK = ".complete"  # in the folder of the notes: since then every push has one


class HostedRepositories:
    """``folder``: that of the built-in server's ``<name>.git``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def heads(self, repository: str) -> dict[str, str]:
        """See ``ports.Repositories``."""
        path = self._path(repository)
        return heads(path) if path.exists() else {}

    def message(self, repository: str, commit: str) -> str:
        """See ``ports.Repositories``."""
        path, form = self._path(repository), "--format=%B"
        if not path.exists():
            return ""
        try:
            out = run_git(
                path, "log", "-1", form, "--end-of-options", whole(commit), "--", doing=f"Reading {path.name}"
            )
        except (GitRefused, NotFound):
            return ""
        return out.decode("utf-8", "replace")

    def noted(self, repository: str) -> tuple[Note, ...]:
        """See ``ports.Repositories``. Raises EngineFailed."""
        return tuple(self._notes(self._path(repository) / FOLDER))

    def _notes(self, folder: Path) -> Iterator[Note]:
        try:
            files = sorted(folder.iterdir()) if folder.exists() else []
            for file in files:
                if not file.name.startswith("."):
                    with suppress(FileNotFoundError):  # recorded meanwhile
                        yield push_notes.parsed(file.name, file.read_bytes())
        except OSError as error:
            raise EngineFailed(
                f"{folder} cannot be read: {error}.", advice="Check its permissions."
            ) from error

    def forget(self, repository: str, push: str) -> None:
        """See ``ports.Repositories``."""
        push_notes.file_of(self._path(repository), push).unlink(missing_ok=True)

    def keeps_notes(self, repository: str) -> bool:
        """See ``ports.Repositories``."""
        path = self._path(repository)
        return not path.exists() or (path / FOLDER / _MARK).exists()

    def keep_notes(self, repository: str, lost: Note) -> None:
        """See ``ports.Repositories``. Raises EngineFailed."""
        folder = self._path(repository) / FOLDER
        try:
            folder.mkdir(exist_ok=True)
            if lost.updates:
                _write(folder / lost.push, push_notes.written(lost))
            _write(folder / _MARK, b"")
        except OSError as error:
            raise EngineFailed(
                f"{folder} cannot be written: {error}.", advice="Check its permissions and the disk."
            ) from error

    def _path(self, repository: str) -> Path:
        return self._folder / f"{repository}.git"


def _write(file: Path, text: bytes) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with fresh.open("wb") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.rename(file)
