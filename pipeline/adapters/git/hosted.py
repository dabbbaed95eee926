"""``ports.Repositories``: the bare repositories in a folder, and their notes of pushes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.git.commit_ids import whole
from pipeline.adapters.git.process import GitRefused, run_git
from pipeline.adapters.git.source import heads
from pipeline.adapters.git.urls import check_ref
from pipeline.errors import EngineFailed, NotFound, RequestError
from pipeline.lib import push_notes
from pipeline.lib.files.whole import replacing
from pipeline.lib.push_notes import FOLDER, Note
from pipeline.ports.repositories import PushedFile

_KINDS = {"100644": "file", "100755": "file", "120000": "link", "160000": "submodule", "040000": "folder"}
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

    def pushed(self, repository: str, quarantine: str, commit: str, path: str, limit: int) -> PushedFile:
        """See ``ports.Repositories``."""
        where, doing = self._path(repository), f"Reading a push to {repository}"
        folder = Path(quarantine) if quarantine else None
        if folder and folder.resolve().parent != (where / "objects").resolve():
            raise RequestError(f"{quarantine[:200]!r} has no objects of a push to {repository}.")
        try:
            out = run_git(
                where, "ls-tree", "-z", "-l", "--full-tree", "--end-of-options", whole(commit), "--", path,
                doing=doing, quarantine=folder,
            )  # fmt: skip
            mode, _, object_id, size = [*out.partition(b"\t")[0].decode().split(), *[""] * 4][:4]
            kind, length = _KINDS.get(mode, ""), int(size) if size.isdecimal() else 0
            if kind != "file" or length > limit:
                return PushedFile(kind, length)
            content = run_git(
                where, "cat-file", "blob", "--end-of-options", object_id, doing=doing, quarantine=folder
            )
        except GitRefused as error:
            raise RequestError(error.message) from error
        return PushedFile(kind, length, content)

    def commit(
        self, repository: str, branch: str, before: str, path: str, content: bytes, author: str, message: str
    ) -> str:
        """See ``ports.Repositories``."""
        where, ref, doing = self._path(repository), check_ref(branch), f"Committing to {repository}"
        name = "".join(c for c in author if c.isprintable() and c not in "<>\n").strip() or "Pushlive"
        person, text = f"{name} <{name}@pushlive> {int(time.time())} +0000".encode(), message.encode()
        given = b"commit %s\nauthor %s\ncommitter %s\ndata %d\n%s\nfrom %s\n" % (
            ref.encode(), person, person, len(text), text, whole(before).encode(),
        )  # fmt: skip
        given += b"M 100644 inline %s\ndata %d\n%s\n" % (_quoted(path), len(content), content)
        if heads(where).get(branch) != before:
            raise _overtaken(repository)
        try:
            run_git(where, "fast-import", "--quiet", "--date-format=raw", doing=doing, given=given)
        except GitRefused as error:
            if heads(where).get(branch) == before:
                raise
            raise _overtaken(repository) from error
        return heads(where)[branch]

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


def _overtaken(repository: str) -> RequestError:
    return RequestError(
        f"{repository} has got another push since.", advice="Look at the change once more, and repeat it."
    )


def _quoted(path: str) -> bytes:
    """As fast-import reads a path with any character."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'.encode("utf-8", "surrogateescape")


def _write(file: Path, text: bytes) -> None:
    with replacing(file, mode=0o666, draft=str(os.getpid())) as opened:
        opened.write(text)
