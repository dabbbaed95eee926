"""The repositories of the built-in git server, as the keeper reads them. A name is that of the repository, without
``.git``; one that does not exist has no branches and no notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.lib.push_notes import Note


@dataclass(frozen=True)
class PushedFile:
    """What a push has at one path. ``kind``: file, link, submodule or folder, "" if nothing is there; ``size``: bytes;
    ``content``: of a file that is not too large, else empty."""

    kind: str = ""
    size: int = 0
    content: bytes = b""


class Repositories(Protocol):
    def heads(self, repository: str) -> dict[str, str]:
        """The branches: name → commit id. Raises EngineFailed."""

    def message(self, repository: str, commit: str) -> str:
        """The whole message of that commit, given by its whole id; "" if it is not there. Raises EngineFailed."""

    def noted(self, repository: str) -> tuple[Note, ...]:
        """The pushes whose record is not known to be complete. git may not have moved their refs yet."""

    def forget(self, repository: str, push: str) -> None:
        """Removes the note of that push. Idempotent."""

    def pushed(self, repository: str, quarantine: str, commit: str, path: str, limit: int) -> PushedFile:
        """The file in a commit that a push brings, before its hooks let it in. ``quarantine``: the folder in which git
        keeps its objects until then, "" if there are none; ``limit``: bytes of a file that is read. Raises
        EngineFailed, RequestError for a commit that is not there."""

    def commit(
        self, repository: str, branch: str, before: str, path: str, content: bytes, author: str, message: str
    ) -> str:
        """A commit on that branch with the file replaced, and nothing else; returns its id. ``author``: a name. Raises
        RequestError if ``before`` is not the head, and EngineFailed."""

    def keeps_notes(self, repository: str) -> bool:
        """Whether every push there was noted: False for a repository of an earlier version, or of a backup."""

    def keep_notes(self, repository: str, lost: Note) -> None:
        """From now on ``keeps_notes``; ``lost`` is noted first, unless it has no updates. Idempotent."""
