"""The repositories of a ``FakeSource`` as the built-in git server has them."""

from __future__ import annotations

from pipeline.adapters.fake.source import FakeSource
from pipeline.lib.push_notes import Note


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

    def keeps_notes(self, repository: str) -> bool:
        return repository not in self.old

    def keep_notes(self, repository: str, lost: Note) -> None:
        if lost.updates:
            self.note(repository, lost)
        self.old.discard(repository)
