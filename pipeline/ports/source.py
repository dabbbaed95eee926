"""Repositories."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from pipeline.config.models import Source as SourceConfig
from pipeline.ports.clock import Watch

Ignored = Callable[[str], bool]

CHANGED = 5000  # paths of changed files that are read


def nothing(_path: str) -> bool:
    """Nothing is ignored."""
    return False


@dataclass(frozen=True)
class Commit:
    id: str
    message: str  # first line, control characters removed
    author: str
    skip: str = ""  # why it asks not to be deployed, by its whole message


class Source(Protocol):
    """Repositories. ``key`` names one local repository: the pipeline's name."""

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        """Fetches the branch's head (incrementally) and returns its commit id. Idempotent.

        For a repository on the built-in server nothing is copied. Raises EngineFailed (unreachable, asks for a
        password), RepositoryFailed (no such branch, too large, refused by git) or RequestError (forbidden URL).
        """

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        """``commit``: an id, or its first digits, at least seven; never a name, even if a branch is called so. Raises
        NotFound if no fetched commit begins so, RequestError if several do."""

    def newest_of(self, key: str, source: SourceConfig, head: str, commits: frozenset[str]) -> str:
        """Which of the commits comes last in the history of ``head``; "" if its last thousands have none of them."""

    def contains(self, key: str, source: SourceConfig, commit: str, other: str) -> bool:
        """Whether ``other`` is in the history of ``commit``, or is the same; both are whole ids. False if one was not
        fetched."""

    def history(
        self, key: str, source: SourceConfig, commit: str, since: str, limit: int
    ) -> tuple[Commit, ...]:
        """The commits that ``commit`` has in its history and ``since`` has not, newest first, ``limit`` at most; both
        are whole ids. Raises EngineFailed if one was not fetched."""

    def changed(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> tuple[str, ...]:
        """The files below that folder in which ``commit`` and ``since`` differ, also by their mode: paths relative to
        the folder, in order, ``CHANGED`` at most. Links to the folder are followed in ``commit``. Raises EngineFailed
        if one of the commits was not fetched."""

    def changed_by(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> Commit | None:
        """The newest commit in the history of ``commit``, and not in that of ``since``, that changed the file; None if
        none of them did. Raises EngineFailed if one of the commits was not fetched."""

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        """Protects the commit from ``git gc`` by the ref ``refs/pushlive/<name>``. Idempotent."""

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """The git tree id of that folder, or of the one that a link there leads to. Raises RequestError if it does
        not exist."""

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        """One file (at most 1 MiB), or None if it does not exist. Links are followed inside the repository."""

    def follow(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """The path with its symbolic links followed, ``.`` for the root; what is not there is no link. Raises
        RequestError if one leads out of the repository."""

    def unsupported(
        self, key: str, source: SourceConfig, commit: str, path: str, ignored: Ignored = nothing
    ) -> str:
        """Why that folder of the commit cannot be built (submodules, LFS), as a message; "" if it can. ``ignored``:
        which paths below the folder the build leaves out."""

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        """The folder as a tar stream (``git archive``), with the same content as a checkout."""

    def forget(self, key: str) -> None:
        """Removes what was fetched for that key from elsewhere. Idempotent. Raises TimedOut while a fetch is at
        work."""
