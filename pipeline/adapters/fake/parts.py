"""Strict fakes of the ports, for tests without Docker: they refuse an illegal call order and can be told to
fail, hang or die at a named call. ``tests/contract`` holds them to what the real ones do."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import IO

from pipeline.adapters.fake.engine import FakeEngine, FakeProbe, OneEngine
from pipeline.adapters.fake.script import IllegalOrder, Killed, Script, insist
from pipeline.config.models import Source as SourceConfig
from pipeline.domain.engine_types import Image, Login
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, NotFound, RequestError
from pipeline.ports.builder import BuildRequest, Emit
from pipeline.ports.clock import Watch
from pipeline.ports.source import Commit

__all__ = [
    "FakeBuilder",
    "FakeClock",
    "FakeEngine",
    "FakePost",
    "FakeProbe",
    "FakeQueue",
    "FakeSource",
    "IllegalOrder",
    "Killed",
    "OneEngine",
]


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps. ``jump`` moves the wall clock alone."""

    at: float = 1_800_000_000.0
    passed: float = 0.0

    def now(self) -> float:
        return self.at + self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += max(0.0, seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.at += seconds


@dataclass
class FakeQueue:
    """``rings``: pipeline and urgency of each ring."""

    rings: list[tuple[str, bool]] = field(default_factory=list)

    def notify(self, pipeline: str, *, urgent: bool = False) -> None:
        self.rings.append((pipeline, urgent))


class FakePost(Script):
    """See ``ports.Post``. ``answers``: status by address (default 200). ``taken``: what each address was told with a
    2xx, as ids. It insists on one id for one message, always with the same body."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, int] = {}
        self.taken: dict[str, list[str]] = {}
        self.bodies: dict[str, bytes] = {}

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        with self.call("send", url):
            name = headers["X-Pushlive-Delivery"]
            insist(headers["Content-Type"] == "application/json", "a body of another type")
            insist(json.loads(body)["id"] == name, "another id in the head than in the body")
            insist(self.bodies.setdefault(name, body) == body, "one id for two messages")
            insist(0 < timeout < 60, "no patience, or too much of it")
            status = self.answers.get(url, 200)
            if 200 <= status < 300:
                self.taken.setdefault(url, []).append(name)
        return status


@dataclass
class _Repository:
    commits: dict[str, tuple[Commit, dict[str, bytes]]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


class FakeSource(Script):
    """See ``ports.Source``. Commits are added by ``push``."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, _Repository] = {}

    def push(self, key: str, files: dict[str, bytes], message: str = "a change", branch: str = "main") -> str:
        """A new head of the branch with just these files; its commit id."""
        repository = self.repositories.setdefault(key, _Repository())
        text = f"{len(repository.commits)} {message} {sorted(files.items())}"
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        repository.commits[commit] = (Commit(commit, message, "A. Developer"), files)
        repository.heads[branch] = commit
        return commit

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        with self.call("fetch", key, source, watch=watch):
            heads = self.repositories[key].heads if key in self.repositories else {}
            if source.branch not in heads:
                raise RequestError(f"{key} has no branch {source.branch}.")
            return heads[source.branch]

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        with self.call("commit", key, source, commit):
            return self._find(key, commit)[0]

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        with self.call("keep", key, source, commit, name):
            self._find(key, commit)
            self.repositories[key].kept[name] = commit

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        with self.call("tree", key, source, commit, path):
            inside = self._under(key, commit, path)
            if not inside:
                raise RequestError(f"{commit[:7]} has no folder {path}.")
            return hashlib.sha1(repr(sorted(inside.items())).encode(), usedforsecurity=False).hexdigest()

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        with self.call("read", key, source, commit, path):
            return self._find(key, commit)[1].get(path.removeprefix("./"))

    def unsupported(self, key: str, source: SourceConfig, commit: str) -> str:
        with self.call("unsupported", key, source, commit):
            files = self._find(key, commit)[1]
            return "It has submodules, which cannot be built yet." if ".gitmodules" in files else ""

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        with self.call("archive", key, source, commit, path):
            return _tar(self._under(key, commit, path))

    def _find(self, key: str, commit: str) -> tuple[Commit, dict[str, bytes]]:
        try:
            return self.repositories[key].commits[commit]
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


class FakeBuilder(Script):
    """See ``ports.Builder``. Equal keys make equal images, reused unless a rebuild is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[tuple[str, str], str] = {}  # repository and tag → digest
        self.built: set[str] = set()
        self.remote: dict[tuple[str, str], str] = {}  # the same in registries
        self.login: Login | None = None  # that of the last push

    def build(
        self,
        request: BuildRequest,
        context: Callable[[], AbstractContextManager[IO[bytes]]],
        emit: Emit,
        watch: Watch,
    ) -> Image:
        with self.call("build", request, watch=watch):
            digest = "sha256:" + hashlib.sha256(request.key.encode()).hexdigest()
            if digest in self.built and not request.rebuild:
                return Image(digest, reused=True)
            with context() as stream:
                insist(bool(stream.read(1)), "an empty build context")
            data = {"seconds": 0.1, "cached": False, "error": ""}
            emit(Event("vertex", 0.0, "[1/1] FROM fake", data=data))
            emit(Event("line", 0.0, "building"))
            self.built.add(digest)
            return Image(digest, reused=False, steps=1)

    def tag(self, digest: str, repository: str, tag: str) -> None:
        with self.call("tag", digest, repository, tag):
            if digest not in self.built:
                raise EngineFailed(f"The image {digest[:19]} is not on this machine.")
            self.tags[repository, tag] = digest

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        with self.call("push", digest, repository, tag, watch=watch):
            insist("/" in repository and "@" not in repository, "no repository of a registry")
            if digest not in self.built:
                raise EngineFailed(f"The image {digest[:19]} is not on this machine.")
            emit(Event("note", 0.0, f"Pushing to {repository}"))
            self.remote[repository, tag] = digest
            self.login = login
            return f"{repository}@sha256:{hashlib.sha256(digest.encode()).hexdigest()}"

    def exists(self, digest: str) -> bool:
        with self.call("exists", digest):
            return digest in self.built

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        with self.call("images", repository):
            found: dict[str, tuple[str, ...]] = {}
            for (name, tag), digest in self.tags.items():
                if name == repository:
                    found[digest] = (*found.get(digest, ()), tag)
            return found

    def untag(self, repository: str, tag: str) -> None:
        with self.call("untag", repository, tag):
            digest = self.tags.pop((repository, tag), None)
            if digest and digest not in self.tags.values():
                self.built.discard(digest)
