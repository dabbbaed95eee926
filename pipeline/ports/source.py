"""Repositories."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from pipeline.config.models import Source as SourceConfig
from pipeline.ports.clock import Watch


@dataclass(frozen=True)
class Commit:
    id: str
    message: str  # first line, control characters removed
    author: str


class Source(Protocol):
    """Repositories. ``key`` names one local repository: the pipeline's name."""

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        """Brings the branch's head here (incrementally) and returns its commit id. Twice.

        For a repository on the built-in server nothing is copied. Raises EngineFailed (unreachable, refused,
        too large, asks for a password) or RequestError (no such branch, forbidden URL).
        """

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        """Raises NotFound when the commit is not here."""

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        """Protects the commit from git's clean-up under ``refs/pushlive/<name>``. Twice."""

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """The git tree id of that folder. Raises RequestError when the folder is missing."""

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        """One file (at most 1 MiB), or None where it is missing."""

    def unsupported(self, key: str, source: SourceConfig, commit: str) -> str:
        """Why this commit cannot be built yet (submodules, LFS), as a message; "" when it can."""

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        """The folder as a tar stream (``git archive``), straight from the object store, equal to a checkout."""
