"""The repositories of a ``FakeSource`` as the built-in git server has them."""

from __future__ import annotations

from pipeline.adapters.fake.source import FakeSource
from pipeline.errors import RequestError
from pipeline.lib.push_notes import Note
from pipeline.ports.repositories import PushedFile


class FakeRepositories:
    """``push`` of the source moves a head; a note of it is kept with ``note``. ``old``: repositories whose pushes were
    not all noted."""

    def __init__(self, source: FakeSource) -> None:
        self._source = source
        self.notes: dict[str, dict[str, Note]] = {}
        self.old: set[str] = set()

    def note(self, repository: str, note: Note) -> None:
        self.notes.setdefault(repository, {})[note.push] = note

    def heads(self, repository: str) -> dict[str, str]:
        found = self._source.repositories.get(repository)
        return dict(found.heads) if found else {}

    def message(self, repository: str, commit: str) -> str:
        found = self._source.repositories.get(repository)
        return found.commits[commit][0].message if found and commit in found.commits else ""

    def noted(self, repository: str) -> tuple[Note, ...]:
        return tuple(self.notes.get(repository, {}).values())

    def forget(self, repository: str, push: str) -> None:
        self.notes.get(repository, {}).pop(push, None)

    def pushed(self, repository: str, quarantine: str, commit: str, path: str, limit: int) -> PushedFile:
        del quarantine  # its objects are there at once
        found = self._source.repositories.get(repository)
        if found is None or commit not in found.commits:
            raise RequestError(f"{repository} has no commit {commit[:7]}.")
        _, files = found.commits[commit]
        content = files.get(path)
        if content is None:
            return PushedFile()
        return PushedFile("file", len(content), content if len(content) <= limit else b"")

    def commit(
        self, repository: str, branch: str, before: str, path: str, content: bytes, author: str, message: str
    ) -> str:
        found = self._source.repositories.get(repository)
        if found is None or found.heads.get(branch) != before:
            raise RequestError(f"{repository} has got another push since.")
        _, files = found.commits[before]
        return self._source.push(repository, {**files, path: content}, message, branch, author=author)

    def keeps_notes(self, repository: str) -> bool:
        return repository not in self.old

    def keep_notes(self, repository: str, lost: Note) -> None:
        if lost.updates:
            self.note(repository, lost)
        self.old.discard(repository)
