"""Repositories in memory."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import IO

from pipeline.adapters.fake.script import Script
from pipeline.config.models import Source as SourceConfig
from pipeline.config.previews.names import pipeline_of
from pipeline.errors import NotFound, RepositoryFailed, RequestError
from pipeline.lib import skipping
from pipeline.ports.clock import Watch
from pipeline.ports.source import Commit, Ignored, nothing

SUBMODULE = b"a submodule"  # the content that stands for one


@dataclass
class _Repository:
    commits: dict[str, tuple[Commit, dict[str, bytes]]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)


class FakeSource(Script):
    """Refuses branches, commits and folders that were not pushed. Commits are added by ``push``."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, _Repository] = {}

    def push(
        self,
        key: str,
        files: dict[str, bytes],
        message: str = "a change",
        branch: str = "main",
        author: str = "A. Developer",
    ) -> str:
        """A new head of the branch with exactly these files; returns its commit id."""
        repository = self.repositories.setdefault(key, _Repository())
        text = f"{len(repository.commits)} {message} {sorted(files.items())}"
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        repository.commits[commit] = (
            Commit(commit, message, author, skipping.by_message(message)),
            files,
        )
        repository.parents[commit] = repository.heads.get(branch, "")
        repository.heads[branch] = commit
        return commit

    def _at(self, key: str) -> _Repository:
        """That of the key; a preview has the one of its pipeline, unless it has one of its own."""
        found = self.repositories.get(key) or self.repositories.get(pipeline_of(key))
        return found or _Repository()

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        with self.call("fetch", key, source, watch=watch):
            heads = self._at(key).heads
            if source.branch not in heads:
                raise RepositoryFailed(f"{key} has no branch {source.branch}.")
            return heads[source.branch]

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        with self.call("commit", key, source, commit):
            known = self._at(key).commits
            found = [id_ for id_ in known if len(commit) >= 7 and id_.startswith(commit)]
            if len(found) > 1:
                raise RequestError(f"{len(found)} commits have ids that begin with {commit}.")
            return self._find(key, found[0] if found else commit)[0]

    def newest_of(self, key: str, source: SourceConfig, head: str, commits: frozenset[str]) -> str:
        with self.call("newest_of", key, source, head):
            known = list(self._at(key).commits)
            before = known[: known.index(head) + 1]
            return next((commit for commit in reversed(before) if commit in commits), "")

    def contains(self, key: str, source: SourceConfig, commit: str, other: str) -> bool:
        with self.call("contains", key, source, commit, other):
            parents = self._at(key).parents
            while commit and commit != other:
                commit = parents.get(commit, "")
            return bool(commit) and commit in parents

    def history(
        self, key: str, source: SourceConfig, commit: str, since: str, limit: int
    ) -> tuple[Commit, ...]:
        with self.call("history", key, source, commit, since):
            parents, found = self._at(key).parents, list[Commit]()
            there = set[str]()
            while since:
                there.add(since)
                since = parents[since]
            while commit and commit not in there:
                found.append(self._find(key, commit)[0])
                commit = parents[commit]
            return tuple(found[:limit])

    def changed(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> tuple[str, ...]:
        with self.call("changed", key, source, commit, since, path):
            old, new = (self._under(key, one, path) for one in (since, commit))
            return tuple(sorted(name for name in old | new if old.get(name) != new.get(name)))

    def changed_by(self, key: str, source: SourceConfig, commit: str, since: str, path: str) -> Commit | None:
        with self.call("changed_by", key, source, commit, since, path):
            parents = self._at(key).parents
            while commit and commit != since:
                parent = parents[commit]
                before = self._find(key, parent)[1].get(path) if parent else None
                if self._find(key, commit)[1].get(path) != before:
                    return self._find(key, commit)[0]
                commit = parent
            return None

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        with self.call("keep", key, source, commit, name):
            self._find(key, commit)
            self._at(key).kept[name] = commit

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        with self.call("tree", key, source, commit, path):
            inside = self._under(key, commit, path)
            if not inside:
                raise RequestError(f"{commit[:7]} has no folder {path}.")
            return hashlib.sha1(repr(sorted(inside.items())).encode(), usedforsecurity=False).hexdigest()

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        with self.call("read", key, source, commit, path):
            return self._find(key, commit)[1].get(path.removeprefix("./"))

    def follow(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        with self.call("follow", key, source, commit, path):
            self._find(key, commit)
            return posixpath.normpath(path)

    def unsupported(
        self, key: str, source: SourceConfig, commit: str, path: str, ignored: Ignored = nothing
    ) -> str:
        with self.call("unsupported", key, source, commit, path):
            files = self._under(key, commit, path).items()
            found = any(content == SUBMODULE and not ignored(name) for name, content in files)
            return "It has submodules, which cannot be built yet." if found else ""

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        with self.call("archive", key, source, commit, path):
            return _tar(self._under(key, commit, path))

    def forget(self, key: str) -> None:
        with self.call("forget", key):
            return

    def _find(self, key: str, commit: str) -> tuple[Commit, dict[str, bytes]]:
        try:
            return self._at(key).commits[commit]
        except KeyError:
            raise NotFound(f"{key} has no commit {commit[:7]}.") from None

    def _under(self, key: str, commit: str, path: str) -> dict[str, bytes]:
        prefix = "" if path in (".", "") else path.strip("/") + "/"
        files = self._find(key, commit)[1]
        return {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}


@contextmanager
def _tar(files: dict[str, bytes]) -> Iterator[IO[bytes]]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    yield buffer
