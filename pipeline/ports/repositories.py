"""The repositories of the built-in git server, as the keeper reads them. A name is that of the repository, without
``.git``; one that does not exist has no branches and no notes."""

from __future__ import annotations

from typing import Protocol

from pipeline.lib.push_notes import Note


class Repositories(Protocol):
    def heads(self, repository: str) -> dict[str, str]:
        """The branches: name → commit id. Raises EngineFailed."""

    def message(self, repository: str, commit: str) -> str:
        """The whole message of that commit, given by its whole id; "" if it is not there. Raises EngineFailed."""

    def noted(self, repository: str) -> tuple[Note, ...]:
        """The pushes whose record is not known to be complete. git may not have moved their refs yet."""

    def forget(self, repository: str, push: str) -> None:
        """Removes the note of that push. Idempotent."""

    def keeps_notes(self, repository: str) -> bool:
        """Whether every push there was noted: False for a repository of an earlier version, or of a backup."""

    def keep_notes(self, repository: str, lost: Note) -> None:
        """From now on ``keeps_notes``; ``lost`` is noted first, unless it has no updates. Idempotent."""
